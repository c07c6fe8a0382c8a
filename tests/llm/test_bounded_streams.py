"""A stream without a deadline of its own gets one; blocking work that is awaited has a thread of its own."""

import asyncio
import contextvars
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from dspy.lm15 import Message, Request

from command_programs import Rendezvous
from skill_fleet.config.settings import ModelSpec
from skill_fleet.llm.commands.model import CommandModel
from skill_fleet.llm.own_thread import in_own_thread
from skill_fleet.llm.providers.bounded_stream import abounded, bounded


class LateError(Exception):
    """The time is over."""


def dripping(seconds: float, number: int, closed: threading.Event) -> Iterator[int]:
    try:
        for one in range(number):
            time.sleep(seconds)
            yield one
    finally:
        closed.set()


async def adripping(seconds: float, number: int, closed: threading.Event) -> AsyncIterator[int]:
    try:
        for one in range(number):
            await asyncio.sleep(seconds)
            yield one
    finally:
        closed.set()


def read(seconds: float, number: int, timeout: float, pause: float, *, awaited: bool) -> list[int]:
    """Pauses once, after the first event."""
    found: list[int] = []
    closed = threading.Event()

    async def all_of_it() -> None:
        async for one in abounded(adripping(seconds, number, closed), timeout, LateError):
            found.append(one)
            await asyncio.sleep(pause if len(found) == 1 else 0.0)

    try:
        if awaited:
            asyncio.run(all_of_it())
        else:
            for one in bounded(dripping(seconds, number, closed), timeout, LateError):
                found.append(one)
                time.sleep(pause if len(found) == 1 else 0.0)
    finally:
        assert closed.wait(30)
    return found


@pytest.mark.parametrize("awaited", [False, True])
def test_a_stream_that_drips_ends_with_its_time(*, awaited: bool) -> None:
    begin = time.monotonic()
    with pytest.raises(LateError):
        read(0.05, 1000, 0.3, 0.0, awaited=awaited)
    assert time.monotonic() - begin < 20, "it would drip for 50 seconds"


@pytest.mark.parametrize("awaited", [False, True])
def test_the_readers_time_does_not_count(*, awaited: bool) -> None:
    assert read(0.01, 10, 1.5, 2.0, awaited=awaited) == list(range(10))


@pytest.mark.parametrize("awaited", [False, True])
def test_its_errors_are_raised_where_it_is_read(*, awaited: bool) -> None:
    def breaks() -> Iterator[int]:
        yield 1
        raise ValueError("it broke")

    async def abreaks() -> AsyncIterator[int]:
        yield 1
        raise ValueError("it broke")

    async def all_of_it() -> list[int]:
        return [one async for one in abounded(abreaks(), 1.0, LateError)]

    with pytest.raises(ValueError, match="it broke"):
        asyncio.run(all_of_it()) if awaited else list(bounded(breaks(), 1.0, LateError))


def test_who_stops_reading_ends_it() -> None:
    closed = threading.Event()
    stream = bounded(dripping(0.01, 10**6, closed), 60.0, LateError)
    next(stream)
    stream.close()
    assert closed.wait(30)


def test_as_many_awaited_calls_as_there_are_run_at_once_and_in_the_callers_context() -> None:
    mark: contextvars.ContextVar[int] = contextvars.ContextVar("mark", default=0)
    together = threading.Barrier(64)

    def work() -> int:
        together.wait(60)
        return mark.get()

    async def one(number: int) -> int:
        mark.set(number)
        return await in_own_thread(work, "test")

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*(one(number) for number in range(64)))

    assert asyncio.run(all_of_them()) == list(range(64))


def test_what_was_raised_is_raised_and_a_task_can_leave() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def blocked() -> bool:
        begun.set()
        return go_on.wait(60)

    async def scene() -> None:
        with pytest.raises(ZeroDivisionError):
            await in_own_thread(lambda: 1 / 0, "test")
        task = asyncio.create_task(in_own_thread(blocked, "test"))
        while not begun.is_set():  # noqa: ASYNC110 - set by a thread
            await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    begin = time.monotonic()
    asyncio.run(scene())
    assert time.monotonic() - begin < 30
    go_on.set()


def test_awaited_commands_run_side_by_side(tmp_path: Path) -> None:
    """None of them ends before the last has begun."""
    at_once = Rendezvous(tmp_path, 14)
    script = f"cat >/dev/null; {at_once.line}; echo fine"
    spec = ModelSpec(model="command/slow", command=("/bin/sh", "-c", script), in_flight=32)
    model = CommandModel(spec, {"PATH": os.environ["PATH"]})
    asked = Request(model="command/slow", messages=(Message.user("x"),))

    async def many() -> list[str | None]:
        return [
            one.message.text for one in await asyncio.gather(*(model.acomplete(asked) for _ in range(14)))
        ]

    with at_once:
        assert asyncio.run(many()) == ["fine"] * 14
    assert at_once.met, "in a pool of six they would never meet"
