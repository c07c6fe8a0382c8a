"""Ghosts: a bounded pool of threads that works in the order of the stock run, in its DSPy context."""

import contextlib
import contextvars
import heapq
import itertools
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

import dspy

from skill_fleet.optimization.attribution import Attribution

T = TypeVar("T")
Order = tuple[int, ...]
_logger = logging.getLogger(__name__)


class Ghosts:
    """Makes calls early.

    Two kinds of work: *calls*, which run the program or ask a model and take one of `threads` workers, the
    lowest order first; and *scripts*, plain functions with a thread each that only wait for calls and order
    further ones. Both run in a copy of the context of whoever made the ghosts, DSPy's settings included,
    without its callbacks, but for that which knows the example, and with a trace of their own.

    An exception of a call or a script is with its future, as usual. Anything that is no `Exception`, such as
    a `Halt`, also ends all ghosts: what is queued, or ordered later, is cancelled.

    Args:
        threads: Workers.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._context = contextvars.copy_context()
        self._ready = threading.Condition()
        self._queue: list[tuple[Order, int, Callable[[], Any], Future[Any]]] = []
        self._number = itertools.count()
        self._idle = 0
        self._closed = False
        self._told = False
        self._payments = threading.local()
        self._workers: list[threading.Thread] = []
        self._scripts: list[threading.Thread] = []

    @property
    def closed(self) -> bool:
        """Whether nothing begins any more."""
        return self._closed

    def call(self, order: Order, thunk: Callable[[], T]) -> Future[T]:
        """Run something that asks a model, as soon as a worker is free and nothing comes before it."""
        future: Future[T] = Future()
        with self._ready:
            if self._closed:
                return _dropped(future)
            heapq.heappush(self._queue, (order, next(self._number), thunk, future))
            if self._idle < len(self._queue) and len(self._workers) < self._threads:
                self._workers.append(_started(self._work))
            self._ready.notify()
        return future

    def script(self, thunk: Callable[[], T]) -> Future[T]:
        """Run something that only waits for calls and orders further ones."""
        future: Future[T] = Future()
        with self._ready:
            if self._closed:
                return _dropped(future)
            self._scripts.append(_started(lambda: self._run(thunk, future)))
        future.add_done_callback(self._report)
        return future

    def paid(self) -> None:
        """Note that the thread that says so pays for a call."""
        self._payments.number = getattr(self._payments, "number", 0) + 1

    def repeats(self, order: Order, thunk: Callable[[], Any]) -> bool:
        """Whether something, run twice, asks nothing new the second time.

        What does not repeat itself would ask ghosts and stock run for different things. To be called from a
        script, with something that the stock run does too.

        Raises:
            CancelledError: The ghosts were ended.
            Halt: A call was refused.
        """

        def twice() -> bool:
            return [self._payments_of(thunk) for _ in range(2)][-1] == 0

        steady = self.call(order, twice).result()
        if not steady:
            self._tell("No prefetch: the program does not ask the same thing twice.")
        return steady

    def _payments_of(self, thunk: Callable[[], Any]) -> int:
        before: int = getattr(self._payments, "number", 0)
        with contextlib.suppress(Exception):
            thunk()
        return getattr(self._payments, "number", 0) - before

    def all(self, order: Order, thunks: Iterable[Callable[[], T]]) -> list[T | None]:
        """The results of several calls, in their order; None for one that failed.

        Raises:
            CancelledError: The ghosts were ended.
            Halt: One of the calls was refused.
        """
        return [result_of(future) for future in [self.call(order, thunk) for thunk in thunks]]

    def close(self) -> None:
        """End: nothing queued begins any more, and what is running has ended when this returns."""
        self.stop()
        for thread in (*self._scripts, *self._workers):
            thread.join()

    def stop(self) -> None:
        """Let nothing that is queued begin; what is running goes on."""
        with self._ready:
            self._closed = True
            queued, self._queue = self._queue, []
            self._ready.notify_all()
        for *_, future in queued:
            _dropped(future)

    def _report(self, done: Future[Any]) -> None:
        """Say when a script broke: the search goes on without it, only slower."""
        error = None if done.cancelled() else done.exception()
        if isinstance(error, Exception) and not isinstance(error, CancelledError):
            self._tell("Prefetch gave up, the search goes on without it.", error)

    def _tell(self, message: str, error: Exception | None = None) -> None:
        with self._ready:
            told, self._told = self._told, True
        if not told:
            _logger.warning(message, exc_info=error)

    def _work(self) -> None:
        while True:
            with self._ready:
                self._idle += 1
                while not self._queue and not self._closed:
                    self._ready.wait()
                self._idle -= 1
                if self._closed:
                    return
                *_, thunk, future = heapq.heappop(self._queue)
            self._run(thunk, future)

    def _run(self, thunk: Callable[[], Any], future: Future[Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = self._context.copy().run(_unseen, thunk)
        except Exception as error:  # noqa: BLE001 - it is with the future
            future.set_exception(error)
        except BaseException as error:  # noqa: BLE001 - it is with the future, and the end of all
            self.stop()
            future.set_exception(error)
        else:
            future.set_result(result)


def result_of(future: Future[T]) -> T | None:
    """What a call came to; None when it failed.

    Raises:
        CancelledError: The ghosts were ended.
        Halt: The call was refused.
    """
    try:
        return future.result()
    except CancelledError:
        raise
    except Exception:  # noqa: BLE001 - the stock run meets the same failure, and says so
        return None


def _dropped(future: Future[T]) -> Future[T]:
    """A future that will not run; who waits for it is told."""
    if future.cancel():
        future.set_running_or_notify_cancel()
    return future


def _unseen(thunk: Callable[[], T]) -> T:
    """Run something that no callback, trace, usage tracker or stream of the caller takes notice of.

    But whose example a call is for is known of ghosts too: one that fails for good may be theirs.
    """
    named = [one for one in dspy.settings.callbacks or () if isinstance(one, Attribution)]
    with dspy.context(callbacks=named, trace=[], usage_tracker=None, send_stream=None):
        return thunk()


def _started(target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target, name="ghost", daemon=True)
    thread.start()
    return thread
