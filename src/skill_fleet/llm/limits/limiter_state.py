"""An account as others see it at one moment."""

import math
from dataclasses import dataclass

from skill_fleet.llm.limits.admission import Admission
from skill_fleet.llm.limits.breaker import BreakerState


@dataclass(frozen=True)
class LimiterState:
    """An account at one moment.

    Attributes:
        paused: Seconds until calls go on, as the provider asked; 0 when they do.
        breaker: Whether the provider is asked at all.
        rate: Calls a second, learned from calls that were turned away; None when none was.
        in_flight: Calls under way.
        waiting: Callers that wait.
        admitted: Calls let go so far.
        rejected: Of these, turned away by the provider for its rate.
        silent: Seconds since when nobody was answered, as long as it is asked; 0 while it answers.
        because: Code of the last failure while it is silent; else an empty string.
        outage: Seconds of silence after which it is given up.
    """

    paused: float
    breaker: BreakerState
    rate: float | None
    in_flight: int
    waiting: int
    admitted: int
    rejected: int
    silent: float = 0.0
    because: str = ""
    outage: float = math.inf


def state_of(core: Admission, now: float) -> LimiterState:
    """The account as it is now; its owner has locked it."""
    silent, because = core.breaker.silence(now)
    return LimiterState(
        max(0.0, core.rate.paused_until - now),
        core.breaker.state,
        core.rate.learned.rate,
        core.in_flight,
        core.waiting,
        core.admitted,
        core.rate.rejected,
        silent,
        because,
        core.breaker.outage,
    )
