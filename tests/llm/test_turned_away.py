"""Calls that are turned away for the rate, again and again: how long that is borne, and whose fault it is."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from dspy.utils.exceptions import LMError, LMRateLimitError

from clocks import FakeClock
from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.llm.call_context import CURRENT_SUBJECT
from skill_fleet.llm.calls.engine import Line, Retry
from skill_fleet.llm.failures import attempts_at
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.limits.limiter import Limiter, Quota
from skill_fleet.llm.providers.provider import Provider
from skill_fleet.llm.testing import ScriptedModel, request_text
from skill_fleet.simulator import Faults, SimulatorSettings, running
from skill_fleet.simulator import Limits as ServerLimits
from watched_limiter import WatchedLimiter

OUTAGE = 30.0
SPEC = ModelSpec(model="openai/m", max_tokens=100)


def unlucky(limiter: Limiter) -> ScriptedModel:
    """Answers everybody but one call, while that is turned away."""

    def fault(number: int, request: Any) -> None:
        if "unlucky" not in request_text(request):
            return
        other = limiter.admit(Quota(SPEC.model), 1, lambda: False)
        assert other is not None
        other.answered(1)
        raise LMRateLimitError(message="too many", status=429, retry_after=1.0)

    return ScriptedModel(fault=fault)


def turned_away(rig: Any, clock: FakeClock, on_failure: str) -> tuple[Any, BaseException]:
    limiter = Limiter(clock, longest_pause=60.0, outage_seconds=OUTAGE)
    made = rig(
        unlucky(limiter),
        spec=SPEC,
        limiter=limiter,
        retry=Retry(attempts=6, base=1.0, outage=OUTAGE),
        on_failure=on_failure,
    )
    made.lm("first")
    began = clock.monotonic()
    with pytest.raises((LMError, Halt)) as caught:
        made.lm("unlucky")
    assert OUTAGE <= clock.monotonic() - began <= 3 * OUTAGE
    return made, caught.value


def test_a_call_that_is_turned_away_while_others_are_answered_fails_at_last(
    rig: Any, clock: FakeClock
) -> None:
    made, error = turned_away(rig, clock, "raise")
    assert isinstance(error, LMRateLimitError)
    assert made.gate.closed is None, "only this call"
    assert attempts_at(error) == made.spent.calls - 1 > 6, "as many as were made"


def test_in_a_search_it_stops_the_run_and_is_not_the_fault_of_its_example(rig: Any, clock: FakeClock) -> None:
    token = CURRENT_SUBJECT.set(("item-7", "call"))
    try:
        _, error = turned_away(rig, clock, "halt")
    finally:
        CURRENT_SUBJECT.reset(token)
    assert isinstance(error, Halt)
    assert error.error.code == "rate_limit"
    assert error.subject is None


@pytest.mark.parametrize(("share", "calls"), [(0.25, 60), (0.5, 40)])
def test_calls_turned_away_by_chance_however_often_stop_nothing(
    rig: Any, journal: Any, share: float, calls: int
) -> None:
    settings = SimulatorSettings(
        seed=1,  # by it one of 40 calls is turned away ten times in a row
        faults=Faults({"rate_limit": share}, in_a_row=100),
        limits=ServerLimits(retry_after=0.02),
    )
    with running(settings) as server:
        spec = ModelSpec(model="openai/offline/rules-v1", api_base=server.url, max_tokens=400)
        limiter = WatchedLimiter()  # admits all: the pace is not what this is about
        line = Line(journal, "run", SYSTEM_CLOCK, Retry(base=0.02))
        made = rig(Provider(spec, {}), spec=spec, line=line, limiter=limiter)
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda number: made.lm(f"Say {number}."), range(calls)))
        assert len(answers) == calls
        assert made.gate.closed is None
        totals = server.totals()
        assert totals.requests == made.spent.calls
        assert totals.answered == calls
        if share == 0.5:
            assert max(record.attempt or 0 for record in server.records()) > 6, "six in a row were seen"
