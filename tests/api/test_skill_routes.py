"""The library over REST: listed, read, checked, added to."""

import hashlib
import json

import pytest
from rest_server import API, client, make_workspace, opened, serving

from skill_fleet.domain.skill import Skill
from skill_fleet.domain.spec import check

GOOD = "technical_skills/programming/git/bisect/git-bisect"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = make_workspace(tmp_path_factory.mktemp("workspace"))
    for path, content in {
        "odd/Capitals.And-dots/Skill_1": "---\nname: x\n---\n",
        "odd/with space": "---\nname: x\n---\n",
        "odd/broken": b"\xff\xfe\x00---\nname: [\n",
        "odd/surrogate": "---\nname: odd\ndescription: \ud800\n---\n".encode("utf-8", "surrogatepass"),
        "twins/one/a": "---\nname: a\n---\n",
        "twins/one/b": "---\nname: b\n---\n",
    }.items():
        file = root / "skills" / path / "SKILL.md"
        file.parent.mkdir(parents=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


@pytest.fixture(scope="module")
def service(place):
    with opened(place) as service:
        yield service


@pytest.fixture(scope="module")
def rest(service):
    with serving(service) as address, client(address) as made:
        yield made


def pages(rest, **params):
    cursor = None
    while True:
        page = rest.get("/skills", params={**params, **({"cursor": cursor} if cursor else {})}).json()
        yield page
        cursor = page["next_cursor"]
        if cursor is None:
            return


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_the_whole_library_is_listed_once(rest, place, limit):
    found = list(pages(rest, limit=limit))
    paths = [one["path"] for page in found for one in page["skills"]]
    files = (place / "skills").rglob("SKILL.md")
    wanted = sorted(str(file.parent.relative_to(place / "skills")) for file in files)
    assert paths == [path for path in wanted if " " not in path]
    assert {page["total"] for page in found} == {len(paths)}
    assert {page["left_out"] for page in found} == {1}


def test_a_prefix_is_a_folder_and_no_beginning_of_a_name(rest):
    assert rest.get("/skills", params={"prefix": "technical_skills/programming/git"}).json()["total"] == 1
    assert rest.get("/skills", params={"prefix": "technical_skills/programming/gi"}).json()["total"] == 0
    assert rest.get("/skills", params={"prefix": GOOD}).json()["total"] == 1


def test_every_skill_of_the_list_can_be_read_at_its_link(rest, place):
    for page in pages(rest, limit=100):
        for one in page["skills"]:
            answer = rest.get(one["links"]["self"].removeprefix(API))
            assert answer.status_code == 200, one
            found = answer.json()
            source = (place / "skills" / one["path"] / "SKILL.md").read_bytes()
            assert found["sha256"] == hashlib.sha256(source).hexdigest()
            assert {name: found[name] for name in one} == one


def test_a_skill_is_its_text_its_fields_and_what_is_said_of_it(rest, place):
    file = place / "skills" / GOOD / "SKILL.md"
    found = rest.get(f"/skills/{GOOD}").json()
    skill = Skill.read(file)
    assert found["content"] == file.read_text()
    assert (found["fields"], found["body"]) == (dict(skill.fields), skill.body)
    assert found["taxonomy_path"] == "technical_skills/programming/git/bisect"
    assert found["file"] == f"skills/{GOOD}/SKILL.md"
    assert [one["code"] for one in found["findings"]] == [
        one.code for one in check(skill, folder=file.parent)
    ]


def test_the_taxonomy_path_is_an_address_too(rest):
    answer = rest.get("/skills/technical_skills/programming/git/bisect")
    assert answer.json()["path"] == GOOD
    several = rest.get("/skills/twins/one")
    assert (several.status_code, several.json()["code"]) == (422, "path")
    assert "a, b" in several.json()["detail"]
    assert rest.get("/skills/technical_skills/programming").status_code in {404, 422}


def test_an_unchanged_skill_is_not_sent_twice(rest, place):
    file = place / "skills" / "odd" / "Capitals.And-dots" / "Skill_1" / "SKILL.md"
    first = rest.get("/skills/odd/Capitals.And-dots/Skill_1")
    given = {"If-None-Match": first.headers["etag"]}
    assert rest.get("/skills/odd/Capitals.And-dots/Skill_1", headers=given).status_code == 304
    file.write_text("---\nname: y\n---\n")
    assert rest.get("/skills/odd/Capitals.And-dots/Skill_1", headers=given).json()["name"] == "y"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "invalid_request"),
        ("limit=101", "invalid_request"),
        ("cursor=x", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=bnVsbA", "cursor"),
        ("cursor=" + "a" * 4001, "invalid_request"),
        ("prefix=..", "path"),
        ("prefix=/etc", "path"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(rest, query, code):
    answer = rest.get(f"/skills?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_a_cursor_is_of_its_list(rest):
    cursor = rest.get("/skills?limit=1").json()["next_cursor"]
    assert rest.get("/skills", params={"cursor": cursor, "prefix": "research"}).json()["code"] == "cursor"


@pytest.mark.parametrize(
    ("profile", "content", "codes"),
    [
        ("spec", "---\nname: a-b\ndescription: x\n---\n\nDo it.\n", []),
        ("spec", "---\nname: A b\ndescription: x\n---\n\nDo it.\n", ["name_characters"]),
        ("spec", "", None),
        ("claude", "---\nname: claude-x\ndescription: x\n---\n\nDo it.\n", ["name_reserved"]),
    ],
)
def test_a_text_is_checked_by_a_profile(rest, profile, content, codes):
    found = rest.post("/skills/validate", json={"content": content, "profile": profile}).json()
    (one,) = found["skills"]
    said = [finding["code"] for finding in one["findings"] if finding["severity"] == "error"]
    assert found["valid"] is one["valid"] is (not said)
    assert codes is None or said == codes


def test_a_folder_of_the_library_is_checked_skill_by_skill(rest):
    found = rest.post("/skills/validate", json={"path": "technical_skills"}).json()
    assert len(found["skills"]) > 5
    assert found["valid"]
    assert not rest.post("/skills/validate", json={"path": "odd"}).json()["valid"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"path": GOOD, "content": "x"},
        {"path": GOOD, "profile": "strictest"},
        {"paths": [GOOD]},
        {"content": 1},
        {"path": GOOD, "profile": None},
    ],
)
def test_a_check_that_makes_no_sense_is_refused(rest, body):
    answer = rest.post("/skills/validate", json=body)
    assert answer.status_code == 422
    if body.get("profile"):
        assert answer.json()["hint"] == "Did you mean 'strict'?"


def test_many_are_checked_elsewhere_with_the_same_answer(rest, monkeypatch):
    asked = [("/skills/validate", {"path": "technical_skills", "profile": "strict"})]
    asked += [("/evaluation/evaluate", {"path": "technical_skills", "task": "Find the commit that broke it"})]
    here = [rest.post(route, json=body).json() for route, body in asked]
    monkeypatch.setattr("skill_fleet.api.evaluation.MANY", 0)
    monkeypatch.setattr("skill_fleet.api.skills.MANY", 0)
    there = [rest.post(route, json=body).json() for route, body in asked]
    assert there[0] == here[0]
    for one, other in zip(there[1]["skills"], here[1]["skills"], strict=True):
        assert one["quality"] == pytest.approx(other["quality"])
    assert there[1].keys() == here[1].keys()


def test_a_text_reads_no_file_of_this_machine(rest, place):
    """A link is not followed, whatever the text claims to be the folder of."""
    content = "---\nname: x\ndescription: Does x.\n---\n\nSee [it](SKILL.md) and [that](nothing.md).\n"
    for name in ("x", "git-bisect", f"../skills/{GOOD}", str(place / "skills" / GOOD)):
        body = {"content": content, "name": name}
        found = rest.post("/skills/validate", json=body).json()["skills"][0]["findings"]
        assert not [one for one in found if one["code"].startswith("link")]


def test_to_have_a_skill_written_is_a_job(rest, service):
    body = {"task": "Create a skill for brewing filter coffee", "best_of": 2, "metadata": {"for": "me"}}
    answer = rest.post("/skills", json=body, headers={"Idempotency-Key": "coffee"})
    assert answer.status_code == 202, answer.text
    job = service.jobs.get(answer.json()["job_id"])
    assert (job.kind, job.metadata) == ("creation", {"for": "me"})
    assert service.jobs.request_of(job.job_id)["best_of"] == 2
    again = rest.post("/skills", json=body, headers={"Idempotency-Key": "coffee"})
    assert again.json()["job_id"] == job.job_id
    kinds = rest.get("/optimization/jobs", params={"kind": "creation"}).json()["jobs"]
    assert [one["job_id"] for one in kinds] == [job.job_id]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"task": " "},
        {"task": "x", "best_of": 0},
        {"task": "x", "best_of": 2, "refine": 2},
        {"task": "x", "model": "nobody/has-it"},
        {"task": "x", "program": "../secret.json"},
        {"task": "x", "program": "nothing.json"},
        {"task": "x", "output": "/somewhere"},
        {"task": "x", "api_base": "http://127.0.0.1"},
        {"task": "x", "metadata": {"a": "x" * 20_000}},
    ],
)
def test_a_skill_that_cannot_be_written_is_refused_before_it_is_queued(rest, body):
    before = json.loads(rest.get("/optimization/jobs?kind=creation").text)
    answer = rest.post("/skills", json=body)
    assert answer.status_code in {404, 422}, answer.text
    assert rest.get("/optimization/jobs?kind=creation").json() == before
