"""Who calls: a key looked up, remembered for a moment, and refused in one and the same words."""

import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeVar

from skill_fleet.api.dependencies import Caller
from skill_fleet.api.problems import Refused
from skill_fleet.api.throttle import FailedKeys
from skill_fleet.foundation.clock import Clock
from skill_fleet.foundation.errors import NotFound, StorageError
from skill_fleet.jobs.records import ApiKey

FRESH_SECONDS = 1.0
"""How long an answer of the store stands: a revoked key opens nothing after that."""
_MOST = 1024
K = TypeVar("K")
V = TypeVar("V")

Find = Callable[[str], Awaitable[ApiKey | None]]
AnyGood = Callable[[], Awaitable[bool]]
Get = Callable[[str], Awaitable[ApiKey]]
Note = Callable[[str, str], Awaitable[object]]


class KeyGuard:
    """Finds out who calls.

    Args:
        find: The key of what was presented, or None.
        get: The key of an id, revoked or not.
        any_good: Whether any key exists that is not revoked.
        note: Told of a refusal: the address, and what it asked for.
        clock: Time.
        always: A key is needed even where none exists: the server is reached from other machines.
    """

    def __init__(
        self, find: Find, get: Get, any_good: AnyGood, note: Note, clock: Clock, *, always: bool
    ) -> None:
        self._find = find
        self._get = get
        self._any_good = any_good
        self._note = note
        self._clock = clock
        self._always = always
        self._failed = FailedKeys(clock)
        self._good: OrderedDict[bytes, tuple[float, ApiKey]] = OrderedDict()
        self._held: OrderedDict[str, tuple[float, bool]] = OrderedDict()
        self._needed: tuple[float, bool] = (float("-inf"), True)

    async def caller(self, presented: str | None, address: str, asked: str) -> Caller:
        """Who presents a key.

        Args:
            presented: The key; None where there was none.
            address: Where the request comes from.
            asked: Method and path.

        Raises:
            Refused: `unauthorized`, the same for no key, an unknown, a wrong and a revoked one;
                `too_many_failures` after ten of them in a minute, until the minute is over. A key that was
                good before is looked at all the same.
        """
        print_ = hashlib.sha256((presented or "").encode("utf-8", "replace")).digest()
        now = self._clock.monotonic()
        at, key = self._good.get(print_, (float("-inf"), None))
        if key is not None and now - at < FRESH_SECONDS:
            return Caller(key)
        if not await self._is_needed():
            return Caller()
        wait = self._failed.wait(address) if key is None else 0.0
        if wait:
            raise Refused(
                "too_many_failures",
                "Too many requests without a valid key came from this address.",
                headers={"Retry-After": str(int(wait) + 1)},
            )
        found = await self._find(presented) if presented else None
        if found is None:
            self._good.pop(print_, None)
            self._failed.failed(address)
            await self._note(address, asked)
            raise _unauthorized()
        _keep(self._good, print_, (self._clock.monotonic(), found))
        return Caller(found)

    async def holds(self, caller: Caller) -> bool:
        """Whether who was let in would still be: for answers that go on, like a stream of events.

        While the store is away, what it said last stands: nothing new comes out of it either.
        """
        if caller.key is None:
            return not await self._is_needed()
        key_id, now = caller.key.key_id, self._clock.monotonic()
        at, good = self._held.get(key_id, (float("-inf"), True))
        if now - at >= FRESH_SECONDS:
            with contextlib.suppress(StorageError):
                good = await self._is_good(key_id)
            _keep(self._held, key_id, (now, good))
        return good

    async def _is_good(self, key_id: str) -> bool:
        try:
            return (await self._get(key_id)).revoked_at is None
        except NotFound:
            return False

    async def _is_needed(self) -> bool:
        if self._always:
            return True
        at, needed = self._needed
        if self._clock.monotonic() - at >= FRESH_SECONDS:
            needed = await self._any_good()
            self._needed = (self._clock.monotonic(), needed)
        return needed


def _keep(known: OrderedDict[K, V], name: K, value: V) -> None:
    """Keep what was found, and of all only the latest."""
    known[name] = value
    known.move_to_end(name)
    if len(known) > _MOST:
        known.popitem(last=False)


def _unauthorized() -> Refused:
    return Refused(
        "unauthorized",
        "A valid key is needed.",
        hint="Send Authorization: Bearer KEY; skill-fleet keys create makes one.",
        headers={"WWW-Authenticate": 'Bearer realm="skill-fleet"'},
    )
