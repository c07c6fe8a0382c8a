"""Runs with one output: what one of them published meanwhile was not measured by the other, and stays."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from filelock import FileLock

from skill_fleet.core.programs.artifact import load_artifact
from skill_fleet.core.programs.catalog import find_program, program_hash
from skill_fleet.core.programs.history import list_versions
from skill_fleet.foundation.errors import LeaseLost, StorageError
from skill_fleet.llm.budget import Limits
from skill_fleet.optimization.ending.report import render_report
from skill_fleet.optimization.records.runs import find_run

OUT = "out.json"
FINDS = "labeled_few_shot"
"""An optimizer that finds something better in few calls; which one it is makes no difference here."""
LATE = {
    "nothing better": ("copro", {}, "test", "not_shown"),
    "not shown": ("bootstrap_few_shot", {}, "test", "not_shown"),
    "better": ("gepa", {}, "test", "better"),
    "budget": ("gepa", {"limits": Limits(calls=150)}, "baseline", "not_shown"),
    "folds": ("labeled_few_shot", {"folds": 3}, "fold", "better"),
}
"""Optimizer, options, the event at which another run publishes, and the verdict, by how the run ends."""


class Killed(BaseException):
    """The process is gone."""


def once(kinds, do: Callable[[], object]):
    """A listener that does something at the first event of some kinds."""
    done = []

    def listen(event):
        if event.kind in kinds and not done:
            done.append(event)
            do()

    return listen


def asked(place, optimizer, **options):
    """A small run to the one output."""
    return place.request(optimizer, **{"output": OUT, "rounds": 1, "trials": 2, **options})


def better(place):
    """A run on another sealed test that finds a better program than the plain one, and publishes it."""
    done = place.optimize(asked(place, "labeled_few_shot", seed=7)).result
    assert done.published == "candidate"
    return done


def codes(result):
    return [warning["code"] for warning in result.warnings]


def plain_hash(place):
    return program_hash(find_program("triage:TriageProgram", search=place.root).build())


def at_output(place):
    return load_artifact(place.root / OUT, search=place.root).manifest


@pytest.mark.parametrize("kind", LATE)
def test_what_another_run_published_meanwhile_stays(place, kind):
    optimizer, options, moment, verdict = LATE[kind]
    others = []
    late = place.optimize(
        asked(place, optimizer, **options),
        listener=once({moment}, lambda: others.append(better(place))),
    ).result
    [other] = others
    there = at_output(place)
    assert (there.run_id, there.verdict) == (other.run_id, "better")
    assert len(list_versions(place.root / OUT)) == 1, "nothing was replaced"
    assert (late.published, late.verdict) == ("incumbent", verdict)
    assert codes(late).count("output_changed") == 1
    said = next(w["message"] for w in late.warnings if w["code"] == "output_changed")
    assert said in render_report(late.to_json())
    promoted = said.endswith(f": skill-fleet artifacts promote {late.run_id}")
    assert promoted is (late.program_hash != plain_hash(place)), "to promote the plain program makes no sense"
    kept = find_run(place.loaded.workspace.runs, late.run_id).candidate
    assert program_hash(load_artifact(kept, search=place.root).program) == late.program_hash


def test_the_same_program_found_by_two_runs_is_no_change(place):
    request = asked(place, FINDS)
    others = []
    late = place.optimize(
        request, listener=once({"test"}, lambda: others.append(place.optimize(request).result))
    ).result
    assert at_output(place).run_id == others[0].run_id
    assert (late.published, "output_changed" in codes(late)) == ("candidate", False)
    assert len(list_versions(place.root / OUT)) == 1


def test_an_incumbent_that_was_replaced_meanwhile_is_not_replaced_again(place):
    first = place.optimize(asked(place, "copro")).result
    assert first.published == "baseline"
    others = []
    late = place.optimize(
        asked(place, FINDS),
        listener=once({"incumbent"}, lambda: others.append(better(place))),
    ).result
    assert late.verdict == "better"
    assert (late.published, codes(late).count("output_changed")) == ("incumbent", 1)
    assert at_output(place).run_id == others[0].run_id


def test_what_was_taken_away_meanwhile_is_no_obstacle(place):
    place.optimize(asked(place, "copro"))
    taken = once({"test"}, lambda: [file.unlink() for file in place.root.glob("out*.json")])
    late = place.optimize(asked(place, FINDS), listener=taken).result
    assert (late.published, at_output(place).run_id) == ("candidate", late.run_id)


def killed_at(place, request, kinds):
    """A run whose process dies at an event."""

    def die():
        raise Killed

    with pytest.raises(Killed):
        place.optimize(request, listener=once(kinds, die))
    return find_run(place.loaded.workspace.runs, "latest")


def test_killed_before_it_published_it_is_measured_against_what_came_meanwhile(place):
    place.optimize(asked(place, "copro"))
    request = asked(place, FINDS)
    folder = killed_at(place, request, {"test"})
    other = better(place)
    done = place.resume(folder.run_id, request).result
    assert "output_changed" not in codes(done), "it was there when the run went on"
    assert load_artifact(folder.incumbent, search=place.root).manifest.run_id == other.run_id
    folder.result.unlink()  # and killed again, after publishing or not
    again = place.resume(folder.run_id, request).result
    assert (again.published, again.calls["made"]) == (done.published, done.calls["made"])
    assert "output_changed" not in codes(again)


@pytest.mark.parametrize("half", ["program", "both"])
def test_killed_while_it_published_it_does_not_take_its_own_program_for_a_change(places, half):
    """Another run looks at the half that it left, finds nothing better, and both end as if nothing was."""
    place = places(half)
    request = asked(place, FINDS)
    whole = place.optimize(request).result
    find_run(place.loaded.workspace.runs, whole.run_id).result.unlink()
    if half == "program":
        (place.root / "out.manifest.json").unlink()
    other = place.optimize(asked(place, "copro")).result
    assert other.published == "incumbent"
    again = place.resume(whole.run_id, request).result
    assert (again.published, again.verdict) == (whole.published, whole.verdict)
    assert again.program_hash == whole.program_hash
    assert "output_changed" not in codes(again)
    assert at_output(place).run_id == whole.run_id


@pytest.mark.parametrize(
    ("answer", "reason", "before"),
    [
        (LeaseLost("Somebody else has the job."), "lease", "nothing"),
        (StorageError("The store does not answer.", code="unavailable"), "storage", "plain"),
    ],
)
def test_what_may_not_be_published_is_not_and_the_run_can_be_gone_on_with(place, answer, reason, before):
    if before == "plain":
        place.optimize(asked(place, "copro"))
    was = {file.name: file.read_bytes() for file in place.root.glob("out*")}
    answers = []

    def no():
        lock = FileLock(place.loaded.workspace.state / "publishing.lock")
        code = f"import filelock; filelock.FileLock({lock.lock_file!r}).acquire(timeout=0)"
        answers.append(
            subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
        )
        if len(answers) == 3:
            raise answer

    request = asked(place, "gepa")
    done = place.optimize(request, may_write=no)
    words = "for the baseline, for the reading, and for the output: nobody else could publish then"
    assert answers == [0, 0, 1], words
    assert (done.result.status, done.result.stop_reason, done.result.published) == ("stopped", reason, None)
    assert {file.name: file.read_bytes() for file in place.root.glob("out*")} == was
    assert not (place.root / "versions").exists()
    finished = place.resume(done.result.run_id, request).result
    assert (finished.status, finished.published) == ("succeeded", "candidate")
    assert finished.calls["made"] == done.result.calls["made"]


def test_a_run_waits_with_looking_until_nobody_publishes(place, monkeypatch):
    monkeypatch.setattr("skill_fleet.core.programs.history._LOCK_SECONDS", 0.2)
    state = place.loaded.workspace.state
    state.mkdir(parents=True, exist_ok=True)
    request = asked(place, FINDS)
    with FileLock(state / "publishing.lock"):
        done = place.optimize(request)
    assert (done.result.stop_reason, done.error.code) == ("storage", "storage")
    assert "Another process is publishing" in done.error.message
    assert place.resume(done.result.run_id, request).result.published == "candidate"
