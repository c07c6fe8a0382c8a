"""The routes of jobs, over a real socket with the real service behind it."""

import asyncio
import dataclasses
import http.client
import json
import re
import threading
import time

import pytest
from rest_server import API, client, make_workspace, opened, serving

from skill_fleet.jobs.records import NewJob
from skill_fleet.services.keys import create_key

SEED = {
    "optimizer": "miprov2",
    "training_paths": ["technical_skills/programming/web_frameworks/python/fastapi"],
    "auto": "medium",
    "max_bootstrapped_demos": 4,
    "max_labeled_demos": 4,
    "save_path": "skill_creator_optimized.json",
}
WORKER = "worker-1"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with opened(make_workspace(tmp_path_factory.mktemp("workspace"))) as service:
        yield service


@pytest.fixture(scope="module")
def rest(service):
    with serving(service) as address, client(address) as made:
        yield made


@pytest.fixture
def numbers():
    """Names of jobs that no other test uses."""
    made = (f"20260115-0930{n // 100:02d}-{time.time_ns() % 16**8:08x}{n % 100:02d}" for n in range(10_000))
    return lambda: next(made)


@pytest.fixture
def new(service, numbers):
    """Makes jobs in the store, as the queue would find them, and moves them to a status."""

    def make(status="queued", *, owner=None, **given):
        job, _ = service.jobs.create(NewJob(numbers(), "optimization", {"seed": 1}, owner=owner, **given))
        if status == "queued":
            return job
        if status in {"paused", "cancelled"}:
            return service.jobs.want(job.job_id, status, owner)
        lease = service.jobs.claim(job.job_id, job.attempt, WORKER)
        if status != "running":
            result = {"run_id": job.job_id, "status": status, "simulated": True}
            service.jobs.conclude(lease, status, result=result, error=None, message="Done.")
        return service.jobs.get(job.job_id)

    return make


def test_the_documents_body_is_accepted_as_printed(rest):
    answer = rest.post("/optimization/start", json=SEED)
    assert answer.status_code == 202, answer.text
    started = answer.json()
    assert set(started) == {"job_id", "status", "message", "links"}
    assert started["status"] == "queued"
    assert (
        answer.headers["location"]
        == started["links"]["self"]
        == f"{API}/optimization/status/{started['job_id']}"
    )
    assert int(answer.headers["retry-after"]) >= 0
    status = rest.get(f"/optimization/status/{started['job_id']}").json()
    assert status["progress"] == 0
    assert status["message"]
    for name, link in started["links"].items():
        if name not in {"cancel", "pause", "resume"}:
            found = rest.get(link.removeprefix(API), params={"after": 0} if name == "events" else None)
            assert found.status_code in {200, 404}
            assert found.headers["content-type"].startswith("application/")


def test_the_same_key_and_body_is_the_same_job(rest):
    body = {"optimizer": "labeled_few_shot", "seed": 7}
    headers = {"Idempotency-Key": "once"}
    first = rest.post("/optimization/start", json=body, headers=headers)
    again = rest.post("/optimization/start", json=dict(reversed(body.items())), headers=headers)
    other = rest.post("/optimization/start", json={**body, "seed": 8}, headers=headers)
    assert (first.status_code, again.status_code) == (202, 202), first.text
    assert first.json()["job_id"] == again.json()["job_id"]
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


def test_how_often_it_crashed_and_was_ended_from_outside_is_told(rest, service, new):
    job = new()
    lease = service.jobs.claim(job.job_id, job.attempt, WORKER)
    error = {"code": "signal", "message": "It died.", "hint": ""}
    service.jobs.crashed(lease, error)
    service.jobs.cut_off(lease, error)
    service.jobs.cut_off(lease, error)
    status = rest.get(f"/optimization/status/{job.job_id}").json()
    assert (status["crashes"], status["deaths"]) == (1, 2)
    [listed] = [
        one for one in rest.get("/optimization/jobs?limit=100").json()["jobs"] if one["job_id"] == job.job_id
    ]
    assert (listed["crashes"], listed["deaths"]) == (1, 2)


@pytest.mark.parametrize("key", ["", "a" * 201, "a b", "\xe9"])
def test_an_idempotency_key_that_is_none_is_refused(rest, key):
    headers = {"Idempotency-Key": key.encode("latin-1")}
    assert rest.post("/optimization/start", json={"seed": 1}, headers=headers).status_code == 422


@pytest.mark.parametrize(
    ("body", "said", "hint"),
    [
        ({"optimiser": "gepa"}, "optimiser", "Did you mean 'optimizer'?"),
        ({"budget": {"max_costs": 1}}, "max_costs", "Did you mean 'max_cost'?"),
        ({"optimizer": "gepaa"}, "gepaa", "Did you mean 'gepa'?"),
        ({"models": {"evaluation": "offlin"}}, "offlin", "Did you mean 'offline'?"),
        ({"seed": "1"}, "seed", ""),
        ({"seed": True}, "seed", ""),
        ({"rounds": 0}, "rounds", ""),
        ({"rounds": 1.5}, "rounds", ""),
        ({"auto": "extreme"}, "auto", ""),
        ({"auto": "light", "trials": 3}, "trials and auto exclude each other", ""),
        ({"budget": {"max_cost": -1}}, "max_cost", ""),
        ({"training_paths": ["food/nothing"]}, "food/nothing", ""),
        ({"training_paths": ["../outside"]}, "../outside", ""),
        ({"training_paths": ["/etc"]}, "/etc", ""),
        ({"save_path": "../out.json"}, "save_path", ""),
        ({"save_path": "/somewhere/out.json"}, "save_path", ""),
        ({"program": "module:Class"}, "program", ""),
        ({"metric": "os:system"}, "metric", ""),
        ({"api_base": "http://127.0.0.1"}, "api_base", ""),
        ({"models": {"evaluation": "openai/gpt-4o-mini"}}, "openai/gpt-4o-mini", ""),
        ([], "body", ""),
        (None, "body", ""),
    ],
)
def test_what_is_wrong_is_refused_by_name_before_anything_is_queued(rest, body, said, hint):
    before = rest.get("/optimization/jobs?limit=1").json()
    for route in ("start", "estimate", "recommend"):
        answer = rest.post(
            f"/optimization/{route}", content=json.dumps(body), headers={"Content-Type": "application/json"}
        )
        if route == "recommend" and said in {"gepaa", "trials and auto exclude each other"}:
            continue  # whatever optimizer the request names
        problem = answer.json()
        assert answer.status_code in {404, 422}, problem
        assert answer.headers["content-type"] == "application/problem+json"
        assert said in problem["detail"], problem
        assert hint in problem["hint"]
    assert rest.get("/optimization/jobs?limit=1").json() == before


def test_the_status_is_not_sent_twice(rest, service, new):
    job = new("running")
    url = f"/optimization/status/{job.job_id}"
    first = rest.get(url)
    etag = first.headers["etag"]
    for given in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = rest.get(url, headers={"If-None-Match": given})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    lease = service.jobs.claim(job.job_id, job.attempt, WORKER)
    service.jobs.progress(lease, progress=0.5, message="Half of it.")
    later = rest.get(url, headers={"If-None-Match": etag})
    assert later.status_code == 200
    assert later.json()["progress"] == 0.5
    assert later.json()["message"] == "Half of it."
    assert later.headers["etag"] != etag


def test_jobs_are_listed_newest_first_without_loss_or_repeat(rest, new):
    made = [new("cancelled").job_id for _ in range(5)]
    seen, cursor = [], None
    while True:
        params = {"limit": 2, "status": ["cancelled", "failed"], **({"cursor": cursor} if cursor else {})}
        page = rest.get("/optimization/jobs", params=params).json()
        seen += [job["job_id"] for job in page["jobs"]]
        new("cancelled")  # what comes meanwhile moves nothing
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen))
    assert [name for name in seen if name in made] == made[::-1]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "cursor=x",
        "cursor=%00",
        "cursor=" + "a" * 5000,
        "status=done",
        "kind=x",
    ],
)
def test_a_list_that_makes_no_sense_is_refused(rest, query):
    assert rest.get(f"/optimization/jobs?{query}").status_code == 422


def test_a_cursor_is_of_its_list(rest, new):
    for _ in range(3):
        new("cancelled")
    cursor = rest.get("/optimization/jobs?limit=1&status=cancelled").json()["next_cursor"]
    assert rest.get("/optimization/jobs", params={"cursor": cursor, "status": "cancelled"}).status_code == 200
    assert rest.get("/optimization/jobs", params={"cursor": cursor}).json()["code"] == "cursor"
    assert (
        rest.get(
            "/optimization/jobs", params={"cursor": cursor[:-2] + "AA", "status": "cancelled"}
        ).status_code
        == 422
    )


VERBS = {
    "queued": {"pause": 200, "cancel": 200, "resume": 409, "delete": 202},
    "running": {"pause": 200, "cancel": 200, "resume": 409, "delete": 202},
    "paused": {"pause": 200, "cancel": 200, "resume": 200, "delete": 202},
    "stopped": {"pause": 409, "resume": 200, "delete": 204},
    "succeeded": {"pause": 409, "cancel": 409, "resume": 409, "delete": 204},
    "failed": {"pause": 409, "cancel": 409, "resume": 409, "delete": 204},
    "cancelled": {"pause": 409, "cancel": 200, "resume": 409, "delete": 204},
}


@pytest.mark.parametrize(
    ("status", "verb"), [(status, verb) for status, verbs in VERBS.items() for verb in verbs]
)
def test_each_verb_in_each_state(rest, new, status, verb):
    job = new(status)
    if verb == "delete":
        answer = rest.delete(f"/optimization/jobs/{job.job_id}")
    else:
        answer = rest.post(f"/optimization/jobs/{job.job_id}/{verb}")
    assert answer.status_code == VERBS[status][verb], answer.text
    if answer.status_code == 200:
        assert answer.json()["job_id"] == job.job_id
    if answer.status_code == 409:
        assert answer.json()["code"] == "state_conflict"


def test_what_is_deleted_is_cancelled_then_removed_and_stays_so(rest, new):
    job = new("paused")
    url = f"/optimization/jobs/{job.job_id}"
    first = rest.delete(url)
    assert (first.status_code, first.json()) == (202, {"job_id": job.job_id, "status": "cancelling"})
    assert rest.get(f"/optimization/status/{job.job_id}").json()["status"] == "cancelled"
    assert [rest.delete(url).status_code for _ in range(3)] == [204, 204, 204]
    for gone in (f"/optimization/status/{job.job_id}", f"{url}/events", f"{url}/result", f"{url}/report"):
        assert rest.get(gone).status_code == 410
    assert job.job_id not in rest.get("/optimization/jobs?limit=100").text
    assert rest.delete("/optimization/jobs/20260115-093000-0000000000").status_code == 404


def test_a_result_and_its_report(rest, service, new):
    job = new("running")
    for part in ("result", "report"):
        missing = rest.get(f"/optimization/jobs/{job.job_id}/{part}")
        assert (missing.status_code, missing.json()["code"]) == (404, "no_result")
    lease = service.jobs.claim(job.job_id, job.attempt, WORKER)
    evil = (
        "# Run\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1)) ![x](http://127.0.0.1:1/x.png)\n\n"
        "| a |\n|---|\n| 1 |\n"
    )
    service.files.save(lease, {"report.md": evil.encode()})
    service.jobs.conclude(lease, "succeeded", result={"verdict": "better"}, error=None, message="Done.")
    assert rest.get(f"/optimization/jobs/{job.job_id}/result").json() == {"verdict": "better"}
    page = rest.get(f"/optimization/jobs/{job.job_id}/report", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<table>" in page.text
    assert not re.search(r"<script|<img|href=.?javascript|src=", page.text)
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "script" not in policy
    text = rest.get(f"/optimization/jobs/{job.job_id}/report", headers={"Accept": "text/markdown"})
    assert text.headers["content-type"].startswith("text/markdown")
    assert text.text == evil
    refused = rest.get(f"/optimization/jobs/{job.job_id}/report", headers={"Accept": "application/pdf"})
    assert (refused.status_code, refused.json()["code"]) == (406, "not_acceptable")


WRITTEN = {
    "path": "skills/a/b/c/SKILL.md",
    "name": "c",
    "taxonomy_path": "a/b/c",
    "description": "Does | this\n<script>alert(1)</script> ![x](http://127.0.0.1:1/x.png)",
    "quality": 0.75,
    "parts": {"trigger": 1.0, "integrity": 0.5},
    "findings": [
        {"code": "x", "severity": "warning", "line": 3, "message": "It is long.", "hint": "Cut it."}
    ],
    "drafts": [0.5, 0.75],
    "program": "skill_creator",
    "notes": [],
    "model": "offline",
    "simulated": True,
    "calls": {"made": 2, "from_journal": 0, "possibly_billed": 0, "without_usage": 0},
    "tokens": 100,
    "usd": 0.0,
    "error": None,
}


def creation(service, status, result=None, error=None):
    name = f"20260115-093000-{time.time_ns() % 16**10:010x}"
    job, _ = service.jobs.create(NewJob(name, "creation", {"task": "x"}))
    lease = service.jobs.claim(job.job_id, 1, WORKER)
    if status != "running":
        service.jobs.conclude(lease, status, result=result, error=error, message="Done.")
    return f"/optimization/jobs/{job.job_id}/report"


def test_a_job_that_wrote_a_skill_has_a_report_too(rest, service):
    url = creation(service, "succeeded", WRITTEN)
    text = rest.get(url, headers={"Accept": "text/markdown"}).text
    for said in (
        "# Skill c",
        "skills/a/b/c/SKILL.md",
        "0.750",
        "It is long. Cut it.",
        "$0.0000",
        "simulator",
    ):
        assert said in text
    page = rest.get(url)
    assert page.status_code == 200
    assert not re.search(r"<script|<img|src=", page.text)
    assert "0.500, 0.750" in page.text


def test_where_there_is_no_report_it_is_said_whether_there_will_be_one(rest, service):
    error = {"code": "exists", "message": "There is already a skill.", "hint": ""}
    for status, said in (
        ("running", "no report yet"),
        ("failed", "will have none: There is already a skill."),
    ):
        missing = rest.get(creation(service, status, None, error if status == "failed" else None)).json()
        assert (missing["code"], missing["title"]) == ("no_result", "There is no result")
        assert said in missing["detail"]


def test_the_optimizers_are_those_of_the_registry(rest):
    from skill_fleet.optimization.registry import installed_optimizers

    known = {one.name: one.info for one in installed_optimizers() if one.info is not None}
    found = {one["name"]: one for one in rest.get("/optimization/optimizers").json()["optimizers"]}
    assert found.keys() == known.keys()
    for name, info in known.items():
        assert found[name]["description"] == info.description
        assert found[name]["needs"] == info.needs
        shown = [
            (one["name"], one["type"], one["default"], one["range"]) for one in found[name]["parameters"]
        ]
        assert shown == [(one.name, one.type, one.default, one.range) for one in info.parameters]


def test_the_configuration_is_the_one_in_force(rest, service):
    found = rest.get("/optimization/config").json()
    assert found["optimization"] == service.context.settings.optimization.model_dump(mode="json")
    assert found["models"]["default"] == "offline"


def test_an_estimate_and_a_recommendation_spend_nothing(rest, service):
    estimate = rest.post("/optimization/estimate", json=SEED).json()
    assert estimate["optimizer"] == "miprov2"
    assert 0 < estimate["calls"][0] <= estimate["calls"][1]
    found = rest.post("/optimization/recommend", json={"budget": {"max_calls": 2000}}).json()
    assert found["optimizer"]
    assert found["rule"]
    assert not (service.context.workspace.runs).exists()


@pytest.mark.parametrize("route", ["status/{}", "jobs/{}/events?after=0", "jobs/{}/result", "jobs/{}/report"])
@pytest.mark.parametrize(
    "name", ["x", "%00", "..%2f..%2fetc", "%ff", "a" * 100, "20260115-093000-0000000000", "%F0%9F%98%80"]
)
def test_a_job_that_is_not_there(rest, route, name):
    answer = rest.get(f"/optimization/{route.format(name)}")
    assert answer.status_code == 404
    assert answer.json()["code"] in {"not_found", "no_route"}


def test_nobody_sees_the_jobs_of_another_key(tmp_path, numbers):
    with opened(make_workspace(tmp_path / "w")) as service, serving(service) as address:
        keys = {
            name: create_key(service, name, [scope])
            for name, scope in {"a": "run", "b": "run", "boss": "admin"}.items()
        }
        job, _ = service.jobs.create(NewJob(numbers(), "optimization", {}, owner=keys["a"][0].key_id))
        reads = ["status/{}", "jobs/{}/events?after=0", "jobs/{}/result", "jobs/{}/report"]
        never = "20260115-093000-0000000000"
        for name, (_, secret) in keys.items():
            with client(address, headers={"Authorization": f"Bearer {secret}"}) as rest:
                own = name != "b"
                listed = [one["job_id"] for one in rest.get("/optimization/jobs").json()["jobs"]]
                assert listed == ([job.job_id] if own else [])
                for read in reads:
                    found = rest.get(f"/optimization/{read.format(job.job_id)}")
                    assert (
                        found.status_code == 404 and found.json()["code"] == "not_found"
                    ) is not own or own
                if not own:
                    tried = [rest.get(f"/optimization/{read.format(job.job_id)}") for read in reads]
                    tried += [
                        rest.post(f"/optimization/jobs/{job.job_id}/{verb}")
                        for verb in ("pause", "resume", "cancel")
                    ]
                    tried += [rest.delete(f"/optimization/jobs/{job.job_id}")]
                    for answer in tried:
                        absent = answer.json()
                        assert answer.status_code == 404
                        assert absent["detail"] == f"There is no job '{job.job_id}'."
                    same = rest.get(f"/optimization/status/{never}").json()
                    assert same["detail"] == f"There is no job '{never}'."
        assert service.jobs.get(job.job_id).status == "queued"


class Slow:
    """Answers a check when it is let."""

    def __init__(self):
        self.asked, self.may = threading.Event(), threading.Event()
        self.answered = 0

    async def ask(self, _question, _payload, *, timeout=30.0):  # noqa: ASYNC109 - as the real one
        self.asked.set()
        await asyncio.to_thread(self.may.wait, 100)
        self.answered += 1
        return {"provider": "offline"}

    async def aclose(self):
        pass


@pytest.mark.parametrize("route", ["/optimization/start", "/skills"])
def test_who_gave_up_before_the_answer_leaves_no_job(tmp_path, route):
    body = {"task": "Write one."} if route == "/skills" else {}
    with opened(make_workspace(tmp_path)) as plain:
        service = dataclasses.replace(plain, helper=Slow())
        with serving(service) as address, client(address) as rest:
            asking = http.client.HTTPConnection(address.removeprefix("http://"))
            asking.request("POST", f"{API}{route}", json.dumps(body), {"Content-Type": "application/json"})
            assert service.helper.asked.wait(60)
            asking.close()
            time.sleep(0.5)  # the server hears of it
            service.helper.may.set()
            deadline = time.monotonic() + 60
            while not service.helper.answered and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(0.2)
            assert service.helper.answered
            assert service.jobs.page() == []
            assert rest.post(route, json=body).status_code == 202
            assert len(service.jobs.page()) == 1
