"""An outage at one thread: nobody else asks, so nobody can say whether it is the provider or the request."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from dspy.utils.exceptions import LMError, LMServerError

from clocks import FakeClock
from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.calls.engine import Retry
from skill_fleet.llm.failures import Failure, attempts_at
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.limits.admission import Admission
from skill_fleet.llm.limits.callers import Place, Quota
from skill_fleet.llm.limits.limiter import Limiter
from skill_fleet.llm.testing import ScriptedModel, request_text

OUTAGE = 120.0
SPEC = ModelSpec(model="openai/m", max_tokens=100)
DOWN = Failure("server", "retry", sent=True)
CAUSE = ProviderError("It is down.")
Broken = Callable[[str], bool]


@pytest.fixture
def limiter(clock: FakeClock) -> Limiter:
    return Limiter(clock, longest_pause=60.0, outage_seconds=OUTAGE)


@pytest.fixture
def made(rig: Any, clock: FakeClock, limiter: Limiter) -> Callable[..., Any]:
    """A model whose requests fail with 503 where that is said; one thread asks it, time goes by asleep."""

    def build(broken: Broken, on_failure: str = "raise", **options: Any) -> Any:
        def fault(_: int, request: Any) -> None:
            clock.sleep(0.2)
            if broken(request_text(request)):
                raise LMServerError("unavailable", status=503)

        retry = Retry(attempts=6, base=1.0, outage=OUTAGE)
        return rig(
            ScriptedModel(fault=fault),
            spec=SPEC,
            limiter=limiter,
            retry=retry,
            on_failure=on_failure,
            **options,
        )

    return build


def down(clock: FakeClock, seconds: float) -> Broken:
    begun = clock.monotonic()
    return lambda _: 1.0 < clock.monotonic() - begun < 1.0 + seconds


@pytest.mark.parametrize("on_failure", ["raise", "halt"])
@pytest.mark.parametrize("seconds", [20.0, 60.0, 110.0])
def test_one_that_is_shorter_than_is_borne_is_waited_out(
    made: Callable[..., Any], clock: FakeClock, seconds: float, on_failure: str
) -> None:
    one = made(down(clock, seconds), on_failure)
    answers = [one.lm(f"item {number}")[0] for number in range(10)]
    undisturbed = made(lambda _: False, run="undisturbed")
    assert answers == [undisturbed.lm(f"item {number}")[0] for number in range(10)]
    assert one.gate.closed is None
    assert one.model.attempts <= 10 + 5 + seconds / 15.0, "it is looked for seldom: each time may be billed"


def test_a_long_one_stops_a_measurement_with_the_call_after_the_first_that_failed(
    made: Callable[..., Any], clock: FakeClock
) -> None:
    one = made(down(clock, 10_000.0))
    for number in range(4):
        one.lm(f"item {number}")
    began = clock.monotonic()
    with pytest.raises(LMServerError) as caught:
        one.lm("is not answered")
    assert attempts_at(caught.value) > 6
    with pytest.raises(Halt, match="unavailable") as halt:
        one.lm("nor is the next")
    assert (halt.value.cause, halt.value.error.exit_code) == ("provider", 6)
    assert OUTAGE <= clock.monotonic() - began <= OUTAGE + 3.0


def test_a_long_one_stops_a_search_at_once(made: Callable[..., Any], clock: FakeClock) -> None:
    one = made(down(clock, 10_000.0), "halt")
    for number in range(4):
        one.lm(f"item {number}")
    began = clock.monotonic()
    with pytest.raises(Halt, match="unavailable") as halt:
        one.lm("is not answered")
    assert (halt.value.cause, halt.value.error.exit_code) == ("provider", 6)
    assert OUTAGE <= clock.monotonic() - began <= OUTAGE + 3.0


def test_one_request_that_always_fails_fails_alone(
    made: Callable[..., Any], clock: FakeClock, limiter: Limiter
) -> None:
    one = made(lambda text: "poisoned" in text)
    one.lm("first")
    began = clock.monotonic()
    with pytest.raises(LMServerError):
        one.lm("poisoned")
    assert clock.monotonic() - began <= OUTAGE + 3.0
    assert [one.lm(f"item {number}") for number in range(5)]
    assert one.gate.closed is None
    assert limiter.state().breaker == "closed"


def test_where_others_were_answered_since_it_has_its_own_attempts_only(
    made: Callable[..., Any], clock: FakeClock, limiter: Limiter
) -> None:
    def poisoned(text: str) -> bool:
        if "poisoned" not in text:
            return False
        other = limiter.admit(Quota(SPEC.model), 1, lambda: False)
        if asked.setdefault("since", clock.monotonic()) + 2.0 > clock.monotonic():
            other.answered(1)  # and then the others are done: it is alone with its last attempts
        else:
            other.dropped()
        return True

    asked: dict[str, float] = {}
    one = made(poisoned)
    one.lm("first")
    with pytest.raises(LMError) as caught:
        one.lm("poisoned")
    assert attempts_at(caught.value) == 6


def asks(core: Admission, now: float, before: Place | None = None) -> Place:
    place = Place(Quota("m"), 1, lambda: None)
    if before is not None and before.call is not None:
        call = before.call
        place.probes, place.origin, place.began = call.probes, call.origin, call.began
    core.enter(place, now)
    return place


def alone(core: Admission) -> tuple[Place, float]:
    """A call that has failed twice, and waits to be made again."""
    first = asks(core, 0.0)
    core.failed(first.call, DOWN, CAUSE, 0.1)
    second = asks(core, 2.0, first)
    core.failed(second.call, DOWN, CAUSE, 2.1)
    assert core.breaker.state == "open"
    return asks(core, 2.1, second), 2.1


@pytest.mark.parametrize("answered", [True, False])
def test_who_comes_while_one_call_fails_alone_looks_at_once_and_that_decides(answered: bool) -> None:
    core = Admission(60.0, OUTAGE, random.Random(0))
    waiting, now = alone(core)
    assert not waiting.decided
    other, third = asks(core, now + 0.1), asks(core, now + 0.1)
    assert other.call is not None
    assert other.call.probe
    assert not waiting.decided
    assert not third.decided
    if answered:
        core.answered(other.call, 1, now + 0.3)
        assert waiting.call is not None
        assert third.call is not None
        assert core.breaker.state == "closed"
    else:
        core.failed(other.call, DOWN, CAUSE, now + 0.3)
        assert core.breaker.several
        assert not waiting.decided


def test_two_that_fail_are_the_provider() -> None:
    core = Admission(60.0, OUTAGE, random.Random(0))
    first, now = alone(core)
    other = asks(core, now)
    waiting = [first]
    core.failed(other.call, DOWN, CAUSE, now)
    waiting.append(asks(core, now, other))
    while not any(place.error for place in waiting):
        now = max(now, min(place.due for place in waiting))
        core.serve(now)
        for place in [place for place in waiting if place.call is not None]:
            core.failed(place.call, DOWN, CAUSE, now)
            assert not place.call.overdue
            waiting.remove(place)
            waiting.append(asks(core, now, place))
    assert {place.error for place in waiting} == {CAUSE}
    assert now == pytest.approx(OUTAGE, abs=1.0)
