"""How a thread or a task waits until it is woken, at most so long."""

import asyncio
import contextlib
import threading

from skill_fleet.foundation.clock import Clock, SystemClock

_HANDOVER = 0.005


class ThreadWaiter:
    """A thread that waits to be let go; it may also wake itself, in a finalizer, at any moment."""

    def __init__(self) -> None:
        self._asleep = threading.Lock()  # an `Event` has a lock of its own, which its thread would wait for
        self._asleep.acquire()

    def wake(self) -> None:
        """Look again; from any thread."""
        with contextlib.suppress(RuntimeError):  # it was woken before, and has not looked yet
            self._asleep.release()

    def wait(self, clock: Clock, seconds: float, *, timed: bool) -> None:
        """Wait to be woken.

        Args:
            clock: What the seconds are counted on. One that is not the machine's moves when it is slept on.
            seconds: At most so long.
            timed: Whether time is what is waited for, and not another call's end.
        """
        if not isinstance(clock, SystemClock):
            if timed and self._asleep.locked():
                clock.sleep(seconds)
                seconds = 0.0
            else:
                seconds = _HANDOVER
        self._asleep.acquire(timeout=seconds)


class TaskWaiter:
    """A task that waits to be let go; its loop is never blocked."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def wake(self) -> None:
        """Look again; from any thread."""
        with contextlib.suppress(RuntimeError):  # its loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(self._event.set)

    async def wait(self, clock: Clock, seconds: float, *, timed: bool) -> None:
        """Wait to be woken; as `ThreadWaiter.wait`."""
        patience = seconds
        if seconds > 0 and not isinstance(clock, SystemClock):
            if timed and not self._event.is_set():
                clock.sleep(seconds)
            patience = _HANDOVER
        if patience <= 0 or self._event.is_set():
            await asyncio.sleep(0)  # others of the loop have a turn, whatever the time
        else:
            with contextlib.suppress(TimeoutError):  # `wait_for` would swallow a cancel on Python 3.11
                async with asyncio.timeout(patience):
                    await self._event.wait()
        self._event.clear()
