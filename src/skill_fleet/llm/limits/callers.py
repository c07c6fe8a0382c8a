"""Who calls: what a model may use, a caller in the queue, a call that was let go."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.limits.announced import Told
from skill_fleet.llm.limits.learned_rate import Sent
from skill_fleet.llm.limits.pace import Spent


@dataclass(frozen=True)
class Quota:
    """What one model may use, as configured.

    Attributes:
        model: `provider/name`.
        rpm: Most requests a minute.
        tpm: Most tokens a minute, input and output together.
        in_flight: Most calls at once.
    """

    model: str
    rpm: int | None = None
    tpm: int | None = None
    in_flight: int | None = None


@dataclass(eq=False)
class Call(Sent):
    """A call that was let go.

    Attributes:
        model: To which model.
        probe: Whether it asks on everybody's behalf if the provider is back.
        probes: How often in a row it has done so, this time included.
        origin: Number of the first attempt at the same call.
        began: When that was let go.
        overdue: Whether it failed for as long as a provider may be away, while no other call failed: no
            further attempt is made.
        tokens: How many it was expected to take.
        spent: Its tokens in the window of its model.
        under_way: Calls of the account in flight when it went, itself included.
        doubtful: Whether it went although an earlier answer said that nothing was left.
        room: Whether what came back said that there was room for more.
        word: What came back said is left.
        begun: Whether its answer has begun to come.
        loop: The event loop of the task that makes it; None of a thread, and until the task knows of it.
    """

    model: str = ""
    probe: bool = False
    probes: int = 0
    origin: int = 0
    began: float = -math.inf
    overdue: bool = False
    tokens: int = 0
    spent: Spent | None = None
    under_way: int = 1
    doubtful: bool = False
    room: bool = False
    word: Told | None = None
    begun: bool = False
    loop: object | None = None


@dataclass(eq=False)
class Place:
    """A caller in the queue.

    Attributes:
        probes: How often in a row its call has asked on everybody's behalf, up to now.
        origin: Number of the first attempt at its call; None: this is the first.
        began: When that was let go.
        call: Set when it may go.
        error: Set when the provider was given up.
        loop: The event loop of a task, which may be busy with something else for long; None of a thread.
        absent: Whether leave was given and not taken: it is passed over until it looks again.
        due: When its turn comes, as far as time decides; infinite where another call's end does, and of all
            who are not at the head of their queue.
    """

    quota: Quota
    tokens: int
    wake: Callable[[], None]
    probes: int = 0
    arrived: int = 0
    call: Call | None = None
    error: ProviderError | None = None
    origin: int | None = None
    began: float | None = None
    loop: object | None = None
    absent: bool = False
    due: float = math.inf

    @property
    def decided(self) -> bool:
        """Whether waiting is over."""
        return self.call is not None or self.error is not None
