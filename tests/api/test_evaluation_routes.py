"""Quality over REST: of the library, of a text, of many at once."""

import threading
import time

import pytest
from rest_server import client, make_workspace, opened, serving

from skill_fleet.domain.skill import Skill
from skill_fleet.evaluation.guard import WEIGHTS, guard

GOOD = "technical_skills/programming/git/bisect/git-bisect"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def rest(place):
    environ = {
        "SKILL_FLEET_EVALUATION__THRESHOLDS__TARGET": "0.7",
        "SKILL_FLEET_EVALUATION__WEIGHTS__GUARD": "0.6",
    }
    with opened(place, **environ) as service, serving(service) as address, client(address) as made:
        yield made


def ask(rest, route, body):
    return rest.post(f"/evaluation/{route}", json=body)


def test_a_skills_quality_is_the_guards(rest, place):
    found = ask(rest, "evaluate", {"path": GOOD}).json()
    score = guard(Skill.read(place / "skills" / GOOD))
    (one,) = found["skills"]
    assert (one["path"], one["name"], one["quality"], one["parts"]) == (
        GOOD,
        "git-bisect",
        score.value,
        score.parts,
    )
    assert found["mean"] == score.value
    assert found["thresholds"]["target"] == 0.7


def test_a_folder_is_every_skill_below_it(rest, place):
    found = ask(rest, "evaluate", {"path": "technical_skills"}).json()
    files = sorted((place / "skills" / "technical_skills").rglob("SKILL.md"))
    assert sorted(one["path"] for one in found["skills"]) == sorted(
        str(file.parent.relative_to(place / "skills")) for file in files
    )


def test_a_text_has_the_quality_it_would_have_in_the_library(rest, place):
    content = (place / "skills" / GOOD / "SKILL.md").read_text()
    in_library = ask(rest, "evaluate", {"path": GOOD}).json()["skills"][0]
    (one,) = ask(rest, "evaluate-content", {"content": content, "name": "git-bisect"}).json()["skills"]
    assert one["quality"] == in_library["quality"]
    assert one["path"] is None
    (other,) = ask(rest, "evaluate-content", {"content": content, "name": "other"}).json()["skills"]
    assert [found["code"] for found in other["findings"]] == ["name_folder"]
    assert not other["valid"]


def test_a_task_that_the_text_does_not_speak_of_counts(rest):
    own = ask(rest, "evaluate", {"path": GOOD}).json()["mean"]
    far = ask(rest, "evaluate", {"path": GOOD, "task": "Bake sourdough bread with rye flour"}).json()["mean"]
    assert far < own


@pytest.mark.parametrize(
    "content",
    ["", "\x00", "---", "---\nname: [\n---\n", "\ufeff---\nname: x\n---\n", "x" * 262_144, "# " * 100_000,
     "```" * 80_000, "[a](" * 50_000, "---\n" * 60_000, "- a\n  " * 30_000, "<" * 200_000, "\r" * 200_000,
     "*" * 262_144, "a@" * 100_000, "&amp;" * 50_000, "| a " * 50_000, " \t" * 100_000],
    ids=range(18),
)  # fmt: skip
def test_whatever_a_text_holds_is_scored_in_time(rest, content):
    began = time.monotonic()
    for route, body in (("evaluation/evaluate-content", {}), ("skills/validate", {"profile": "strict"})):
        answer = rest.post(f"/{route}", json={"content": content, **body})
        assert answer.status_code == 200, answer.text[:300]
    assert time.monotonic() - began < 50  # less than a second, on a machine that has nothing else to do


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("evaluate", {}),
        ("evaluate", {"path": ""}),
        ("evaluate", {"path": 1}),
        ("evaluate", {"path": GOOD, "model": "x"}),
        ("evaluate-content", {"content": "x" * 262_145}),
        ("evaluate-content", {"content": None}),
        ("evaluate-content", {"content": "x", "name": ""}),
        ("evaluate-batch", {"paths": []}),
        ("evaluate-batch", {"paths": [GOOD] * 3001}),
        ("evaluate-batch", {"paths": GOOD}),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(rest, route, body):
    assert ask(rest, route, body).status_code == 422


def test_a_batch_scores_what_it_can_and_names_the_rest(rest, place):
    paths = [GOOD, "technical_skills", "nothing/here", "../outside", GOOD]
    found = ask(rest, "evaluate-batch", {"paths": paths}).json()
    assert len(found["skills"]) == len(list((place / "skills" / "technical_skills").rglob("SKILL.md")))
    assert [(one["path"], one["code"]) for one in found["errors"]] == [
        ("nothing/here", "not_found"),
        ("../outside", "path"),
    ]
    alone = ask(rest, "evaluate", {"path": GOOD}).json()["skills"][0]
    assert next(one for one in found["skills"] if one["path"] == GOOD)["quality"] == alone["quality"]


def test_a_batch_without_one_good_path_has_no_mean(rest):
    found = ask(rest, "evaluate-batch", {"paths": ["nothing/here"]}).json()
    assert (found["skills"], found["mean"]) == ([], None)


def test_a_large_batch_holds_nobody_up(tmp_path):
    text = (make_skill(f"skill-{n}") for n in range(250))
    root = tmp_path / "workspace"
    for n, content in enumerate(text):
        file = root / "skills" / "many" / f"skill-{n}" / "SKILL.md"
        file.parent.mkdir(parents=True)
        file.write_text(content)
    with opened(root) as service, serving(service) as address, client(address) as rest:
        rest.get("/evaluation/metrics-info")
        done: list[dict] = []
        body = {"paths": ["many"] + [f"many/skill-{n}" for n in range(250)]}
        asking = threading.Thread(target=lambda: done.append(ask(rest, "evaluate-batch", body).json()))
        asking.start()
        served = 0
        with client(address) as other:
            while asking.is_alive():
                other.get("/evaluation/metrics-info")
                served += asking.is_alive()
                time.sleep(0.01)
        asking.join()
    assert len(done[0]["skills"]) == 250
    assert served >= 5, "others were answered meanwhile"


def make_skill(name):
    return (
        f"---\nname: {name}\ndescription: Brews {name}. Use when somebody asks for {name}.\n---\n\n"
        f"# {name}\n\n"
        + "\n\n".join(f"## Part {n}\n\nGrind {n} g of {name} and pour water over it." for n in range(20))
    )


def test_the_metrics_are_those_in_force(rest):
    found = rest.get("/evaluation/metrics-info").json()
    assert {one["name"]: one["weight"] for one in found["components"]} == WEIGHTS
    assert found["weights"]["guard"] == 0.6
    assert found["thresholds"] == {"acceptable": 0.6, "target": 0.7, "excellent": 0.9}
    assert found["targets"] == {"accuracy": 0.9, "round_minutes": 5.0}
    by_hand = [one for one in found["components"] if one["essential"]]
    scored = ask(rest, "evaluate-content", {"content": make_skill("tea")}).json()["skills"][0]
    mean = sum(one["weight"] * scored["parts"][one["name"]] for one in found["components"])
    weakest = min(scored["parts"][one["name"]] for one in by_hand)
    formula = found["formula"]
    expected = formula["weighted_mean"] * mean + formula["weakest_essential"] * weakest
    assert scored["quality"] == pytest.approx(expected)


def test_nothing_is_written(rest, place):
    before = {file: file.stat().st_mtime_ns for file in (place / "skills").rglob("*")}
    ask(rest, "evaluate", {"path": "technical_skills"})
    ask(rest, "evaluate-content", {"content": make_skill("tea"), "name": "tea"})
    assert {file: file.stat().st_mtime_ns for file in (place / "skills").rglob("*")} == before
