"""A stream that is forgotten, or closed by the garbage collector, is booked; and nobody waits for himself."""

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dspy.lm15 import Message, Request, ResponseStream
from dspy.utils.exceptions import LMTransportError

from clocks import soon
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.llm.calls.line import Line
from skill_fleet.llm.calls.readers import _at_work as at_work
from skill_fleet.llm.limits.limiter import Limiter
from streaming_models import WordByWord


def request(text: str) -> Request:
    return Request(model="offline/scripted", messages=(Message.user(text),))


def model(**options: Any) -> WordByWord:
    return WordByWord(answer=lambda _: "One two three.", **options)


@pytest.fixture
def collected_when_told() -> Iterator[None]:
    """Nothing else collects garbage meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def in_time(work: Callable[[], object]) -> None:
    """A thread that waits for itself is left behind; the test fails."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "it waits for itself"


def lose(made: Any, text: str, wrapped: Callable[[Any], Any] = iter) -> None:
    """Begin a stream that is garbage afterwards, which only the collector finds."""
    itself: dict[str, Any] = {}
    itself["itself"] = itself
    itself["stream"] = stream = wrapped(made.engine.stream(request(text)))
    next(stream)
    next(stream)


def as_response_stream(stream: Any) -> Iterator[Any]:
    """One of DSPy: its finalizer closes the stream that it reads."""
    return ResponseStream(stream, request("read")).events()


def idle(made: Any) -> bool:
    return not made.line.flights and made.account._under_way.total() == 0 and made.model.in_flight == 0


HELD_LOCKS: dict[str, Callable[[Any, Callable[[], object]], object]] = {
    "its own transaction": lambda made, work: made.journal._commits.run(work),
    "the queue of commits": lambda made, work: holding(made.journal._commits._lock, work),
    "the journal's": lambda made, work: holding(made.journal._lock, work),
    "the line's": lambda made, work: holding(made.line.lock, work),
    "the account's": lambda made, work: holding(made.account.lock, work),
    "the limiter's": lambda made, work: holding(made.engine.limiter._lock, work),
    "the readers'": lambda made, work: holding(made.line.readers._lock, work),
    "an ending stream's": lambda made, work: holding(made.line.readers._ending, work),
}


def holding(lock: Any, work: Callable[[], object]) -> None:
    with lock:
        work()


@pytest.mark.usefixtures("collected_when_told")
@pytest.mark.parametrize("wrapped", [iter, as_response_stream])
@pytest.mark.parametrize("lock", HELD_LOCKS)
def test_the_collector_may_come_while_its_thread_holds_a_lock(
    rig: Any, monkeypatch: pytest.MonkeyPatch, lock: str, wrapped: Any
) -> None:
    monkeypatch.setattr("skill_fleet.llm.calls.readers._CLOSING_SECONDS", 0.05)
    limits = Limiter(SYSTEM_CLOCK, longest_pause=60.0, outage_seconds=120.0)
    made = rig(model(), limiter=limits)

    def work() -> None:
        lose(made, "lost", wrapped)
        HELD_LOCKS[lock](made, gc.collect)
        made.engine.complete(request("another"))

    in_time(work)
    soon(lambda: idle(made) and made.spent.failed == 1)
    assert (made.spent.settled, made.spent.failed, made.spent.open) == (1, 1, 0)
    soon(lambda: limits.state().in_flight == 0)


@pytest.mark.usefixtures("collected_when_told")
def test_the_readers_and_the_limiter_do_not_wait_for_each_other(rig: Any) -> None:
    """One lets a stream go, and wants the limiter's lock; the other has that, and collects a stream."""
    limits = Limiter(SYSTEM_CLOCK, longest_pause=60.0, outage_seconds=120.0)
    made = rig(model(), limiter=limits)
    lose(made, "lost")
    kept = made.engine.stream(request("left alone"))
    next(kept)
    inside, go_on = threading.Event(), threading.Event()
    drop = limits._drop

    def slow(ticket: Any) -> None:
        inside.set()
        assert go_on.wait(30)
        drop(ticket)

    limits._drop = slow  # type: ignore[method-assign]
    made.clock.time += 10
    assert inside.wait(30)

    def work() -> None:
        with limits._lock:
            go_on.set()
            time.sleep(0.1)  # it is on its way to the lock
            gc.collect()

    in_time(work)
    kept.close()
    soon(lambda: idle(made) and made.spent.failed == 2)


@pytest.mark.usefixtures("collected_when_told")
def test_the_readers_thread_does_not_wait_for_itself(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skill_fleet.llm.calls.readers._CLOSING_SECONDS", 120.0)
    limits = Limiter(SYSTEM_CLOCK, longest_pause=60.0, outage_seconds=120.0)
    made = rig(model(), limiter=limits)
    drop = limits._drop

    def collecting(ticket: Any) -> None:
        gc.collect()
        drop(ticket)

    limits._drop = collecting  # type: ignore[method-assign]
    lose(made, "lost", as_response_stream)
    forgotten = made.engine.stream(request("forgotten"))
    next(forgotten)
    del forgotten
    soon(lambda: idle(made) and made.spent.failed == 2)


def first_words(made: Any, text: str) -> None:
    """An ordinary mistake: the error that ends the reading is kept, and its frame holds the stream."""
    kept = None
    try:
        for event in made.engine.stream(request(text)):
            if event.type == "delta":
                raise ValueError("seen enough")  # noqa: TRY301 - that is the mistake
    except ValueError as error:
        kept = error
    assert kept is not None


@pytest.mark.parametrize("threads", [1, 4])
def test_streams_may_be_lost_by_the_thousand(rig: Any, threads: int) -> None:
    made = rig(model())

    def some(thread: int) -> None:
        for number in range(1000 // threads):
            first_words(made, f"{thread} {number}")

    def work() -> None:
        workers = [threading.Thread(target=some, args=(n,), daemon=True) for n in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    in_time(work)
    gc.collect()
    soon(lambda: idle(made))
    assert (made.spent.failed, made.spent.open) == (1000, 0)
    assert not made.line.readers._streams


def test_who_breaks_out_of_the_loop_gives_everything_back_at_once(rig: Any) -> None:
    made = rig(model())
    for number in range(20):
        began = time.monotonic()
        for _ in made.engine.stream(request(str(number))):
            break
        soon(lambda: idle(made))
        took = time.monotonic() - began
        if took < 0.1:
            break  # a machine that is busy may need another look
    assert took < 0.1, "it is told, and does not look every 0.2 s"


def test_a_stream_is_a_generator_to_its_reader(rig: Any) -> None:
    made = rig(model(), on_failure="raise")

    def reads() -> Iterator[Any]:
        yield from made.engine.stream(request("delegated"))

    assert "".join(event.delta.text for event in reads() if event.type == "delta") == "One two three."
    stream = made.engine.stream(request("sent"))
    assert stream.send(None).type == "start"
    with pytest.raises(LMTransportError):
        stream.throw(LMTransportError("mine"))
    assert list(stream) == []
    never_begun = made.engine.stream(request("never begun"))
    never_begun.close()
    never_begun.close()
    assert list(never_begun) == []
    assert (made.spent.calls, made.spent.failed) == (2, 1)
    assert not made.line.readers._streams


def test_a_stream_that_another_thread_is_reading_is_not_closed(
    rig: Any, caplog: pytest.LogCaptureFixture
) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def slow(_: int, piece: int) -> None:
        if piece == 2:
            reading.set()
            assert go_on.wait(30)

    made = rig(model(breaks=slow))
    stream = made.engine.stream(request("read"))
    assert [next(stream).type, next(stream).type] == ["start", "delta"]
    reader = threading.Thread(target=next, args=(stream,))
    reader.start()
    assert reading.wait(30)
    for refused in (stream.__next__, stream.close):
        with pytest.raises(ValueError, match="already executing"):
            refused()
    made.line.readers.close()
    soon(made.line.readers._notes.empty)
    go_on.set()
    reader.join(30)
    assert made.line.readers._streams, "the collector must not end it now either"
    assert [event.type for event in stream] == ["delta", "end"]
    assert made.spent.settled == 1
    assert caplog.records == []


def test_the_end_of_a_run_books_what_nobody_read_to_its_end(rig: Any, tmp_path: Path) -> None:
    from skill_fleet.llm.journal.journal import Journal

    journal = Journal(tmp_path / "ledger", tmp_path / "responses")
    made = rig(model(), line=Line(journal, "run", SYSTEM_CLOCK))
    kept = [made.engine.stream(request(str(number))) for number in range(3)]
    for stream in kept[1:]:
        next(stream)
    made.line.close()
    assert list(kept[2]) == []
    again = Journal(tmp_path / "ledger", tmp_path / "responses")
    assert (again.spent("run").calls, again.spent("run").failed) == (2, 2)
    again.close()


def test_where_the_journal_is_closed_nothing_is_booked_and_nothing_breaks(
    rig: Any, caplog: pytest.LogCaptureFixture
) -> None:
    made = rig(model())
    for _ in made.engine.stream(request("one")):
        made.journal.close()
        break
    soon(lambda: made.gate.closed is not None and not made.line.flights)
    assert made.gate.closed.cause == "storage"
    assert caplog.records == []


class Stubborn(WordByWord):
    """Its streams do not end well."""

    def _leave(self) -> None:
        super()._leave()
        time.sleep(self.pause)
        raise LMTransportError("sk-secret is in here")


@pytest.mark.parametrize("way", ["forgotten", "closed", "closed in a hurry"])
def test_what_goes_wrong_at_an_end_is_told_to_who_waits_for_it_or_noted(
    rig: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    made = rig(Stubborn(answer=lambda _: "One two."), on_failure="raise")
    stream = made.engine.stream(request("one"))
    next(stream)
    if way == "closed":
        with pytest.raises(LMTransportError, match="secret"):
            stream.close()
    elif way == "closed in a hurry":
        monkeypatch.setattr("skill_fleet.llm.calls.readers._CLOSING_SECONDS", 0.01)
        made.model.pause = 0.2
        stream.close()
    else:
        del stream
    soon(lambda: made.line.readers._thread is None)
    assert idle(made)
    assert "secret" not in caplog.text
    assert ("LMTransportError" in caplog.text) == (way != "closed")


def test_the_thread_that_looks_after_streams_goes_and_comes_again(rig: Any) -> None:
    made = rig(model())
    readers = made.line.readers
    for number in range(2):
        stream = made.engine.stream(request(str(number)))
        next(stream)
        assert readers._thread is not None
        assert readers._thread.is_alive()
        assert readers in at_work
        stream.close()
        soon(lambda: readers._thread is None and readers not in at_work)


@pytest.mark.parametrize("kept", [True, False])
def test_each_stream_that_is_left_alone_is_let_go(rig: Any, *, kept: bool) -> None:
    limits = Limiter(SYSTEM_CLOCK, longest_pause=60.0, outage_seconds=120.0)
    made = rig(model(), limiter=limits)
    streams = []
    for number in range(3):
        stream = made.engine.stream(request(str(number)))
        next(stream)
        assert limits.state().in_flight == 1
        made.clock.time += 10
        soon(lambda: limits.state().in_flight == 0)
        if kept:
            soon(lambda: made.line.readers._patience() is None)  # it waits for no time any more
            streams.append(stream)
        else:
            assert list(stream)[-1].type == "end"
            soon(lambda: made.line.readers._thread is None)
    for stream in streams:
        stream.close()
    soon(lambda: made.line.readers._thread is None)


def test_a_process_books_at_its_end_what_it_was_reading(tmp_path: Path) -> None:
    child = Path(__file__).with_name("child_stream.py")
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, str(child), str(tmp_path)]
    done = subprocess.run(command, check=True, env=environ, timeout=60, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("2 of 2 booked\n", "")
