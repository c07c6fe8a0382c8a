"""Which account a model belongs to: one limiter for all who share a provider, an address and a key."""

import hashlib
import threading

from skill_fleet.config.settings import Calls, ModelSpec
from skill_fleet.foundation.clock import Clock
from skill_fleet.llm.commands.known import account_of
from skill_fleet.llm.limits.limiter import Limiter
from skill_fleet.llm.providers.routes import address_of


class Limiters:
    """The limiters of a process, each made on first use."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Limiter] = {}
        self._lock = threading.Lock()

    def of(self, spec: ModelSpec, key: str | None, clock: Clock, calls: Calls) -> Limiter:
        """The limiter of a model's account.

        Args:
            spec: The model; its provider and address count.
            key: The key it is called with; only a digest of it is kept.
            clock: Another clock is another account: a test's time is not the machine's.
            calls: How long it pauses, and when it gives up; as the first who asked for the account had it.
        """
        digest = None if key is None else hashlib.sha256(key.encode()).hexdigest()
        account = (account_of(spec) or address_of(spec) or spec.provider, digest, id(clock))
        with self._lock:
            if account not in self._known:
                self._known[account] = Limiter(
                    clock, longest_pause=calls.longest_pause, outage_seconds=calls.outage_seconds
                )
            return self._known[account]


PROCESS_LIMITERS = Limiters()
"""What all runs of a process share."""
