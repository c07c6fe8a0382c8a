"""What a watcher of a job is told: each thing once, in the order in which it happened."""

import io

from skill_fleet.cli.progress import _Lines
from skill_fleet.cli.screen import Screen
from skill_fleet.cli.story import Story
from skill_fleet.client import Event, Job

BASELINE = {"validation": 0.5, "examples": 20}
POWER = {"sd": 0.1, "groups": 9, "reading": 1, "alpha": 0.05, "effect": 0.1, "folds": 0}


def at(second: float, ending: str = "+00:00") -> str:
    return f"2026-01-01T00:00:{second:06.3f}{ending}"


def job(second: float, message: str, status: str = "running") -> Job:
    fields = {
        "job_id": "20260101-000000-0123456789",
        "kind": "optimization",
        "status": status,
        "progress": 0.3,
        "message": message,
        "error": None,
        "estimated_finish": None,
        "created_at": at(0, "Z"),
        "started_at": None,
        "finished_at": None,
        "updated_at": at(second, "Z"),
        "attempt": 1,
        "cost": {"calls": 1, "usd": 0.0, "usd_unknown_calls": 0},
        "budget": {},
        "metadata": {},
        "simulated": True,
    }
    return Job.of(fields)


class Told:
    """A story told in lines."""

    def __init__(self) -> None:
        self.err = io.StringIO()
        self.story = Story(_Lines(Screen(out=io.StringIO(), err=self.err)), quiet=False)
        self.number = 0

    def event(self, kind: str, second: float = 0.0, **data) -> None:
        self.number += 1
        self.story.event(Event(self.number, at(second), kind, data))

    @property
    def lines(self) -> list[str]:
        return self.err.getvalue().splitlines()


def taken_up(told: Told, worker: str, fence: int, second: float = 0.0) -> None:
    told.event("taken_up", second, worker=worker, fence=fence, attempt=1)
    told.event("started", second)
    told.event("baseline", second, **BASELINE)
    told.event("power", second, **POWER)


def test_what_a_second_worker_finds_in_the_journal_is_told_once():
    told = Told()
    told.event("queued", attempt=1)
    taken_up(told, "w1", 1)
    told.event("round", round=1, score=0.5, best=0.5, seconds=9.0, calls=40, stopped=None)
    told.event("crashed", error={"message": "Its process died."})
    taken_up(told, "w2", 2)
    told.event("round", round=1, score=0.5, best=0.5, seconds=0.1, calls=0, stopped=None)
    told.event("round", round=2, score=0.6, best=0.6, seconds=9.0, calls=40, stopped=None)
    expected = [
        "In the queue.",
        "Taken up by worker w1.",
        "Baseline on validation: 0.500 (20 examples).",
        "Expected to show",
        "Round 1:",
        "Its process died.",
        "Taken up again by worker w2: goes on from the journal.",
        "Round 2:",
    ]
    assert len(told.lines) == len(expected), told.lines
    for line, beginning in zip(told.lines, expected, strict=True):
        assert line.startswith(beginning)
    assert told.story.worker == "w2"


def test_folds_and_rounds_that_were_cut_off_are_told_each():
    told = Told()
    told.event("taken_up", worker="w1", fence=1)
    cut = {"round": 1, "score": 0.5, "best": 0.5, "seconds": 1.0, "calls": 2, "stopped": "interrupted"}
    told.event("round", **cut)
    told.event("round", **cut)
    told.event("round", **{**cut, "stopped": None})
    for fold in (1, 2, 2):
        told.event("fold", fold=fold, folds=2, gain=0.1, examples=5)
    assert [line.split(":")[0] for line in told.lines[1:]] == [
        "Round 1 interrupted",
        "Round 1 interrupted",
        "Round 1",
        "Fold 1 of 2. Gain on the 5 held-out examples",
        "Fold 2 of 2. Gain on the 5 held-out examples",
    ]


def test_how_it_stands_comes_after_what_led_to_it():
    told = Told()
    told.story.stands(job(1, "Waiting.", "queued"))
    told.event("queued", 1, attempt=1)
    told.story.stands(job(5, "Measuring the baseline, 3 of 20 examples."))  # its event has not come yet
    told.event("taken_up", 4, worker="w1", fence=1)
    told.event("baseline", 6, **BASELINE)
    told.story.stands(job(7, "Round 1 of 2: searching, 5 calls."))
    told.story.stands(job(8, "Round 1 of 2: searching, 9 calls."))
    assert told.lines == [
        "In the queue.",
        "Waiting for a worker …",
        "Taken up by worker w1.",
        "Measuring the baseline …",
        "Baseline on validation: 0.500 (20 examples).",
        "Round 1 of 2: searching …",
    ]


def test_what_is_over_does_not_go_on():
    told = Told()
    told.event("taken_up", worker="w1", fence=1)
    for message in ("Done.", "Stopped."):
        told.story.stands(job(1, message))
    told.story.stands(job(2, "Written to skills/a/SKILL.md.", "succeeded"))
    told.event("status", 3, status="succeeded", message="Written to skills/a/SKILL.md.")
    told.story.stands(job(2, "Draft 1 of 2."))  # an old answer
    told.story.stands(job(2, "Draft 1 of 2."))
    assert told.lines == ["Taken up by worker w1."]


def test_stages_of_a_second_worker_are_told_once_and_names_keep_their_case():
    told = Told()
    for fence in (1, 2):
        told.event("taken_up", fence, worker="w1", fence=fence)
        for message in ("Measuring the baseline.", "reading skills/education/A/SKILL.md.", "Sealed test."):
            told.story.stands(job(fence, message))
        told.story.stands(job(fence, "Done."))
    assert told.lines == [
        "Taken up by worker w1.",
        "Measuring the baseline …",
        "Reading skills/education/A/SKILL.md …",
        "Sealed test …",
        "Taken up again by worker w1: goes on from the journal.",
    ]
