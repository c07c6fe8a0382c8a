"""Lists on a terminal of 80 columns: no name, no number and no time in them is cut."""

import io

import pytest
from rich.console import Console

from skill_fleet.cli.show_artifacts import shown_artifacts
from skill_fleet.cli.show_jobs import shown_job, shown_jobs
from skill_fleet.cli.show_runs import shown_runs
from skill_fleet.client.records import Job

RUN = "20261123-121959-1f8ffe01ab"
ARTIFACT = {
    "name": "a_program_with_a_long_name",
    "version": "64735f927118",
    "current": True,
    "program": "module:LongProgram",
    "optimizer": "bootstrap_random_search",
    "verdict": "not_shown",
    "quality": 0.5251,
    "simulated": True,
    "run_id": RUN,
    "created_at": "2026-11-23T12:20:00",
    "problem": None,
}
RAN = {
    "run_id": RUN,
    "status": "interrupted",
    "baseline": 0.525,
    "optimized": 0.625,
    "verdict": "not_shown",
    "seconds": 3.0,
    "usd": 12.345,
    "optimizer": "bootstrap_random_search",
}


def drawn(shown):
    text = io.StringIO()
    Console(file=text, width=80, color_system=None).print(shown)
    lines = text.getvalue().splitlines()
    assert max(len(line) for line in lines) <= 80
    return text.getvalue()


def job(**fields):
    times = dict.fromkeys(("started_at", "finished_at", "estimated_finish", "error"))
    cost = {
        "calls": 9,
        "possibly_billed": 0,
        "usd": 12.3456,
        "usd_range": [12.3, 12.4],
        "usd_unknown_calls": 0,
    }
    document = {
        "job_id": RUN,
        "kind": "optimization",
        "status": "succeeded",
        "progress": 1.0,
        "message": "Round 2 of 2: the best so far scores 0.625.",
        "attempt": 1,
        "cost": cost,
        "budget": {"max_cost": None, "max_calls": None},
        "metadata": {},
        "simulated": False,
        "created_at": "2026-11-23T12:20:00.000Z",
        "updated_at": "2026-11-23T12:20:00.000Z",
        "links": {},
        **times,
        **fields,
    }
    return Job.of(document)


def test_published_programs():
    shown = drawn(shown_artifacts([ARTIFACT, {**ARTIFACT, "current": False, "simulated": False}]))
    for whole in ("64735f927118 *", "not_shown", "0.525 ~", "2026-11-23 12:20"):
        assert whole in shown
    assert "* is published, ~ is by the built-in simulator" in shown
    assert "~" not in drawn(shown_artifacts([{**ARTIFACT, "simulated": False}]))


def test_runs():
    shown = drawn(shown_runs([RAN]))
    for whole in (RUN, "interrupted", "0.525 → 0.625", "not_shown", "$12.35"):
        assert whole in shown
    assert "not_shown" not in drawn(shown_runs([{**RAN, "optimized": None}])), "nothing was concluded"


@pytest.mark.parametrize("kind", ["optimization", "creation"])
def test_jobs(kind):
    shown = drawn(shown_jobs([job(kind=kind)]))
    for whole in (RUN, kind, "succeeded", "100 %", "$12.3"):
        assert whole in shown


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({}, "9 calls"),
        ({"max_cost": 2.0, "max_calls": 1}, "9 calls; at most $2.00, 1 call"),
        ({"max_tokens": 2_500_000, "max_minutes": 1.5}, "9 calls; at most 2.5 million tokens, 1 min 30 s"),
    ],
)
def test_a_job_is_shown_with_every_cap_it_has(budget, said):
    every = dict.fromkeys(("max_cost", "max_calls", "max_tokens", "max_minutes"))
    lines = drawn(shown_job(job(budget={**every, **budget}))).splitlines()
    [cost] = [line for line in lines if "9 calls" in line]
    assert cost.rstrip().endswith(said)
