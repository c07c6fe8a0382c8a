"""How a thread or a task waits until it is woken, at most so long."""

import asyncio
import contextlib
import threading

from skill_fleet.foundation.clock import Clock, SystemClock

_HANDOVER = 0.005


class ThreadWaiter:
    """A thread that waits to be let go."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def wake(self) -> None:
        """Look again; from any thread."""
        self._event.set()

    def wait(self, clock: Clock, seconds: float, *, timed: bool) -> None:
        """Wait to be woken.

        Args:
            clock: What the seconds are counted on. One that is not the machine's moves when it is slept on.
            seconds: At most so long.
            timed: Whether time is what is waited for, and not another call's end.
        """
        if isinstance(clock, SystemClock):
            self._event.wait(seconds)
        elif timed and not self._event.is_set():
            clock.sleep(seconds)
        else:
            self._event.wait(_HANDOVER)
        self._event.clear()


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
