"""Streams of a client that has no deadline of its own: one clock over all of a stream.

The clock stands still while the reader takes his time: that is not the provider's.
"""

import asyncio
import queue
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing
from typing import Any

_END = object()


def bounded(
    events: Iterator[Any], seconds: float, late: Callable[[], Exception]
) -> Generator[Any, None, None]:
    """The events of a stream, which is read in a thread: a wait in it may never end, and is left behind.

    Args:
        events: The stream; closed by its thread.
        seconds: It may take in all.
        late: What is raised when that is over.
    """
    heard: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
    stop = threading.Event()
    threading.Thread(target=_read, args=(events, stop, heard), name="stream", daemon=True).start()
    left = seconds
    try:
        while True:
            asked = time.monotonic()
            try:
                event, error = heard.get(timeout=max(0.0, left))
            except queue.Empty:
                raise late() from None
            left -= time.monotonic() - asked
            if error is not None:
                raise error
            if event is _END:
                return
            yield event
    finally:
        stop.set()


def _read(
    events: Iterator[Any],
    stop: threading.Event,
    heard: "queue.SimpleQueue[tuple[Any, BaseException | None]]",
) -> None:
    try:
        for event in events:
            if stop.is_set():
                break
            heard.put((event, None))
        heard.put((_END, None))
    except BaseException as error:  # noqa: BLE001 - passed on to who reads
        heard.put((None, error))
    finally:
        close = getattr(events, "close", None)
        if close is not None:
            close()


async def abounded(
    events: AsyncIterator[Any], seconds: float, late: Callable[[], Exception]
) -> AsyncGenerator[Any, None]:
    """The same, awaited."""
    loop = asyncio.get_running_loop()
    left = seconds
    async with aclosing(events) as stream:  # type: ignore[type-var]
        while True:
            asked = loop.time()
            patience = asyncio.timeout(max(0.0, left))
            try:
                async with patience:
                    event = await anext(stream, _END)
            except TimeoutError as error:
                if patience.expired():
                    raise late() from error
                raise
            left -= loop.time() - asked
            if event is _END:
                return
            yield event
