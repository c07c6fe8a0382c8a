"""A capped run that is stopped and gone on with ends as one that was not, though in it nothing fails twice.

What its search must leave for the sealed test is reckoned from what the baseline took, retries included.
"""

import hashlib
import json
import math

import pytest
from dspy.utils.exceptions import LMServerError

from skill_fleet.foundation.errors import DataError
from skill_fleet.llm.budget import Limits
from skill_fleet.optimization.records.runs import find_run
from skill_fleet.optimization.session import Control

CAP = Limits(calls=390)
OUTCOME = ("program_hash", "baseline", "optimized", "accuracy", "verdict", "p_value", "stop_reason")


class Bumpy:
    """A model that fails at the first attempt of every fourth request, of each process."""

    def __init__(self, inner):
        self.inner = inner
        self.failed = set()

    def complete(self, request):
        words = [str(request.system), *(message.text or "" for message in request.messages)]
        name = hashlib.sha256("|".join(words).encode()).digest()
        if name[0] < 64 and name not in self.failed:
            self.failed.add(name)
            raise LMServerError("500")
        return self.inner.complete(request)


def stopping(stage, times):
    """A user who interrupts at the n-th progress of a stage: what to listen with, and the hand."""
    control, seen = Control(), []

    def listen(event):
        if event.kind == "progress" and event.data.get("stage") == stage:
            seen.append(event)
            if len(seen) == times:
                control.interrupt()

    return listen, control


def stopped_run(place, request, stage="search", times=4):
    listen, control = stopping(stage, times)
    first = place.optimize(request, wrap=Bumpy, listener=listen, control=control).result
    assert first.stop_reason == "interrupted"
    return find_run(place.loaded.workspace.runs, first.run_id)


@pytest.fixture(scope="module")
def whole(kept_place):
    place = kept_place("whole")
    return place.optimize(place.request("gepa", num_threads=1, limits=CAP), wrap=Bumpy).result


@pytest.mark.parametrize(("stage", "times"), [("baseline", 30), ("search", 4)])
def test_a_capped_run_stopped_and_gone_on_with_is_the_same(places, whole, stage, times):
    assert whole.optimized["test"] is not None
    assert whole.stop_reason == "budget"
    place = places("cut")
    request = place.request("gepa", num_threads=1, limits=CAP)
    folder = stopped_run(place, request, stage, times)
    again = place.resume(folder.run_id, request, wrap=Bumpy).result
    assert {name: getattr(again, name) for name in OUTCOME} == {
        name: getattr(whole, name) for name in OUTCOME
    }
    assert again.calls["made"] == whole.calls["made"]


def test_what_the_baseline_took_is_written_down_once(places):
    place = places("cut")
    request = place.request("gepa", num_threads=1, limits=CAP)
    folder = stopped_run(place, request)
    kept = json.loads(folder.baseline.read_text())
    # One call a run, of which every fourth was made twice.
    assert 1.1 < kept["calls_per_run"] < 1.4
    assert kept["tokens_per_call"] > 100
    assert 0 < kept["minutes_per_call"] < 1
    assert kept["usd_per_call"] == 0
    place.resume(folder.run_id, request, wrap=Bumpy)
    assert json.loads(folder.baseline.read_text()) == kept


def test_a_run_begun_before_it_was_written_down_is_gone_on_with(places):
    place = places("cut")
    request = place.request("gepa", num_threads=1)
    folder = stopped_run(place, request)
    folder.baseline.unlink()
    again = place.resume(folder.run_id, request, wrap=Bumpy)
    assert again.result.status == "succeeded", again.error
    assert 1.1 < json.loads(folder.baseline.read_text())["calls_per_run"] < 1.4


WHOLE = {"calls_per_run": 1.0, "tokens_per_call": 1, "usd_per_call": 0.0, "minutes_per_call": 0.0}


@pytest.mark.parametrize(
    "content",
    [[], {}, {**WHOLE, "more": 1}, {**WHOLE, "usd_per_call": "0"}, {**WHOLE, "calls_per_run": True}]
    + [{**WHOLE, "calls_per_run": value} for value in (-1.0, None, math.inf)],
)
def test_a_record_that_was_edited_is_named_in_a_sentence(places, content):
    place = places("cut")
    request = place.request("gepa", num_threads=1)
    folder = stopped_run(place, request)
    folder.baseline.write_text(json.dumps(content))
    error = place.resume(folder.run_id, request).error
    assert isinstance(error, DataError), error
    assert error.message.count(". ") == 0
    assert str(folder.baseline) in error.message
