"""Streams of events: however many listen to a job, its table is read once for all of them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from skill_fleet.api.answers import json_bytes
from skill_fleet.foundation.errors import NotFound, StorageError
from skill_fleet.jobs.records import Job, JobEvent
from skill_fleet.services.job_views import event_view

PAGE = 500
"""Most events read at a time."""
KEPT = 1000
"""Events of a job that are kept for those who listen; who is further behind reads the table."""
LOOK_SECONDS = 5.0
"""How often a silent job is looked at itself: it may have been removed."""


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
    looked: float = float("-inf")
    ended: str | None = None
    listeners: int = 0
    task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self.moved.set()
        self.moved = asyncio.Event()


class EventHub:
    """Follows the jobs that somebody listens to, one task a job; no task where nobody does.

    Lives in one event loop.

    Args:
        events: `(job_id, after, limit)` -> events of the table, in order.
        job: The job itself.
        poll_seconds: How often the table is looked at.
    """

    def __init__(
        self,
        events: Callable[[str, int, int], Awaitable[Sequence[JobEvent]]],
        job: Callable[[str], Awaitable[Job]],
        poll_seconds: float,
    ) -> None:
        self._events = events
        self._job = job
        self._poll_seconds = poll_seconds
        self._watches: dict[str, _Watch] = {}
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
        watch = self._watches.get(job_id)
        if watch is None:
            watch = self._watches[job_id] = _Watch(head=after)
            watch.task = asyncio.create_task(self._follow(job_id, watch), name=f"events of {job_id}")
        watch.listeners += 1
        try:
            yield Listener(self, job_id, watch, after)
        finally:
            watch.listeners -= 1
            if not watch.listeners:
                if self._watches.get(job_id) is watch:
                    del self._watches[job_id]
                if watch.task is not None:
                    watch.task.cancel()

    async def read(self, job_id: str, after: int) -> list[Sent]:
        """Events of the table as they go over the wire."""
        return [Sent(event.number, chunk_of(event)) for event in await self._events(job_id, after, PAGE)]

    async def _follow(self, job_id: str, watch: _Watch) -> None:
        try:
            while True:
                if await self._is_over(job_id, watch):
                    return
                await asyncio.sleep(self._poll_seconds)
        except NotFound:
            watch.ended = "removed"
        finally:
            # Who comes later begins anew: a job that was over may have been resumed.
            if self._watches.get(job_id) is watch:
                del self._watches[job_id]
            watch.wake()

    async def _is_over(self, job_id: str, watch: _Watch) -> bool:
        """Take in what is new; a table that cannot be read now is looked at again later."""
        loop = asyncio.get_running_loop()
        try:
            moved = await self._advance(job_id, watch)
            if moved or loop.time() - watch.looked >= LOOK_SECONDS:
                watch.looked = loop.time()
                job = await self._job(job_id)
                if job.over:
                    await self._advance(job_id, watch)
                    watch.ended = job.status
        except StorageError:
            return False
        return watch.ended is not None

    async def _advance(self, job_id: str, watch: _Watch) -> bool:
        """Take in the events there are; False where there is none that is new."""
        if not watch.begun and watch.head and not await self._events(job_id, watch.head - 1, 1):
            watch.head = 0  # the first listener asked for what is not there yet
        watch.begun = True
        before = watch.head
        while fresh := await self.read(job_id, watch.head):
            watch.window.extend(fresh)
            watch.head = fresh[-1].number
            watch.wake()
            if len(fresh) < PAGE:
                break
        return watch.head > before


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
            await asyncio.wait_for(self._watch.moved.wait(), patience)
        except TimeoutError:
            return []
        return await self._ready()

    @property
    def ended(self) -> str | None:
        """The status with which the job was over, once all its events were given; `removed` at times."""
        return self._watch.ended if self.after >= self._watch.head else None

    async def _ready(self) -> list[Sent]:
        watch = self._watch
        if watch.task is not None and watch.task.done():
            watch.task.result()
        if self.after >= watch.head:
            return []
        if watch.window and self.after + 1 >= watch.window[0].number:
            found = [sent for sent in watch.window if sent.number > self.after]
        else:
            found = await self._hub.read(self._job_id, self.after)
        if found:
            self.after = found[-1].number
        return found


def chunk_of(event: JobEvent) -> bytes:
    """An event in the form of an event stream (HTML Living Standard, section 9.2.6)."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (
        event.number,
        event.kind.encode("utf-8", "replace"),
        json_bytes(event_view(event)),
    )
