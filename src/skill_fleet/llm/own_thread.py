"""Blocking work awaited in a thread of its own.

`asyncio.to_thread` shares a few threads for a whole loop (six on two cores), so calls that wait for minutes
would wait for one another; how many there may be is the limiter's to say.
"""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


async def in_own_thread(work: Callable[[], Result], name: str) -> Result:
    """What some work returns, in the context of who awaits it. Cancelled, the thread is left behind.

    Args:
        work: What is done.
        name: Of the thread.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()
    context = contextvars.copy_context()

    def land(result: Result | None, error: BaseException | None) -> None:
        if done.done():  # nobody waits any more
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = context.run(work)
        except BaseException as raised:  # noqa: BLE001 - raised again where it is awaited
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(land, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
