"""Streams of events: however many listen to however many jobs, the table is asked once for all of them."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from skill_fleet.api.answers import json_bytes
from skill_fleet.foundation.errors import StorageError
from skill_fleet.jobs.records import OVER, JobEvent
from skill_fleet.services.job_views import event_view

PAGE = 500
"""Most events read at a time."""
KEPT = 1000
"""Events of a job that are kept for those who listen; who is further behind reads the table."""
Pulse = tuple[int, str]
"""Of a job: the number of its last event, and its status."""


@dataclass(frozen=True)
class Sent:
    """An event as it goes over the wire."""

    number: int
    chunk: bytes


@dataclass
class _Watch:
    """What is known of a job that somebody listens to."""

    head: int
    window: deque[Sent] = field(default_factory=lambda: deque(maxlen=KEPT))
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    begun: bool = False
    ended: str | None = None
    listeners: int = 0

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self.moved.set()
        self.moved = asyncio.Event()


class EventHub:
    """Follows the jobs that somebody listens to: one task, one question a look; none where nobody listens.

    Lives in one event loop.

    Args:
        events: `(job_id, after, limit)` -> events of the table, in order.
        pulses: Job ids -> number of the last event and status of each; removed jobs are left out.
        poll_seconds: How often the table is looked at.
    """

    def __init__(
        self,
        events: Callable[[str, int, int], Awaitable[Sequence[JobEvent]]],
        pulses: Callable[[Collection[str]], Awaitable[Mapping[str, Pulse]]],
        poll_seconds: float,
    ) -> None:
        self._events = events
        self._pulses = pulses
        self._poll_seconds = poll_seconds
        self._watches: dict[str, _Watch] = {}
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.stopping = False

    @property
    def watched(self) -> int:
        """How many jobs are followed now."""
        return len(self._watches)

    @property
    def listeners(self) -> int:
        """How many streams are open now."""
        return sum(watch.listeners for watch in self._watches.values())

    def stop(self) -> None:
        """End every stream as soon as it has sent what it is sending."""
        self.stopping = True
        for watch in self._watches.values():
            watch.wake()

    @asynccontextmanager
    async def listening(self, job_id: str, after: int) -> AsyncIterator["Listener"]:
        """A listener to a job's events after a number."""
        watch = self._watches.setdefault(job_id, _Watch(head=after))
        watch.listeners += 1
        self._more.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow(), name="events of jobs")
        try:
            yield Listener(self, job_id, watch, after)
        finally:
            watch.listeners -= 1
            if not watch.listeners and self._watches.get(job_id) is watch:
                del self._watches[job_id]
            if not self._watches and self._task is not None:
                self._task.cancel()
                self._task = None

    async def read(self, job_id: str, after: int) -> list[Sent]:
        """Events of the table as they go over the wire."""
        return [Sent(event.number, chunk_of(event)) for event in await self._events(job_id, after, PAGE)]

    def check(self) -> None:
        """Raise what ended the following of jobs, where something did."""
        if self._task is not None and self._task.done():
            self._task.result()

    async def _follow(self) -> None:
        """Look again and again; a table that cannot be read now is looked at later."""
        try:
            while self._watches:
                self._more.clear()
                with contextlib.suppress(StorageError):
                    await self._look()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_seconds):
                        await self._more.wait()
        finally:
            for watch in self._watches.values():
                watch.wake()

    async def _look(self) -> None:
        watches = dict(self._watches)
        pulses = await self._pulses(list(watches)) if watches else {}
        for job_id, watch in watches.items():
            last, status = pulses.get(job_id, (0, "removed"))
            if status != "removed":
                await self._advance(job_id, watch, last)
            if status == "removed" or (status in OVER and watch.head >= last):
                watch.ended = status
                # Who comes later begins anew: a job that was over may have been resumed.
                if self._watches.get(job_id) is watch:
                    del self._watches[job_id]
                watch.wake()

    async def _advance(self, job_id: str, watch: _Watch, last: int) -> None:
        if not watch.begun:  # the first listener may have asked for what is not there yet
            watch.begun, watch.head = True, min(watch.head, last)
        while watch.head < last and (fresh := await self.read(job_id, watch.head)):
            watch.window.extend(fresh)
            watch.head = fresh[-1].number
            watch.wake()


class Listener:
    """One reader's place in a job's events."""

    def __init__(self, hub: EventHub, job_id: str, watch: _Watch, after: int) -> None:
        self._hub = hub
        self._job_id = job_id
        self._watch = watch
        self.after = after

    async def next(self, patience: float) -> list[Sent]:
        """The events that come next; none when nothing happened for so many seconds, or at the end."""
        found = await self._ready()
        if found or self.ended is not None or self._hub.stopping:
            return found
        try:
            async with asyncio.timeout(patience):
                await self._watch.moved.wait()
        except TimeoutError:
            return []
        return await self._ready()

    @property
    def ended(self) -> str | None:
        """The status with which the job was over, once all its events were given; `removed` at times."""
        return self._watch.ended if self.after >= self._watch.head else None

    async def _ready(self) -> list[Sent]:
        watch = self._watch
        self._hub.check()
        if self.after >= watch.head:
            return []
        if watch.window and self.after + 1 >= watch.window[0].number:
            found = [sent for sent in watch.window if sent.number > self.after]
        else:
            found = await self._hub.read(self._job_id, self.after)
        if found:
            self.after = found[-1].number
        elif watch.ended is not None:
            self.after = watch.head  # the job was removed, and what was not given went with it
        return found


def chunk_of(event: JobEvent) -> bytes:
    """An event in the form of an event stream (HTML Living Standard, section 9.2.6)."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (
        event.number,
        event.kind.encode("utf-8", "replace"),
        json_bytes(event_view(event)),
    )
