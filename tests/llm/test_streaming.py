"""A stream is a call like any other: one key, one flight, one bill; and what was shown is not taken back."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import dspy
import pytest
from dspy.lm15 import Message, Request, Response, TextPart
from dspy.utils.exceptions import (
    ContextWindowExceededError,
    LMAuthError,
    LMError,
    LMInvalidRequestError,
    LMStreamAssemblyError,
    LMTransportError,
    LMUnsupportedFeatureError,
)

from clocks import soon, time_goes_by_until
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.calls.engine import AsyncMeteredEngine, Retry
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.spent import Usage
from streaming_models import WordByWord

SAID = "One two three.\n\n  four "


def said(_: Request) -> str:
    return SAID


def request(text: str = "hello") -> Request:
    return Request(model="offline/scripted", messages=(Message.user(text),))


def text_of(events: list[Any]) -> str:
    return "".join(e.delta.text for e in events if e.type == "delta" and e.delta.type == "text")


def broken(*places: tuple[int, int], kind: type[Exception] = LMTransportError) -> Callable[[int, int], None]:
    """Goes wrong at these pieces of these attempts."""

    def look(attempt: int, piece: int) -> None:
        if (attempt, piece) in places:
            raise kind("it broke")

    return look


@pytest.fixture(params=["thread", "task"])
def streamed(request: pytest.FixtureRequest) -> Callable[..., list[Any]]:
    """Reads a stream, by the engine or by its twin; `into` keeps what came before an error."""
    awaited = request.param == "task"

    def read(made: Any, asked: Request, into: list[Any] | None = None) -> list[Any]:
        events: list[Any] = [] if into is None else into

        async def all_of_it() -> None:
            async for event in AsyncMeteredEngine(made.engine).stream(asked):
                events.append(event)  # noqa: PERF401 - kept also where it breaks off

        if awaited:
            asyncio.run(all_of_it())
        else:
            for event in made.engine.stream(asked):
                events.append(event)  # noqa: PERF402
        return events

    return read


def attempts(made: Any) -> list[tuple[Any, ...]]:
    query = "select state, reason, possibly_billed from ledger.attempt order by id"
    return made.journal._db.execute(query).fetchall()


def at_rest(made: Any) -> bool:
    """Whether nothing is held: no reservation, no flight, nothing at the model."""
    account = made.account
    return (
        not account._under_way
        and account._reserved.tokens == 0
        and not made.line.flights
        and made.model.in_flight == 0
    )


def test_words_come_while_the_model_writes_and_are_the_answer_that_is_journaled(
    rig: Any, streamed: Any
) -> None:
    made = rig(WordByWord(answer=said))
    events = streamed(made, request())
    assert [event.type for event in events] == ["start", *["delta"] * 5, "end"]
    assert text_of(events) == SAID
    assert (made.model.streamed, made.model.attempts) == (1, 1)
    assert events[-1].usage.output_tokens == made.spent.output_tokens
    assert streamed(made, request()) == events, "the replay is the same stream"
    assert made.engine.complete(request()).message.text == SAID
    assert made.model.attempts == 1
    assert at_rest(made)


def test_the_stored_answer_is_byte_for_byte_that_of_a_whole_call(
    rig: Any, streamed: Any, journal: Any
) -> None:
    whole = rig(WordByWord(answer=said))
    whole.engine.complete(request())
    key = whole.engine.keyed(request())[1]
    body = journal.lookup(key)
    journal._db.execute("delete from response")
    journal._memo.clear()
    made = rig(WordByWord(answer=said))
    streamed(made, request())
    assert made.model.streamed == 1
    assert journal.lookup(key) == body


def test_a_piece_is_passed_on_before_the_next_is_made(rig: Any) -> None:
    allowed = [0]

    def only_so_far(_: int, piece: int) -> None:
        assert piece <= allowed[0]

    made = rig(WordByWord(answer=said, breaks=only_so_far))
    stream = made.engine.stream(request())
    allowed[0] = 1  # a start says nothing, and waits for the first word
    assert next(stream).type == "start"
    assert next(stream).delta.text == "One"
    allowed[0] = 2
    assert next(stream).delta.text == " two"
    allowed[0] = 99
    assert text_of(list(stream)) == SAID.removeprefix("One two")


def test_a_model_that_cannot_stream_is_heard_in_words(rig: Any, streamed: Any) -> None:
    from skill_fleet.llm.testing import ScriptedModel

    made = rig(ScriptedModel(answer=said, fault=lambda n, _: broken((1, 0))(n, 0)), retry=Retry(base=0.0))
    events = streamed(made, request())
    assert text_of(events) == SAID
    assert len(events) > 5
    assert [state for state, *_ in attempts(made)] == ["failed", "settled"]


@pytest.mark.parametrize("piece", [0, 1])
def test_before_the_first_word_a_failure_is_retried_and_nobody_sees_it(
    rig: Any, streamed: Any, piece: int
) -> None:
    made = rig(WordByWord(answer=said, breaks=broken((1, piece), (2, piece))), retry=Retry(base=0.0))
    events = streamed(made, request())
    assert [event.type for event in events].count("start") == 1
    assert text_of(events) == SAID
    assert attempts(made) == [("failed", "transport", 1)] * 2 + [("settled", None, 0)]
    assert at_rest(made)


def test_after_the_first_word_a_failure_is_told_and_nothing_is_shown_twice(rig: Any, streamed: Any) -> None:
    made = rig(WordByWord(answer=said, breaks=broken((1, 3))), on_failure="raise")
    events: list[Any] = []
    with pytest.raises(LMTransportError):
        streamed(made, request(), events)
    assert text_of(events) == "One two"
    assert attempts(made) == [("failed", "transport", 1)]
    assert at_rest(made)
    assert text_of(streamed(made, request())) == SAID, "asked again, it is another attempt"


def test_inside_a_search_it_ends_the_search(rig: Any, streamed: Any) -> None:
    made = rig(WordByWord(answer=said, breaks=broken((1, 3))))
    with pytest.raises(Halt) as caught:
        streamed(made, request())
    assert (caught.value.cause, caught.value.error.exit_code) == ("provider", 6)


def test_a_refused_key_stops_after_one_request(rig: Any, streamed: Any) -> None:
    made = rig(WordByWord(breaks=broken((1, 0), kind=LMAuthError)))
    with pytest.raises(Halt):
        streamed(made, request())
    assert made.model.attempts == 1
    assert attempts(made) == [("failed", "auth", 0)]


def test_a_stream_without_an_end_is_no_answer(rig: Any, streamed: Any) -> None:
    class Endless(WordByWord):
        def _pieces(self, request: Request) -> Any:
            return (event for event in super()._pieces(request) if event.type != "end")

    made = rig(Endless(answer=said), on_failure="raise")
    with pytest.raises(LMError, match="without an end"):
        streamed(made, request())
    assert attempts(made) == [("failed", "stream_assembly", 1)]
    assert at_rest(made)


@pytest.mark.parametrize("refusal", [LMStreamAssemblyError, LMUnsupportedFeatureError, LMInvalidRequestError])
def test_a_server_that_knows_no_streams_is_asked_whole(rig: Any, streamed: Any, refusal: Any) -> None:
    def breaks(attempt: int, piece: int) -> None:
        raise refusal("there is no stream here")

    made = rig(WordByWord(answer=said, breaks=breaks), retry=Retry(base=0.0))
    assert text_of(streamed(made, request())) == SAID
    assert (made.model.streamed, made.model.attempts) == (1, 2)
    assert [state for state, *_ in attempts(made)] == ["failed", "settled"]


@pytest.mark.parametrize(
    ("refusal", "billed"),
    [
        (LMInvalidRequestError("Streaming is not supported.", status=400), 0),
        (LMUnsupportedFeatureError("stream"), 0),
        (LMStreamAssemblyError("it answered whole"), 1),
    ],
)
def test_what_such_a_server_says_is_not_forgotten(
    rig: Any, streamed: Any, refusal: Exception, billed: int
) -> None:
    def breaks(_attempt: int, _piece: int) -> None:
        raise refusal

    made = rig(WordByWord(answer=said, breaks=breaks))
    for number in range(5):
        assert text_of(streamed(made, request(str(number)))) == SAID
    other = rig(made.model, line=made.line, gate=made.gate, phase="judge")
    assert text_of(streamed(other, request("another phase"))) == SAID
    assert (made.model.streamed, made.model.attempts) == (1, 7)
    assert attempts(made) == [("failed", "stream_assembly", billed)] + [("settled", None, 0)] * 6
    if not billed:
        assert made.account._spent.tokens == made.spent.input_tokens + made.spent.output_tokens
        assert made.clock.slept == [], "what is refused is not waited out"


@pytest.mark.parametrize("piece", [1, 3])
def test_a_server_whose_stream_broke_after_its_beginning_knows_streams(
    rig: Any, streamed: Any, piece: int
) -> None:
    made = rig(
        WordByWord(answer=said, breaks=broken((1, piece), kind=LMStreamAssemblyError)),
        on_failure="raise",
        retry=Retry(base=0.0),
    )
    if piece > 1:
        with pytest.raises(LMStreamAssemblyError):
            streamed(made, request())
    assert text_of(streamed(made, request())) == SAID
    assert (made.model.streamed, made.model.attempts) == (2, 2)


@pytest.mark.parametrize(
    "refusal",
    [
        ContextWindowExceededError(message="too long to stream"),
        LMInvalidRequestError("no such field"),
        LMInvalidRequestError("upstream refused it"),
    ],
)
def test_another_refusal_is_not_asked_a_second_time(rig: Any, streamed: Any, refusal: Exception) -> None:
    def breaks(_attempt: int, _piece: int) -> None:
        raise refusal

    made = rig(WordByWord(breaks=breaks), on_failure="raise")
    with pytest.raises(type(refusal)):
        streamed(made, request())
    assert made.model.attempts == 1


@pytest.mark.parametrize(
    ("reason", "booked"), [("length", "truncated"), ("content_filter", "content_filter")]
)
def test_an_answer_that_is_none_is_billed_with_its_usage_and_told(
    rig: Any, streamed: Any, reason: str, booked: str
) -> None:
    made = rig(
        WordByWord(answer=said, change=lambda whole: replace(whole, finish_reason=reason)), on_failure="raise"
    )
    events: list[Any] = []
    with pytest.raises(LMError) as caught:
        streamed(made, request(), events)
    assert caught.value.code == booked
    assert "end" not in [event.type for event in events]
    assert attempts(made) == [("failed", booked, 1)]
    assert made.spent.output_tokens > 0


def test_an_empty_answer_shows_nothing_and_is_asked_again(rig: Any, streamed: Any) -> None:
    answers = iter(["", "", "at last"])
    made = rig(WordByWord(answer=lambda _: next(answers)), retry=Retry(base=0.0))
    assert text_of(streamed(made, request())) == "at last"
    assert [reason for _, reason, _ in attempts(made)] == ["empty", "empty", None]


def test_half_a_surrogate_pair_is_shown_as_it_is_kept(rig: Any, streamed: Any) -> None:
    made = rig(WordByWord(answer=lambda _: "a \ud83d b"))
    assert text_of(streamed(made, request())) == "a ? b" == made.engine.complete(request()).message.text


@pytest.mark.parametrize("way", ["closed", "forgotten", "cancelled", "interrupted"])
def test_a_caller_who_leaves_leaves_a_booked_attempt_and_nothing_held(rig: Any, way: str) -> None:
    made = rig(WordByWord(answer=said, pause=0.01))

    async def cancelled() -> None:
        async def read() -> None:
            async for _ in AsyncMeteredEngine(made.engine).stream(request()):
                pass

        task = asyncio.create_task(read())
        while not made.model.begun.is_set():  # noqa: ASYNC110 - set by threads too
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.015)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    if way == "cancelled":
        asyncio.run(cancelled())
    else:
        stream = made.engine.stream(request())
        next(stream)
        if way == "closed":
            stream.close()
        elif way == "interrupted":
            with pytest.raises(KeyboardInterrupt):
                stream.throw(KeyboardInterrupt())
        del stream
    soon(lambda: at_rest(made))
    assert attempts(made) == [("failed", "abandoned", 1)]
    assert made.model.closed == 1
    assert made.spent.calls == 1


def test_an_equal_call_joins_and_gets_the_stored_answer(rig: Any) -> None:
    made = rig(WordByWord(answer=said, pause=0.02))
    with ThreadPoolExecutor(9) as pool:
        stream = pool.submit(lambda: list(made.engine.stream(request())))
        assert made.model.begun.wait(60)
        joined = [pool.submit(made.engine.complete, request()) for _ in range(4)]
        others = [pool.submit(lambda: list(made.engine.stream(request()))) for _ in range(4)]
        assert {one.result().message.text for one in joined} == {SAID}
        assert {text_of(one.result()) for one in (stream, *others)} == {SAID}
    assert made.model.attempts == 1
    assert (made.line.traffic.made, made.line.traffic.from_journal) == (1, 8)


def test_an_equal_call_that_ends_between_look_up_and_claim_is_not_paid_again(rig: Any, streamed: Any) -> None:
    made = rig(WordByWord(answer=said))
    look_up = made.journal.lookup

    def overtaken(key: str) -> str | None:
        found: str | None = look_up(key)
        made.journal.lookup = look_up
        with ThreadPoolExecutor(1) as pool:
            pool.submit(made.engine.complete, request()).result()
        return found

    made.journal.lookup = overtaken
    assert text_of(streamed(made, request())) == SAID
    assert made.model.attempts == 1
    assert at_rest(made)


def test_who_reads_slowly_keeps_nobody_waiting_for_an_answer_that_is_there(rig: Any) -> None:
    made = rig(WordByWord(answer=said))
    stream = made.engine.stream(request())
    while next(stream).type != "end":
        pass
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(made.engine.complete, request()).result(60).message.text == SAID
    stream.close()
    assert made.spent.settled == 1


def test_the_same_thread_may_ask_for_what_it_is_reading(rig: Any) -> None:
    made = rig(WordByWord(answer=said))
    stream = made.engine.stream(request())
    first = next(stream)
    assert made.engine.complete(request()).message.text == SAID
    assert text_of([first, *stream]) == SAID, "both paid; the first that was stored is the answer of both"
    assert made.spent.settled == 2


def test_a_thread_may_begin_the_stream_that_it_is_reading_once_more(rig: Any) -> None:
    made = rig(WordByWord(answer=said))
    first = made.engine.stream(request())
    begun = next(first)
    assert text_of(list(made.engine.stream(request()))) == SAID
    assert text_of([begun, *first]) == SAID
    assert at_rest(made)


@pytest.mark.parametrize("way", ["complete", "stream", "acomplete", "astream"])
def test_nobody_waits_for_ever_for_a_stream_that_its_reader_has_left_alone(rig: Any, way: str) -> None:
    made = rig(WordByWord(answer=said))
    twin = AsyncMeteredEngine(made.engine)
    left = made.engine.stream(request())
    next(left)

    async def read() -> str:
        return text_of([event async for event in twin.stream(request())])

    ways: dict[str, Callable[[], Any]] = {
        "complete": lambda: made.engine.complete(request()).message.text,
        "stream": lambda: text_of(list(made.engine.stream(request()))),
        "acomplete": lambda: asyncio.run(twin.complete(request())).message.text,
        "astream": lambda: asyncio.run(read()),
    }
    with ThreadPoolExecutor(1) as pool:
        joined = pool.submit(ways[way])
        with pytest.raises(TimeoutError):
            joined.result(0.3)
        assert made.model.attempts == 1, "a reader may take a moment"
        assert time_goes_by_until(joined, made.clock, 6) == SAID
    assert made.model.attempts == 2
    assert text_of(list(left)) == SAID
    assert at_rest(made)


def test_a_model_that_takes_its_time_between_words_is_waited_for(rig: Any) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def slow(_: int, piece: int) -> None:
        if piece == 3:
            reached.set()
            assert go_on.wait(60)

    made = rig(WordByWord(answer=said, breaks=slow))
    with ThreadPoolExecutor(2) as pool:
        stream = pool.submit(lambda: list(made.engine.stream(request())))
        assert reached.wait(60)
        joined = pool.submit(made.engine.complete, request())
        made.clock.time += 60
        with pytest.raises(TimeoutError):
            joined.result(0.5)
        go_on.set()
        assert text_of(stream.result(60)) == SAID == joined.result(60).message.text
    assert made.model.attempts == 1


def test_a_task_that_asks_for_what_it_is_reading_gets_it_in_the_end(rig: Any) -> None:
    made = rig(WordByWord(answer=said))
    twin = AsyncMeteredEngine(made.engine)

    async def scene() -> str:
        stream = twin.stream(request())
        await anext(stream)
        asked = asyncio.create_task(twin.complete(request()))
        for _ in range(1200):
            made.clock.time += 6
            if (await asyncio.wait({asked}, timeout=0.05))[0]:
                break
        answer = (await asked).message.text
        await stream.aclose()
        return answer or ""

    assert asyncio.run(scene()) == SAID
    assert at_rest(made)


def test_an_answer_that_another_process_stored_first_holds(rig: Any, streamed: Any) -> None:
    """What was shown cannot be taken back, and must not become what the program goes on with."""
    made = rig(WordByWord(answer=said), on_failure="raise")
    other = rig(WordByWord(answer=lambda _: "Another."), run="other")
    other.engine.complete(request("elsewhere"))
    body = made.journal.lookup(other.engine.keyed(request("elsewhere"))[1])
    key = made.engine.keyed(request())[1]

    def meanwhile(_: int, piece: int) -> None:
        if piece == 3:
            attempt = made.journal.open_attempt("other", key, "evaluation", "m")
            made.journal.settle(attempt, key, "m", body, Usage(1, 1, 0.0))

    made.model._breaks = meanwhile
    with pytest.raises(LMError, match="another answer"):
        streamed(made, request())
    assert text_of(streamed(made, request())) == "Another."
    assert made.spent.settled == 1, "it was paid, and is booked so"
    assert at_rest(made)


def test_a_closed_gate_lets_no_stream_begin_and_no_attempt_follow(rig: Any, streamed: Any) -> None:
    made = rig(WordByWord(answer=said, breaks=lambda *_: made.gate.interrupt()))
    assert text_of(streamed(made, request())) == SAID, "a call under way ends, as any does"
    with pytest.raises(Halt):
        streamed(made, request("another"))
    with pytest.raises(Halt):
        streamed(made, request())
    assert made.model.attempts == 1

    def close_and_break(attempt: int, piece: int) -> None:
        second.gate.interrupt()
        raise LMTransportError("it broke")

    second = rig(WordByWord(answer=said, breaks=close_and_break))
    with pytest.raises(Halt) as caught:
        streamed(second, request("third"))
    assert caught.value.cause == "interrupted"
    assert second.model.attempts == 1


def test_a_cap_on_calls_counts_streams(rig: Any, streamed: Any) -> None:
    made = rig(WordByWord(answer=said), limits=Limits(calls=2))
    streamed(made, request("one"))
    streamed(made, request("two"))
    with pytest.raises(Halt) as caught:
        streamed(made, request("three"))
    assert caught.value.cause == "budget"
    assert made.model.attempts == 2


def test_streams_of_many_threads_and_tasks_are_booked_exactly(rig: Any) -> None:
    made = rig(WordByWord(breaks=broken(*((n, 0) for n in range(3, 200, 3)))), retry=Retry(base=0.0))

    async def tasks() -> list[str]:
        twin = AsyncMeteredEngine(made.engine)

        async def one(number: int) -> str:
            return text_of([event async for event in twin.stream(request(f"task {number}"))])

        return await asyncio.gather(*(one(number) for number in range(30)))

    with ThreadPoolExecutor(9) as pool:
        awaited = pool.submit(lambda: asyncio.run(tasks()))
        threads = list(pool.map(lambda n: text_of(list(made.engine.stream(request(f"item {n}")))), range(30)))
        answers = [*awaited.result(), *threads]
    assert all(answers)
    states = [state for state, *_ in attempts(made)]
    assert states.count("settled") == 60
    assert len(states) == made.model.attempts == made.spent.calls
    assert at_rest(made)


def test_a_program_streams_its_words_as_they_are_written(rig: Any) -> None:
    made = rig(WordByWord(pause=0.002))
    listeners = [dspy.streaming.StreamListener(signature_field_name="answer")]

    async def parts() -> list[Any]:
        stream = dspy.streamify(dspy.Predict("question -> answer"), stream_listeners=listeners)
        with dspy.context(lm=made.lm):
            return [part async for part in stream(question="why")]

    found = asyncio.run(parts())
    shown = "".join(part.chunk for part in found[:-1])
    with dspy.context(lm=made.lm):
        assert dspy.Predict("question -> answer")(question="why").answer == found[-1].answer == shown.strip()
    assert (made.model.streamed, made.model.attempts) == (1, 1)


def test_a_program_whose_stream_breaks_raises_and_does_not_try_another_form(rig: Any) -> None:
    made = rig(WordByWord(breaks=broken((1, 4))), on_failure="raise")
    listeners = [dspy.streaming.StreamListener(signature_field_name="answer")]

    async def parts() -> list[Any]:
        stream = dspy.streamify(dspy.Predict("question -> answer"), stream_listeners=listeners)
        with dspy.context(lm=made.lm):
            return [part async for part in stream(question="why")]

    with pytest.raises(LMError):
        asyncio.run(parts())
    assert made.model.attempts == 1
    assert attempts(made)[0][:2] == ("failed", "transport")
    assert at_rest(made)


def test_a_stream_read_in_another_thread_is_booked_whole(rig: Any) -> None:
    """As web servers do, which read a generator in whatever thread is free."""
    made = rig(WordByWord(answer=said))
    stream = made.engine.stream(request())
    events: list[Any] = [next(stream)]
    reader = threading.Thread(target=lambda: events.extend(stream))
    reader.start()
    reader.join(60)
    assert text_of(events) == SAID
    assert at_rest(made)


def test_an_answer_of_several_parts_is_passed_on_whole(rig: Any, streamed: Any) -> None:
    def parts(whole: Response) -> Response:
        return replace(whole, message=Message.assistant([TextPart("first "), TextPart("second")]))

    made = rig(WordByWord(answer=said, change=parts))
    assert text_of(streamed(made, request())) == "first second"
    assert [part.text for part in made.engine.complete(request()).message.parts] == ["first ", "second"]
