"""Awaited calls whose loop was closed under them: the garbage collector ends them, wherever it runs."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dspy.lm15 import Message, Request, Response

from skill_fleet.llm.budget import Limits
from skill_fleet.llm.calls.engine import AsyncMeteredEngine
from skill_fleet.llm.testing import ScriptedModel

HELD_LOCKS: dict[str, Callable[[Any, Callable[[], Any]], None]] = {
    "none": lambda made, collect: collect(),
    "a transaction": lambda made, collect: made.journal._commits.run(collect),
    "the calls under way": lambda made, collect: _with(made.engine.line.lock, collect),
    "the account": lambda made, collect: _with(made.gate.account.lock, collect),
}


def _with(lock: Any, work: Callable[[], Any]) -> None:
    with lock:
        work()


class Never(ScriptedModel):
    """Does not answer what is awaited, but says that it was asked."""

    asked: asyncio.Future[None]

    async def acomplete(self, request: Request) -> Response:
        self.asked.set_result(None)
        await asyncio.Event().wait()
        raise AssertionError(request)


@pytest.fixture(autouse=True)
def collected_when_told() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def forget_a_call(made: Any, text: str) -> None:
    """Begin an awaited call and close its loop without a word to its task."""
    engine = AsyncMeteredEngine(made.engine)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!"
    request = Request(model=made.engine.spec.model, messages=(Message.user(text),))
    made.model.asked = loop.create_future()
    task = loop.create_task(engine.complete(request))
    loop.run_until_complete(made.model.asked)
    loop.close()
    del task


def in_time(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it waits for a lock of its own thread"


@pytest.mark.parametrize("lock", HELD_LOCKS)
def test_it_is_booked_at_the_next_call_whatever_lock_was_held(rig: Any, lock: str) -> None:
    made = rig(Never(), limits=Limits(calls=2))

    def work() -> None:
        forget_a_call(made, "forgotten")
        HELD_LOCKS[lock](made, gc.collect)
        made.lm("another")

    in_time(work)
    rows = made.journal._db.execute(
        "select state, reason, possibly_billed from ledger.attempt order by id"
    ).fetchall()
    assert rows == [("failed", "abandoned", 1), ("settled", None, 0)]


def test_it_is_booked_at_the_end_of_the_run(rig: Any) -> None:
    made = rig(Never())
    forget_a_call(made, "forgotten")
    gc.collect()
    assert made.spent.failed == 0
    made.engine.line.catch_up()
    assert (made.spent.failed, made.spent.possibly_billed) == (1, 1)


def test_what_it_had_set_aside_is_there_for_the_next_call(rig: Any) -> None:
    """Else that would wait for a call that never ends."""
    made = rig(Never(), limits=Limits(tokens=100_000))
    forget_a_call(made, "forgotten")
    gc.collect()
    in_time(lambda: made.lm("another"))
    assert not made.gate.account._under_way.total()
    assert made.gate.account._reserved.tokens == 0
