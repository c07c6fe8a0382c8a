"""What clients ask of jobs: what comes back, who may see it, and what is left in the store."""

import asyncio
import dataclasses
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))

from service_rig import Rig, opened_rig, rig

from skill_fleet.api.problems import problem_of
from skill_fleet.foundation.errors import (
    DataError,
    IdempotencyConflict,
    NotFound,
    Removed,
    SkillFleetError,
    StateConflict,
    UnknownName,
    UsageError,
)
from skill_fleet.jobs.records import OVER, STATUSES, ApiKey, Job, Spending
from skill_fleet.services import jobs
from skill_fleet.services.job_report import job_report, report_page

__all__ = ["opened_rig", "rig"]

ALL = (jobs.cancel_job, jobs.pause_job, jobs.resume_job, jobs.delete_job)
# Where nothing depends on the database.
EMBEDDED = pytest.mark.parametrize("opened_rig", ["sqlite"], indirect=True)
NOBODYS = "20260101-000000-0123456789"


def started(
    rig: Rig, body: dict[str, Any] | None = None, owner: ApiKey | None = None, same: str | None = None
):
    return asyncio.run(
        jobs.start_optimization_job(rig.service, body or {}, owner=owner, idempotency_key=same)
    )


def test_a_job_that_is_started_is_in_the_store_in_the_queue_and_in_the_audit(rig):
    key = rig.key()
    job, created = started(
        rig, {"seed": 3, "metadata": {"team": "ä\ud800\0"}, "budget": {"max_calls": 9}}, key
    )
    assert created
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{10}", job.job_id)
    assert (job.status, job.owner, job.provider, job.max_calls) == ("queued", key.key_id, "offline", 9)
    assert rig.service.jobs.request_of(job.job_id)["seed"] == 3
    assert rig.queue.told == [("enqueue", f"{job.job_id}.1")]
    assert rig.service.jobs.left_behind(-1) == []
    line = rig.service.audit.list()[0]
    assert (line.key_id, line.action, line.subject) == (key.key_id, "job_started", job.job_id)
    assert [event.kind for event in jobs.job_events(rig.service, job.job_id, key)] == ["queued"]
    assert json.loads(json.dumps(jobs.job_view(job)))["metadata"] == {"team": "ä\ud800\0"}


@EMBEDDED
def test_what_could_not_begin_is_not_queued(rig):
    rig.helper.answers["check_optimization"] = DataError("Too few groups.", code="too_few_groups")
    with pytest.raises(DataError, match="Too few groups"):
        started(rig)
    assert jobs.list_jobs(rig.service, None)["jobs"] == []
    assert rig.queue.told == []


@EMBEDDED
def test_a_queue_that_is_away_loses_no_job(rig):
    rig.queue.away = True
    job, _ = started(rig)
    assert [left.job_id for left in rig.service.jobs.left_behind(-1)] == [job.job_id]
    assert asyncio.run(jobs.cancel_job(rig.service, job.job_id, None)).status == "cancelled"


def test_the_same_key_and_body_is_the_same_job(rig):
    key, other = rig.key(), rig.key()
    job, created = started(rig, {"seed": 1, "rounds": 2}, key, "again")
    assert created
    assert started(rig, {"rounds": 2, "seed": 1}, key, "again") == (job, False), "whatever the order"
    assert len(rig.helper.asked) == 1, "nothing is checked twice"
    with pytest.raises(IdempotencyConflict):
        started(rig, {"seed": 2, "rounds": 2}, key, "again")
    with pytest.raises(IdempotencyConflict):
        asyncio.run(jobs.start_creation_job(rig.service, {"task": "x"}, owner=key, idempotency_key="again"))
    assert started(rig, {"seed": 1, "rounds": 2}, other, "again")[1], "keys are each owner's own"
    assert len(rig.queue.told) == 2


def test_many_at_once_with_one_key_are_one_job(rig):
    async def all_at_once() -> list[tuple[Job, bool]]:
        one = (
            jobs.start_optimization_job(rig.service, {"seed": 5}, owner=None, idempotency_key="k")
            for _ in range(12)
        )
        return await asyncio.gather(*one)

    found = asyncio.run(all_at_once())
    assert len({job.job_id for job, _ in found}) == 1
    assert sum(created for _, created in found) == 1
    assert len(rig.queue.told) == 1


@pytest.mark.parametrize(
    ("body", "says", "hint"),
    [
        ({"roundz": 1}, "roundz is not a field", "'rounds'"),
        ({"budget": {"max_costs": 1}}, "budget.max_costs is not a field", "'max_cost'"),
        ({"rounds": "3"}, "rounds is wrong", ""),
        ({"rounds": True}, "rounds is wrong", ""),
        ({"rounds": 0}, "rounds is wrong", ""),
        ({"seed": 2**31}, "seed is wrong", ""),
        ({"budget": {"max_cost": float("nan")}}, "budget.max_cost is wrong", ""),
        ({"budget": {"max_cost": -1}}, "budget.max_cost is wrong", ""),
        ({"budget": {"max_minutes": float("inf")}}, "budget.max_minutes is wrong", ""),
        ({"auto": "huge"}, "auto is wrong", ""),
        ({"trainset": []}, "trainset is wrong", ""),
        ({"training_paths": []}, "training_paths is wrong", ""),
        ({"trainset": "config/training/trainset.json"}, "trainset is wrong", ""),
        ({"training_paths": "a/b"}, "training_paths is wrong", ""),
        ({"metadata": {"a": "x" * 20_000}}, "metadata is wrong", ""),
        ({"metadata": {"a": float("inf")}}, "metadata is wrong", ""),
        ({"program": "os:system"}, "program is not a field", ""),
        ({"metric": "os:system"}, "metric is not a field", ""),
        ({"reward": "os:system"}, "reward is not a field", ""),
        ({"api_base": "http://evil"}, "api_base is not a field", ""),
        ({"data": "/etc/passwd"}, "data is not a field", ""),
        ({"models": {"evaluation": {"api_base": "http://evil"}}}, "models.evaluation is wrong", ""),
        ({"models": {"nobody": "offline"}}, "models.nobody", ""),
    ],
)
def test_a_body_is_read_strictly(workspace, body, says, hint):
    from skill_fleet.services.context import open_context
    from skill_fleet.services.job_requests import optimization_request

    with pytest.raises(UsageError, match=re.escape(says)) as caught:
        optimization_request(open_context(workspace, environ={}), body)
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message


def test_only_registered_models_are_taken(workspace):
    from skill_fleet.services.context import open_context
    from skill_fleet.services.job_requests import creation_request, optimization_request

    context = open_context(workspace, environ={})
    for name in ("openai/gpt-4o-mini", "offline/rules-v1", "nobody"):
        with pytest.raises(UnknownName):
            optimization_request(context, {"models": {"evaluation": name}})
        with pytest.raises(UnknownName):
            creation_request(context, {"task": "x", "model": name})


PLACES = [
    "../x.json", "/etc/x.json", "a/../../x.json", "..\\x.json", "C:\\x.json", "\\\\host\\share\\x.json",
    "x\0.json", "%2e%2e/x.json", "..%2fx.json", "~/x.json", "x", "x.txt", "", ".json", ".hidden.json",
    "a//x.json", "a/./x.json", "x.manifest.json", "versions/x/1.json", "a/versions/1.json", "x.json/",
    "config/optimized/../x.json", "a/b/c/d/e/f.json", "x" * 300 + ".json", "ä.json", "x.json\n",
    "out/x.json", "link.json",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_no_place_outside_of_config_optimized_is_taken(workspace, tmp_path, place):
    from skill_fleet.services.context import open_context
    from skill_fleet.services.job_requests import creation_request, optimization_request

    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.json").write_text("{}")
    optimized = workspace / "config" / "optimized"
    optimized.mkdir(parents=True)
    (optimized / "out").symlink_to(outside)
    (optimized / "link.json").symlink_to(outside / "x.json")
    context = open_context(workspace, environ={})
    for read in (
        lambda: optimization_request(context, {"save_path": place}),
        lambda: creation_request(context, {"task": "x", "program": place}),
    ):
        with pytest.raises(UsageError) as caught:
            read()
        assert str(outside) not in caught.value.message


@pytest.mark.parametrize("place", ["x.json", "team/x-1.2_b.json", "config/optimized/x.json"])
def test_a_place_below_config_optimized_is_what_a_run_publishes_to(workspace, place):
    from skill_fleet.services.context import open_context
    from skill_fleet.services.job_requests import optimization_asked, optimization_request

    context = open_context(workspace, environ={})
    _, asked = optimization_asked(context, optimization_request(context, {"save_path": place}))
    assert asked["output"] == str(workspace / "config/optimized" / place.removeprefix("config/optimized/"))


def test_what_was_asked_is_what_a_run_is_given(workspace):
    from skill_fleet.llm.budget import Limits
    from skill_fleet.services.context import open_context
    from skill_fleet.services.job_requests import optimization_asked, optimization_request
    from skill_fleet.services.optimization import request_of

    (workspace / "config/config.yaml").write_text("budget: { max_calls: 70, max_minutes: 3 }\n")
    context = open_context(workspace, environ={})
    body = {
        "optimizer": "miprov2", "trials": 7, "rounds": 1, "max_bootstrapped_demos": 0, "max_labeled_demos": 2,
        "num_threads": 3, "min_groups": 4, "seed": -9, "prefer": "cheaper", "folds": 5, "repeats": 2,
        "modules": ["write"], "models": {"judge": "offline"}, "training_paths": ["a/b"],
        "budget": {"max_cost": 1.5, "max_calls": None},
    }  # fmt: skip
    kept = json.loads(json.dumps(optimization_request(context, body)))
    within, asked = optimization_asked(context, kept)
    request = request_of(within, asked)
    assert request.limits == Limits(1.5, 70, None, 3.0)
    assert request.auto is None
    for name, value in body.items():
        if name != "budget":
            given = getattr(request, name)
            assert (list(given) if isinstance(given, tuple) else given) == value, name


def seen_by(rig: Rig, key: ApiKey | None, job_id: str) -> list[str]:
    """What each way of asking answers."""
    answers = []

    def noted(ask: Callable[[], Any]) -> None:
        try:
            ask()
        except SkillFleetError as error:
            answers.append(f"{type(error).__name__}: {error.message.replace(job_id, 'X')}")
        else:
            answers.append("answered")

    for read in (jobs.get_job, jobs.job_result, jobs.job_events, job_report):
        noted(lambda read=read: read(rig.service, job_id, key))
    for verb in ALL:
        noted(lambda verb=verb: asyncio.run(verb(rig.service, job_id, key)))
    return answers


def test_a_job_of_another_is_as_one_that_never_was(rig):
    owner, other, admin = rig.key(), rig.key(), rig.key("admin")
    job, _ = started(rig, owner=owner)
    nothing = seen_by(rig, other, NOBODYS)
    assert set(nothing) == {"NotFound: There is no job 'X'."}
    assert seen_by(rig, other, job.job_id) == nothing
    assert rig.service.jobs.get(job.job_id).version == job.version, "and it is untouched"
    assert jobs.list_jobs(rig.service, other)["jobs"] == []
    for key in (owner, admin, None):
        assert jobs.get_job(rig.service, job.job_id, key).job_id == job.job_id
        assert len(jobs.list_jobs(rig.service, key)["jobs"]) == 1
    unowned, _ = started(rig)
    assert seen_by(rig, other, unowned.job_id) == nothing
    asyncio.run(jobs.cancel_job(rig.service, job.job_id, admin))
    assert asyncio.run(jobs.delete_job(rig.service, job.job_id, owner)) == "removed"
    assert seen_by(rig, other, job.job_id) == nothing, "also when it was removed"
    with pytest.raises(Removed):
        jobs.get_job(rig.service, job.job_id, owner)
    assert asyncio.run(jobs.delete_job(rig.service, job.job_id, owner)) == "removed"
    for odd in ("", "x\0", "\ud800", "a" * 10_000, "..", "' or 1=1 --"):
        with pytest.raises(NotFound):
            jobs.get_job(rig.service, odd, other)


@pytest.mark.parametrize("status", STATUSES)
def test_delete_cancels_what_is_not_over_and_removes_what_is(rig, status):
    job, _ = started(rig)
    before = rig.brought_to(job, status)
    assert before.status == status
    done = asyncio.run(jobs.delete_job(rig.service, job.job_id, None))
    if status in OVER:
        assert done == "removed"
    else:
        assert done == "cancelling"
        now = rig.service.jobs.get(job.job_id)
        assert (now.status, now.wanted) == (
            ("running", "cancelled") if status == "running" else ("cancelled", None)
        )
        assert asyncio.run(jobs.delete_job(rig.service, job.job_id, None)) == (
            "cancelling" if status == "running" else "removed"
        )
    if status != "running":
        assert asyncio.run(jobs.delete_job(rig.service, job.job_id, None)) == "removed"
        with pytest.raises(Removed):
            jobs.get_job(rig.service, job.job_id, None)


def test_a_key_has_only_so_many_unfinished_jobs(rig):
    loaded = rig.service.context.loaded
    server = loaded.settings.server.model_copy(update={"jobs_per_key": 2})
    settings = loaded.settings.model_copy(update={"server": server})
    context = dataclasses.replace(rig.service.context, loaded=dataclasses.replace(loaded, settings=settings))
    rig.service = dataclasses.replace(rig.service, context=context)
    key, other = rig.key(), rig.key()
    first, _ = started(rig, {"seed": 1}, key)
    started(rig, {"seed": 2}, key)
    with pytest.raises(StateConflict) as caught:
        started(rig, {"seed": 3}, key)
    problem = problem_of(caught.value)
    assert (problem.status_code, problem.headers["Retry-After"]) == (429, "2")
    assert json.loads(problem.body)["code"] == "too_many_jobs"
    assert len(rig.queue.told) == 2
    asyncio.run(jobs.cancel_job(rig.service, first.job_id, key))
    for owner in (key, other, other, None, None, None):
        assert started(rig, {"seed": 4}, owner)[1]


def test_pause_and_resume_put_the_next_attempt_into_the_queue(rig):
    job, _ = started(rig, {"budget": {"max_calls": 10, "max_minutes": 5.0}})
    paused = asyncio.run(jobs.pause_job(rig.service, job.job_id, None))
    assert paused.status == "paused"
    assert asyncio.run(jobs.pause_job(rig.service, job.job_id, None)).version == paused.version
    raised = {"budget": {"max_calls": 30, "max_tokens": 7000}}
    resumed = asyncio.run(jobs.resume_job(rig.service, job.job_id, None, raised))
    assert (resumed.status, resumed.attempt, resumed.max_calls) == ("queued", 2, 30)
    assert (resumed.max_tokens, resumed.max_minutes) == (7000, 5.0)
    assert rig.service.jobs.request_of(job.job_id)["budget"] == {
        "max_cost": None,
        "max_calls": 30,
        "max_tokens": 7000,
        "max_minutes": 5.0,
    }
    assert rig.queue.told == [
        ("enqueue", f"{job.job_id}.1"),
        ("cancel", f"{job.job_id}.1"),
        ("enqueue", f"{job.job_id}.2"),
    ]
    with pytest.raises(StateConflict):
        asyncio.run(jobs.resume_job(rig.service, job.job_id, None))
    with pytest.raises(UsageError, match="budgets is not a field") as caught:
        asyncio.run(jobs.resume_job(rig.service, job.job_id, None, {"budgets": {}}))
    assert caught.value.hint == "Did you mean 'budget'?"
    actions = [line.action for line in rig.service.audit.list()]
    assert actions == ["job_resumed", "job_paused", "job_paused", "job_started"]


@EMBEDDED
@pytest.mark.parametrize(
    ("raised", "goes_on"),
    [
        ({}, False),
        ({"max_calls": 9}, False),
        ({"max_calls": 10}, False),
        ({"max_minutes": 4.0}, False),
        ({"max_cost": 5.0}, False),
        ({"max_calls": 11}, True),
        ({"max_minutes": 6.0}, True),
        ({"max_calls": 5, "max_minutes": 6.0}, True),
    ],
)
def test_what_a_cap_has_stopped_goes_on_only_with_a_higher_one(rig, raised, goes_on):
    job, _ = started(rig, {"budget": {"max_calls": 10, "max_minutes": 5.0}})
    error = {"code": "budget", "message": "The cap of 10 calls is reached.", "hint": ""}
    lease = rig.taken(job)
    rig.service.jobs.conclude(
        lease, "stopped", result={}, error=error, message="", spending=Spending(10, 0, 0)
    )
    resumed = jobs.resume_job(rig.service, job.job_id, None, {"budget": raised} if raised else None)
    if goes_on:
        assert asyncio.run(resumed).status == "queued"
        return
    with pytest.raises(StateConflict, match="none is higher now") as caught:
        asyncio.run(resumed)
    assert "10 calls" in caught.value.hint
    assert rig.service.jobs.get(job.job_id).status == "stopped"


def test_pages_show_every_job_once_while_others_are_added(rig):
    key = rig.key()
    made = [started(rig, {"seed": number}, key)[0].job_id for number in range(7)]
    started(rig)
    seen: list[str] = []
    cursor = None
    for _ in range(10):
        page = jobs.list_jobs(rig.service, key, cursor=cursor, limit=3)
        seen += [job["job_id"] for job in page["jobs"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        started(rig, {}, key)
    assert seen == made[::-1]
    whole = jobs.list_jobs(rig.service, None, limit=7)
    assert len(whole["jobs"]) == 7
    assert whole["next_cursor"] is not None
    queued = jobs.list_jobs(rig.service, key, statuses=("succeeded",))
    assert queued == {"jobs": [], "next_cursor": None}


def test_a_cursor_is_of_one_list_and_cannot_be_made_up(rig):
    key, other = rig.key(), rig.key()
    for number in range(3):
        started(rig, {"seed": number}, key)
    cursor = jobs.list_jobs(rig.service, key, limit=1)["next_cursor"]
    rest = jobs.list_jobs(rig.service, key, cursor=cursor, limit=5)
    for listed in (
        lambda: jobs.list_jobs(rig.service, key, cursor=cursor, statuses=("queued",)),
        lambda: jobs.list_jobs(rig.service, key, cursor=cursor, kind="creation"),
        lambda: jobs.list_jobs(rig.service, other, cursor=cursor),
    ):
        with pytest.raises(UsageError) as caught:
            listed()
        assert caught.value.code == "cursor"
    for place in range(len(cursor)):
        changed = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        try:
            assert jobs.list_jobs(rig.service, key, cursor=changed, limit=5) == rest, "an unused bit"
        except UsageError:
            continue
    for odd in ("", "x", "A" * 5000, "é", "W10", "bnVsbA", "W1tbW1tb", cursor + "!"):
        with pytest.raises(UsageError):
            jobs.list_jobs(rig.service, key, cursor=odd)


@EMBEDDED
def test_a_result_is_there_when_there_is_one(rig):
    job, _ = started(rig)
    with pytest.raises(NotFound) as caught:
        jobs.job_result(rig.service, job.job_id, None)
    assert caught.value.code == "no_result"
    rig.brought_to(job, "succeeded")
    assert jobs.job_result(rig.service, job.job_id, None) == {"status": "succeeded", "simulated": True}


def test_a_report_comes_from_the_store_else_from_the_runs_folder(rig, workspace):
    job, _ = started(rig)
    with pytest.raises(NotFound) as caught:
        job_report(rig.service, job.job_id, None)
    assert caught.value.code == "no_result"
    folder = workspace / ".skill-fleet/runs" / job.job_id
    folder.mkdir(parents=True)
    (folder / "report.md").write_text("# Here\n")
    assert job_report(rig.service, job.job_id, None) == "# Here\n"
    rig.service.files.save(rig.taken(job), {"report.md": b"# Kept\n"})
    assert job_report(rig.service, job.job_id, None) == "# Kept\n"


def test_a_report_as_a_page_holds_nothing_that_runs_or_loads():
    text = (
        "# Run <script>alert(1)</script>\n\n<img src=x onerror=alert(1)>\n\n![p](http://evil/p.png)\n\n"
        "[a](javascript:alert(1)) [b](data:text/html,x)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    )
    page = report_page(text, "Job <b>")
    assert "<table>" in page
    assert "Job &lt;b&gt;" in page
    for bad in ("<script", "<img", 'href="javascript', 'href="data'):
        assert bad not in page


@EMBEDDED
def test_a_job_says_when_it_may_be_done_only_where_there_is_a_pace(rig):
    job, _ = started(rig)
    assert jobs.job_view(job)["estimated_finish"] is None
    lease = rig.taken(job)
    rig.service.jobs.progress(lease, progress=0.01)
    assert jobs.job_view(rig.service.jobs.get(job.job_id))["estimated_finish"] is None
    rig.service.jobs.progress(lease, progress=0.5, message="Round 1.")
    running = rig.service.jobs.get(job.job_id)
    view = jobs.job_view(running)
    assert view["estimated_finish"] >= view["updated_at"] >= view["started_at"]
    assert (view["message"], view["status"]) == ("Round 1.", "running")
    asyncio.run(jobs.pause_job(rig.service, job.job_id, None))
    assert jobs.job_view(rig.service.jobs.get(job.job_id))["message"] == "Pausing."


@EMBEDDED
def test_optimizers_are_asked_for_once(rig):
    rig.helper.answers["optimizers"] = {"optimizers": [], "unusable": []}

    async def often() -> None:
        for _ in range(3):
            assert (await jobs.optimizers(rig.service))["optimizers"] == []

    asyncio.run(often())
    assert [question for question, _ in rig.helper.asked] == ["optimizers"]


def test_what_the_server_imports_knows_no_program():
    import subprocess

    code = (
        "import sys, skill_fleet.services.jobs, skill_fleet.services.keys, skill_fleet.services.job_report\n"
        "print(sorted({'dspy', 'numpy', 'optuna', 'gepa', 'dbos', 'litellm'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
