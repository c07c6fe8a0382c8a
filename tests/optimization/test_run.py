"""A run end to end on the offline model and a program that has nothing to do with skills."""

import json
import sqlite3

import pytest

from clocks import FakeClock
from skill_fleet.core.programs.artifact import load_artifact
from skill_fleet.foundation.errors import DataError, IntegrityError, NoSignal, StorageError, UnknownName
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.journal import Journal
from skill_fleet.optimization.planning.plan import make_plan
from skill_fleet.optimization.records.events import EventLog, read_events
from skill_fleet.optimization.records.runs import find_run, new_run, status_of, unfinished
from skill_fleet.optimization.session import Control

OPTIMIZERS = ("gepa", "miprov2", "bootstrap_random_search")


class Inner:
    """The offline model behind a fault: `fault(n, request)` raises what should go wrong at attempt n."""

    def __init__(self, inner, fault):
        self.inner = inner
        self.fault = fault
        self.attempts = 0

    def complete(self, request):
        self.attempts += 1
        self.fault(self.attempts, request)
        return self.inner.complete(request)

    async def acomplete(self, request):
        return self.complete(request)


def failing(fault, seen=None):
    def wrap(inner):
        made = Inner(inner, fault)
        if seen is not None:
            seen.append(made)
        return made

    return wrap


def text_of(request):
    return "\n".join(message.text or "" for message in request.messages)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_gains_publishes_and_replays_without_a_call(places, optimizer, whole_of):
    place = places("one")
    done = place.optimize(place.request(optimizer))
    result = done.result
    assert done.error is None
    assert result.status == "succeeded"
    assert result.simulated
    assert result.optimized["test"] > result.baseline["test"]
    assert result.calls["made"] > 0
    assert result.usd == 0.0
    assert (place.root / result.artifact).exists()
    assert (place.root / result.manifest).exists()
    saved = json.loads(find_run(place.loaded.workspace.runs, "latest").result.read_text())
    assert saved["program_hash"] == result.program_hash
    assert saved["notice"].startswith("offline/rules-v1: a built-in rule-based simulator")

    (place.root / result.artifact).unlink()  # no incumbent for the second run
    again = place.optimize(place.request(optimizer)).result
    assert again.calls["made"] == 0, "the journal has every answer"
    assert again.program_hash == result.program_hash
    assert again.test_reads == 1, "the same settings and the same program read nothing new"
    further = place.optimize(place.request(optimizer, rounds=1, trials=5)).result
    assert further.test_reads == 2
    assert any(warning["code"] == "test_reused" for warning in further.warnings)
    assert further.alpha < result.alpha

    assert whole_of(optimizer).program_hash == result.program_hash, "the number of threads decides nothing"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("cap", [0, 40, 300])
def test_a_cap_on_calls_holds_and_the_run_can_be_gone_on_with(places, optimizer, cap, whole_of):
    place = places("capped")
    done = place.optimize(place.request(optimizer, limits=Limits(calls=cap)))
    made = Journal(place.loaded.workspace.ledger, place.loaded.workspace.responses).spent(done.result.run_id)
    assert made.calls <= cap
    assert done.result.calls["made"] <= cap
    assert (done.result.status, done.result.stop_reason) == ("stopped", "budget")
    assert done.error is not None
    assert done.error.exit_code == 5
    assert done.result.resume == f"skill-fleet runs resume {done.result.run_id}"

    finished = place.resume(done.result.run_id, place.request(optimizer)).result
    assert finished.status == "succeeded"
    assert finished.program_hash == whole_of(optimizer).program_hash
    assert paid_twice(place) == []


def paid_twice(place):
    """Keys that were settled more than once in one run."""
    with sqlite3.connect(place.loaded.workspace.ledger) as db:
        rows = db.execute(
            "select run, key, count(*) from attempt where state='settled'"
            " group by run, key having count(*) > 1"
        )
        return rows.fetchall()


def test_a_stopped_search_returns_the_best_so_far(place, whole_of):
    cap = int(whole_of("gepa", rounds=1).calls["made"] * 0.85)
    result = place.optimize(place.request("gepa", rounds=1, limits=Limits(calls=cap))).result
    assert result.calls["made"] <= cap
    assert result.status == "stopped"
    assert result.optimized["validation"] > result.baseline["validation"]
    assert result.optimized["test"] is not None, "the sealed test was set aside for"
    assert result.verdict in {"better", "not_shown"}


def test_a_refused_key_ends_the_run_after_one_call(place):
    from dspy.utils.exceptions import LMAuthError

    def refuse(_number, _request):
        raise LMAuthError("Incorrect API key provided.", model="x")

    seen = []
    done = place.optimize(place.request("gepa"), wrap=failing(refuse, seen))
    assert sum(inner.attempts for inner in seen) == 1
    assert done.error.exit_code == 6
    assert done.result.status == "failed"
    assert done.result.baseline["validation"] is None


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_provider_that_dies_stops_the_run_and_a_resume_ends_identical(places, optimizer, whole_of):
    from dspy.utils.exceptions import LMServerError

    def die(number, _request):
        if number > 150:
            raise LMServerError("The server is on fire.")

    place = places("dies")
    done = place.optimize(place.request(optimizer), wrap=failing(die))
    assert (done.result.status, done.result.stop_reason) == ("stopped", "provider")
    assert done.error.exit_code == 6
    finished = place.resume(done.result.run_id, place.request(optimizer)).result
    whole = whole_of(optimizer)
    assert finished.program_hash == whole.program_hash
    assert finished.optimized == whole.optimized


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_passing_failures_change_nothing(places, optimizer, whole_of):
    from dspy.utils.exceptions import LMRateLimitError

    met = set()

    def every_tenth(number, request):
        if number % 10 == 0 and text_of(request) not in met:  # no call meets it more than once
            met.add(text_of(request))
            raise LMRateLimitError("Slow down.", retry_after=0.0)

    place = places("bumpy")
    bumpy = place.optimize(place.request(optimizer), wrap=failing(every_tenth)).result
    smooth = whole_of(optimizer)
    assert bumpy.status == "succeeded"
    assert bumpy.calls["failed"] > 0
    assert bumpy.program_hash == smooth.program_hash
    assert bumpy.optimized == smooth.optimized


def test_examples_that_fail_for_good_are_set_aside_once(place):
    from dspy.utils.exceptions import LMInvalidRequestError

    def refuse_invoices(_number, request):
        if "invoice from last week" in text_of(request):
            raise LMInvalidRequestError("This content is not allowed.")

    done = place.optimize(place.request("gepa", rounds=1, trials=2), wrap=failing(refuse_invoices))
    assert done.result.status == "succeeded"
    folder = find_run(place.loaded.workspace.runs, done.result.run_id)
    aside = json.loads(folder.set_aside.read_text())
    codes = [warning["code"] for warning in done.result.warnings]
    in_test = any("invoice from last week" in str(i) for i in json.loads(folder.data.read_text())["test"])
    assert (aside == ["invoice-00"]) != in_test
    assert "examples_excluded" in codes


def test_a_constant_metric_is_refused_before_the_search(place):
    done = place.optimize(place.request("miprov2", metric="metrics:constant"))
    assert isinstance(done.error, NoSignal)
    assert done.result.status == "failed"
    assert done.result.stop_reason == "no_signal"
    assert done.result.calls["by_phase"].keys() == {"evaluation"}


def test_a_metric_that_breaks_is_no_score(place):
    done = place.optimize(place.request("gepa", metric="metrics:breaks"))
    assert done.result.status == "failed"
    assert done.error.code == "metric"
    assert "breaks" in done.error.message
    late = place.optimize(place.request("gepa", metric="metrics:breaks_in_search"))
    assert late.result.status == "failed"
    assert late.error.code == "metric"
    assert late.result.baseline["validation"] is not None


def test_an_incumbent_is_replaced_only_by_a_better_program(place):
    first = place.optimize(place.request("gepa")).result
    assert first.published == "candidate", first.to_json()
    before = (place.root / first.artifact).read_bytes()
    second = place.optimize(place.request("bootstrap_random_search", output="gepa.json")).result
    assert second.published == "incumbent"
    assert (place.root / first.artifact).read_bytes() == before
    loaded = load_artifact(place.root / first.artifact, search=place.root)
    assert loaded.manifest.run_id == first.run_id
    assert loaded.differences == ()


def test_a_damaged_incumbent_is_refused_before_anything_is_spent(place):
    first = place.optimize(place.request("gepa", rounds=1, trials=2)).result
    (place.root / first.artifact).write_text("{}")
    before = list(place.loaded.workspace.runs.iterdir())
    with pytest.raises(IntegrityError, match=r"gepa\.json cannot be replaced") as caught:
        place.optimize(place.request("gepa"))
    assert "another --output" in caught.value.hint
    assert list(place.loaded.workspace.runs.iterdir()) == before, "no run is begun"


def test_an_interrupt_checkpoints_and_the_resume_ends_identical(places, whole_of):
    place = places("stopped")
    control = Control()

    def press(event):
        if event.kind == "progress" and event.data.get("stage") == "search" and event.data["calls"] > 120:
            control.interrupt()

    done = place.optimize(place.request("miprov2"), listener=press, control=control)
    assert (done.result.status, done.result.stop_reason) == ("stopped", "interrupted")
    assert done.error.exit_code == 130
    finished = place.resume(done.result.run_id, place.request("miprov2")).result
    whole = whole_of("miprov2")
    assert finished.program_hash == whole.program_hash
    assert finished.calls["made"] == whole.calls["made"]


def test_a_resume_is_refused_when_the_program_has_changed(place):
    import triage

    done = place.optimize(place.request("gepa", limits=Limits(calls=60)))
    original = triage.TriageProgram
    try:

        class TriageProgram(original):
            """Another program of the same name."""

        triage.TriageProgram = TriageProgram
        with pytest.raises(IntegrityError, match="the program source changed"):
            place.resume(done.result.run_id, place.request("gepa"))
    finally:
        triage.TriageProgram = original
    with pytest.raises(IntegrityError, match="the options changed"):
        place.resume(done.result.run_id, place.request("gepa", trials=5))


def test_two_processes_cannot_run_one_run(place):
    done = place.optimize(place.request("gepa", limits=Limits(calls=60)))
    folder = find_run(place.loaded.workspace.runs, done.result.run_id)
    assert unfinished(place.loaded.workspace.runs)[0].run_id == folder.run_id
    with folder.locked(), pytest.raises(StorageError, match="another process"):
        place.resume(done.result.run_id, place.request("gepa"))
    folder.result.unlink()
    assert status_of(folder)[0] == "interrupted"


def test_only_the_named_modules_change(place):
    request = place.request("miprov2", program="two_steps:TwoSteps", modules=("route",), trials=4, rounds=1)
    done = place.optimize(request)
    assert done.error is None
    program = load_artifact(
        find_run(place.loaded.workspace.runs, done.result.run_id).candidate, search=place.root
    ).program
    fresh = type(program)()
    assert program.summarize.signature.instructions == fresh.summarize.signature.instructions
    assert program.summarize.demos == []
    with pytest.raises(UnknownName, match="predictor"):
        make_plan(place.request("gepa", modules=("rout",)), place.loaded)


def test_caps_count_what_earlier_processes_of_the_run_spent(place):
    request = place.request("gepa", limits=Limits(calls=50))
    first = place.optimize(request)
    again = place.resume(first.result.run_id, request)
    assert again.result.calls["made"] == first.result.calls["made"] <= 50
    assert again.error.exit_code == 5


def test_events_survive_a_half_written_line(tmp_path):
    from skill_fleet.foundation.clock import SYSTEM_CLOCK

    file = tmp_path / "events.jsonl"
    log = EventLog(file, SYSTEM_CLOCK)
    log.emit("started")
    log.emit("baseline", validation=0.5)
    with file.open("ab") as stream:
        stream.write(b'{"n": 3, "kind": "rou')
    EventLog(file, SYSTEM_CLOCK).emit("round", number=1)
    assert [event["n"] for event in read_events(file)] == [1, 2, 3]


def test_too_few_groups_are_refused(place):
    data = json.loads((place.root / "tickets.json").read_text())
    (place.root / "few.json").write_text(json.dumps([i for i in data if i["group"] < "frame-04"]))
    with pytest.raises(DataError, match="4"):
        make_plan(place.request("gepa", data="few.json"), place.loaded)
    plan = make_plan(place.request("gepa", data="few.json", min_groups=3), place.loaded)
    assert plan.split.train


def test_run_folders_do_not_collide(place):
    from skill_fleet.foundation.clock import SYSTEM_CLOCK

    names = {new_run(place.loaded.workspace.runs, SYSTEM_CLOCK).run_id for _ in range(20)}
    assert len(names) == 20


def test_the_newest_run_is_the_newest_of_its_second_too(place):
    runs, clock = place.loaded.workspace.runs, FakeClock()
    for _ in range(20):
        newest = new_run(runs, clock)
        newest.path.joinpath("request.json").write_text("{}")
        assert find_run(runs, "latest").run_id == newest.run_id
        clock.sleep(0.002)
    many = {new_run(runs, clock).run_id for _ in range(500)}
    assert len(many) == 500, "of one millisecond"


def test_a_halt_is_no_exception():
    assert not issubclass(Halt, Exception)


@pytest.mark.parametrize("half", ["program", "both"])
@pytest.mark.parametrize("before", ["nothing", "incumbent"])
def test_a_run_killed_while_it_publishes_ends_as_if_it_was_not(places, before, half):
    """Its own program at the output, with or without its manifest, is not taken for an incumbent."""
    place = places(f"{before}-{half}")
    if before == "incumbent":
        weak = place.optimize(place.request("bootstrap_random_search", output="out.json", trials=1, rounds=1))
        assert weak.error is None
    request = place.request("gepa", output="out.json")
    whole = place.optimize(request).result
    folder = find_run(place.loaded.workspace.runs, whole.run_id)
    folder.result.unlink()  # killed before the result was written
    if half == "program" and whole.published != "incumbent":
        (place.root / "out.manifest.json").unlink()
        if before == "incumbent":
            (place.root / "out.manifest.json").write_bytes(
                folder.incumbent.with_name("incumbent.manifest.json").read_bytes()
            )
    again = place.resume(whole.run_id, request).result
    assert again.status == "succeeded"
    assert again.published == whole.published
    assert again.verdict == whole.verdict
    assert again.program_hash == whole.program_hash
    assert again.calls["made"] == whole.calls["made"]
    assert load_artifact(place.root / "out.json", search=place.root).manifest is not None
