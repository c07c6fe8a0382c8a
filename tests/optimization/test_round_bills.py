"""Rounds of a resumed run cost what they cost in one go, however often and wherever it was stopped."""

from itertools import count

import pytest

from skill_fleet.llm.budget import Limits
from skill_fleet.optimization.records.events import read_events
from skill_fleet.optimization.records.runs import find_run
from skill_fleet.optimization.session import Control

PRICED = """
models:
  default: priced
  registry:
    priced:
      model: offline/rules-v1
      temperature: 0.0
      max_tokens: 600
      price: {input_per_million: 150.0, output_per_million: 600.0}
"""


def priced(place):
    (place.root / "config").mkdir(exist_ok=True)
    (place.root / "config" / "config.yaml").write_text(PRICED)
    return type(place)(place.root, {})


NONE = Limits()


def asked(place, limits=NONE):
    return place.request("bootstrap_random_search", rounds=2, trials=2, limits=limits)


def bills(result):
    return [(line["round"], line["calls"], pytest.approx(line["usd"])) for line in result.rounds]


@pytest.fixture(scope="module")
def whole(kept_place):
    place = priced(kept_place("whole"))
    return place.optimize(asked(place)).result


def test_rounds_are_apart_and_part_of_the_whole(whole):
    calls = [line["calls"] for line in whole.rounds]
    assert len(calls) == 2
    assert all(count > 0 for count in calls)
    assert sum(calls) < whole.calls["made"]
    assert all(line["usd"] > 0 for line in whole.rounds)
    assert sum(line["usd"] for line in whole.rounds) < whole.usd


@pytest.mark.parametrize("share", [0.4, 0.7])
def test_a_run_stopped_by_caps_reports_the_rounds_of_one_that_was_not(whole, places, share):
    place = priced(places("capped"))
    first = place.optimize(asked(place, Limits(calls=int(whole.calls["made"] * share)))).result
    assert first.status == "stopped"
    more = Limits(calls=int(whole.calls["made"] * (share + 0.1)))
    place.resume(first.run_id, asked(place, more))
    last = place.resume(first.run_id, asked(place)).result
    assert last.calls["made"] == whole.calls["made"]
    assert bills(last) == bills(whole)


def test_a_process_that_never_noted_the_end_of_its_round_counts_too(whole, places):
    """As after a kill: no event says that the round ended."""
    place, control, made = priced(places("killed")), Control(), count()

    def wrap(inner):
        class Interrupting:
            def complete(self, request):
                if next(made) == whole.calls["made"] // 2:
                    control.interrupt()
                return inner.complete(request)

        return Interrupting()

    stopped = place.optimize(asked(place), wrap=wrap, control=control).result
    assert stopped.stop_reason == "interrupted"
    events = find_run(place.loaded.workspace.runs, stopped.run_id).events
    kept = [line for line in events.read_bytes().splitlines(keepends=True) if b'"stopped": "int' not in line]
    assert len(kept) < len(list(read_events(events)))
    events.write_bytes(b"".join(kept))
    last = place.resume(stopped.run_id, asked(place)).result
    assert bills(last) == bills(whole)
