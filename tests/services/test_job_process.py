"""The process of a job: it ends its job in the store, and whatever happens to it, nothing is paid twice."""

import json
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))

from job_harness import LONGEST, SLOW, THREADS, Stand, small_run, stand

from skill_fleet import __version__
from skill_fleet.jobs.child import CONCLUDED, INTERRUPTED, LOST

Opened = Callable[..., Stand]
LATE = 8.0
"""Seconds that a busy machine may take to hear that it is over; the calls would go on for longer."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str | None:
    return request.getfixturevalue("postgres_url") if request.param == "postgresql" else None


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    made: list[Stand] = []

    def open_(url: str | None = None, name: str = "stand", **environ: str) -> Stand:
        with_environ = Stand(tmp_path / name, url, environ)
        made.append(with_environ)
        return with_environ

    yield open_
    for one in made:
        one.close()


def event_table() -> dict[str, set[str]]:
    """The kinds of events that the reference tells of, and the fields that every event of a kind has."""
    page = Path(__file__).resolve().parents[2] / "docs" / "reference" / "rest.md"
    events = page.read_text().partition("## Events\n")[2].partition("\n## ")[0]
    found = {}
    for line in events.splitlines():
        if line.startswith("| `"):
            kind, _, data = (cell.strip() for cell in line.strip("| ").split(" | "))
            always = data.partition(";")[0]
            found[kind.strip("`")] = set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)|as of.*", "", always)))
    return found


def test_every_kind_of_event_is_in_the_reference() -> None:
    source = Path(__file__).resolve().parents[2] / "src" / "skill_fleet"
    told: set[str] = {"interrupted", "round_began", "writing"}  # by a constant, or under another name
    for folder in ("optimization", "jobs", "services"):
        for file in (source / folder).rglob("*.py"):
            text = file.read_text()
            told |= set(re.findall(r"(?:session|view|self)\.emit\(\s*\"(\w+)\"", text))
            told |= set(re.findall(r"add_events\([^\[]*\[\(\"(\w+)\"", text))
            told |= set(re.findall(r"child\.event\(\"(\w+)\"", text))
    told |= {"started", "resumed"}
    assert told == event_table().keys()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of the small run when nothing happens to it."""
    with stand(tmp_path_factory.mktemp("whole")) as one:
        job = one.job("whole", small_run())
        assert one.run(job) == CONCLUDED, one.stderr()
        result = one.now(job).result
        assert result is not None
        return dict(result)


def test_it_ends_its_job_in_the_store(opened: Opened) -> None:
    one = opened()
    job = one.job("a", small_run())
    process = one.start(one.claimed(job))
    seen: list[float] = []
    while process.poll() is None:
        seen.append(one.now(job).progress)
        time.sleep(0.02)
    found = one.now(job)
    assert (process.returncode, found.status, found.message) == (CONCLUDED, "succeeded", "Done."), (
        one.stderr()
    )
    assert found.progress == 1.0
    assert all(before <= after for before, after in pairwise(seen))
    assert found.result is not None
    assert found.result["artifact"] == "config/optimized/small.json"
    assert (one.root / "one" / "config" / "optimized" / "small.json").exists()
    assert found.calls == found.result["calls"]["made"] == len(one.attempts())
    kinds = [event.kind for event in one.events(job)]
    assert kinds[:3] == ["queued", "taken_up", "started"]
    assert kinds[-2:] == ["finished", "status"]
    documented = event_table()
    assert set(kinds) <= documented.keys()
    for event in one.events(job):
        assert documented[event.kind] <= event.data.keys(), event
    assert str(one.root) not in str([dict(event.data) for event in one.events(job)])
    kept = one.files.load(job.job_id)
    assert {
        "request.json",
        "data.json",
        "identity.json",
        "events.jsonl",
        "candidate.json",
        "report.md",
    } <= kept.keys()
    assert not {"lock", "optimizer.log"} & kept.keys()


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_moment_it_ends_in_the_same_program(
    opened: Opened, url: str | None, whole: dict[str, Any], seed: int
) -> None:
    one = opened(url)
    job = one.job("k", small_run())
    moment = random.Random(seed).randint(1, whole["calls"]["made"] - 5)
    process = one.start(one.claimed(job))
    one.until(lambda: len(one.attempts()) >= moment or process.poll() is not None, f"{moment} attempts")
    process.kill()
    process.wait()
    again = 0
    while one.now(job).status == "running":
        again += 1
        one.run(job)
        assert again < 3, one.stderr()
    found = one.now(job)
    assert found.status == "succeeded", found.error
    assert found.result is not None
    assert found.result["program_hash"] == whole["program_hash"]
    assert found.result["verdict"] == whole["verdict"]
    assert one.paid_twice() == 0
    assert one.lost() <= THREADS
    assert len(one.attempts()) == whole["calls"]["made"] + one.lost()
    numbers = [event.data["n"] for event in one.events(job) if "n" in event.data]
    assert numbers == sorted(numbers)


def test_another_machine_goes_on_with_it(opened: Opened, postgres_url: str, whole: dict[str, Any]) -> None:
    one = opened(postgres_url)
    job = one.job("m", small_run())
    process = one.start(one.claimed(job), command=SLOW)
    one.until(lambda: len(one.attempts()) >= 40 or process.poll() is not None, "40 attempts")
    process.kill()
    process.wait()
    assert one.run(job, "two") == CONCLUDED, one.stderr()
    found = one.now(job)
    assert found.result is not None
    assert found.result["program_hash"] == whole["program_hash"]
    assert one.paid_twice() == 0
    assert len(one.attempts()) == whole["calls"]["made"] + one.lost()
    assert (one.root / "two" / "config" / "optimized" / "small.json").exists()
    began = [event for event in one.events(job) if event.kind in {"started", "resumed"}]
    assert [event.kind for event in began] == ["started", "resumed"]


def test_cancelled_it_asks_nothing_more_and_keeps_the_best_so_far(opened: Opened, url: str | None) -> None:
    one = opened(url)
    job = one.job("c", small_run())
    process = one.start(one.claimed(job), command=SLOW)
    one.until(lambda: len(one.asked()) >= 30 or process.poll() is not None, "30 calls")
    at = time.time()
    one.store.want(job.job_id, "cancelled", None)
    assert process.wait(LONGEST) == CONCLUDED, one.stderr()
    found = one.now(job)
    assert found.status == "cancelled"
    assert max(one.asked()) < at + LATE
    assert found.result is not None
    assert found.result["stop_reason"] == "interrupted"
    assert found.result["program_hash"] is None or "candidate.json" in one.files.load(job.job_id)
    assert found.result["resume"] is None
    assert not (one.root / "one" / "config" / "optimized" / "small.json").exists()


def test_paused_by_a_signal_or_a_wish_it_goes_on_later(opened: Opened, whole: dict[str, Any]) -> None:
    one = opened()
    job = one.job("p", small_run())
    process = one.start(one.claimed(job), command=SLOW)
    one.until(lambda: len(one.attempts()) >= 20 or process.poll() is not None, "20 attempts")
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONGEST) == INTERRUPTED, one.stderr()
    assert one.now(job).status == "running"  # the worker's to hand back
    process = one.start(one.claimed(job), command=SLOW)
    one.until(lambda: len(one.attempts()) >= 40 or process.poll() is not None, "40 attempts")
    one.store.want(job.job_id, "paused", None)
    assert process.wait(LONGEST) == CONCLUDED, one.stderr()
    assert one.now(job).status == "paused"
    ends = [event.kind for event in one.events(job) if event.kind in {"finished", "interrupted", "status"}]
    assert ends == ["interrupted", "interrupted", "status"], "who waits for `finished` goes on waiting"
    one.store.requeue(job.job_id, None)
    assert one.run(job) == CONCLUDED, one.stderr()
    found = one.now(job)
    assert found.status == "succeeded"
    assert found.result is not None
    assert found.result["program_hash"] == whole["program_hash"]
    assert one.paid_twice() == 0


def test_without_its_worker_it_is_gone_at_once(opened: Opened) -> None:
    one = opened()
    job = one.job("o", small_run())
    one.environ["TEST_LATENCY"] = "50"
    process = one.start(one.claimed(job), command=SLOW)
    one.until(lambda: len(one.asked()) >= 1, "a call")
    assert process.stdin is not None
    process.stdin.close()
    at = time.monotonic()
    process.wait(LONGEST)
    assert time.monotonic() - at < 25.0, "it waits for no answer"


def test_taken_up_by_another_it_stops_and_publishes_nothing(opened: Opened, url: str | None) -> None:
    one = opened(url)
    job = one.job("l", small_run())
    process = one.start(one.claimed(job), command=SLOW)
    one.until(lambda: len(one.asked()) >= 10 or process.poll() is not None, "10 calls")
    one.claimed(job)
    at = time.time()
    before = len(one.events(job))
    assert process.wait(LONGEST) == LOST, one.stderr()
    assert max(one.asked()) < at + LATE
    assert len(one.events(job)) == before
    assert one.now(job).status == "running"
    assert not (one.root / "one" / "config").exists()


def test_stopped_for_its_budget_it_goes_on_with_a_higher_one(opened: Opened, whole: dict[str, Any]) -> None:
    one = opened()
    job = one.job("b", small_run(budget={"max_calls": 45}), max_calls=45)
    assert one.run(job) == CONCLUDED, one.stderr()
    found = one.now(job)
    assert (found.status, found.calls) == ("stopped", 45)
    assert found.error is not None
    assert found.error["code"] == "budget"
    higher = small_run(budget={"max_calls": 1000})
    one.store.requeue(job.job_id, None, request=higher, max_calls=1000)
    assert one.run(job) == CONCLUDED, one.stderr()
    found = one.now(job)
    assert found.status == "succeeded", found.error
    assert found.result is not None
    assert found.result["program_hash"] == whole["program_hash"]
    assert one.paid_twice() == 0


def test_a_key_s_budget_holds_also_where_the_request_allows_more(opened: Opened) -> None:
    one = opened()
    job = one.job("d", small_run(budget={"max_calls": 1000}), max_calls=7)
    assert one.run(job) == CONCLUDED, one.stderr()
    assert (one.now(job).status, len(one.attempts())) == ("stopped", 7)


@pytest.mark.parametrize(("changed", "ends"), [("versions", "succeeded"), ("models", "failed")])
def test_an_upgrade_stops_no_job_and_another_model_does(opened: Opened, changed: str, ends: str) -> None:
    one = opened()
    job = one.job("u", small_run(budget={"max_calls": 45}), max_calls=45)
    assert one.run(job) == CONCLUDED, one.stderr()
    one.store.requeue(job.job_id, None, request=small_run(), max_calls=1000)
    lease = one.claimed(job)
    identity = json.loads(one.files.load(job.job_id)["identity.json"])
    identity[changed] = {**identity[changed], "skill-fleet": "0.0.1"}
    one.files.save(lease, {"identity.json": json.dumps(identity).encode()})
    assert one.start(lease).wait(LONGEST) == CONCLUDED, one.stderr()
    found = one.now(job)
    assert found.status == ends, found.error
    if ends == "succeeded":
        assert found.result is not None
        assert found.result["resumed_over"] == [f"versions changed (skill-fleet 0.0.1 -> {__version__})"]
    else:
        assert found.error is not None
        assert found.error["code"] == "integrity"


def test_no_secret_is_written(opened: Opened, postgres_url: str) -> None:
    secret = "sk-planted-in-the-environment-4711"  # noqa: S105 - it opens nothing
    password = postgres_url.partition("//")[2].partition("@")[0].partition(":")[2]
    one = opened(postgres_url, OPENAI_API_KEY=secret)
    failing = one.job("e", small_run(models={"evaluation": "nobody"}))
    job = one.job("s", small_run(optimizer="labeled_few_shot"))
    one.run(failing)
    assert one.run(job) == CONCLUDED, one.stderr()
    texts = [one.stderr()]
    for each in (failing, job):
        found = one.now(each)
        told = [one.store.request_of(each.job_id), found.result, found.error, found.message]
        texts += [json.dumps(told, default=str)]
        texts += [json.dumps([event.data for event in one.events(each)], default=str)]
        texts += [data.decode() for data in one.files.load(each.job_id).values()]
    texts += [file.read_text(errors="replace") for file in one.root.rglob("*") if file.is_file()]
    assert one.now(failing).status == "failed"
    assert not [text for text in texts if secret in text or password in text]


def test_what_cannot_be_done_fails_with_one_sentence(opened: Opened) -> None:
    one = opened()
    job = one.job("f", {"training_paths": ["no/such/folder"]})
    assert one.run(job) == CONCLUDED, one.stderr()
    found = one.now(job)
    assert (found.status, found.error and found.error["code"]) == ("failed", "not_found")


def test_what_a_worker_needs_of_it_loads_no_model_library() -> None:
    code = "import sys, skill_fleet.jobs.child_ears, skill_fleet.services.job_process\n"
    code += "print([name for name in ('dspy', 'numpy', 'optuna', 'gepa', 'dbos') if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
