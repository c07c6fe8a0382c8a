"""The engine and the limiter of an account: what is waited for, what is told, who goes first, what counts."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from dspy.lm15 import Message, Request, Response, TextPart, Usage
from dspy.utils.exceptions import (
    ContextWindowExceededError,
    LMAuthError,
    LMBillingError,
    LMError,
    LMInvalidRequestError,
    LMProviderError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    LMTransportError,
    LMUnsupportedModelError,
)

from meeting_models import Meeting
from skill_fleet.config.settings import ModelSpec, PriceOverride
from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.call_context import CURRENT_SUBJECT
from skill_fleet.llm.calls.engine import AsyncMeteredEngine, Retry
from skill_fleet.llm.failures import UnusableAnswer, attempts_at, explained, understand
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.limits.limiter import Broken
from skill_fleet.llm.testing import ScriptedModel
from skill_fleet.optimization.prefetch.turnstile import Turnstile
from watched_limiter import WatchedLimiter

BOTH = pytest.mark.parametrize("how", ["sync", "async", "stream"])
QUICK = Retry(base=0.0)
PRICED = ModelSpec(
    model="openai/priced",
    max_tokens=100,
    rpm=60,
    in_flight=5,
    price=PriceOverride(input_per_million=1, output_per_million=1),
)


@pytest.fixture
def limiter() -> WatchedLimiter:
    return WatchedLimiter()


def ask(made: Any, how: str, text: str = "hello") -> str:
    if how == "stream":
        request = Request(model=made.engine.spec.model, messages=(Message.user(text),))
        deltas = [event.delta for event in made.engine.stream(request) if event.type == "delta"]
        return "".join(delta.text for delta in deltas)
    return (asyncio.run(made.lm.acall(text)) if how == "async" else made.lm(text))[0]


def failing(*errors: Exception | None) -> Callable[[int, Request], None]:
    def fault(number: int, _: Request) -> None:
        error = errors[number - 1] if number <= len(errors) else None
        if error is not None:
            raise error

    return fault


def states(made: Any) -> list[tuple[Any, ...]]:
    return made.journal._db.execute("select state, reason from ledger.attempt order by id").fetchall()


def until(true: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + 60.0
    while not true():
        assert time.perf_counter() < deadline
        time.sleep(0.002)


class Bad:
    """Answers nothing but what cannot be used."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.attempts = 0

    def complete(self, request: Request) -> Response:
        self.attempts += 1
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant([TextPart("half")]),
            finish_reason=self.reason,
            usage=Usage(input_tokens=10, output_tokens=20),
        )

    async def acomplete(self, request: Request) -> Response:
        return self.complete(request)


@BOTH
def test_the_account_hears_what_is_asked_and_what_was_used(
    rig: Any, limiter: WatchedLimiter, how: str
) -> None:
    made = rig(spec=PRICED, limiter=limiter)
    ask(made, how, "hello " * 100)
    (ticket,) = limiter.tickets
    assert ticket.quota.model == "openai/priced"
    assert (ticket.quota.rpm, ticket.quota.tpm, ticket.quota.in_flight) == (60, None, 5)
    assert 150 + 100 <= ticket.tokens < 600 + 100, "about four bytes a token, and the longest answer"
    spent = made.spent
    assert ticket.ends[0] == ("answered", spent.input_tokens + spent.output_tokens)
    ask(made, how, "hello " * 100)
    assert len(limiter.tickets) == 1, "what the journal has asks nobody"


def test_answers_are_expected_to_be_as_long_as_those_before(rig: Any, limiter: WatchedLimiter) -> None:
    made = rig(ScriptedModel(answer=lambda _: "x" * 40), spec=PRICED, limiter=limiter)
    made.lm("one")
    made.lm("two")
    first, second = (ticket.tokens for ticket in limiter.tickets)
    assert first - second == 100 - 11


@BOTH
def test_nothing_is_reserved_while_the_limiter_lets_nobody_through(
    rig: Any, limiter: WatchedLimiter, how: str
) -> None:
    made = rig(spec=PRICED, limiter=limiter)
    limiter.shut.set()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, made, how)
        until(lambda: limiter.waiting == 1)
        assert made.account._spent.calls == 0
        assert made.account._reserved.usd == 0
        assert states(made) == []
        begin = time.perf_counter()
        made.gate.interrupt()
        with pytest.raises(Halt) as caught:
            waiting.result()
    assert time.perf_counter() - begin < 30
    assert caught.value.cause == "interrupted"
    assert states(made) == [], "nothing was sent"
    assert limiter.out == 0


@BOTH
def test_the_cap_on_minutes_is_seen_while_the_limiter_is_waited_for(
    rig: Any, limiter: WatchedLimiter, clock: Any, how: str
) -> None:
    made = rig(spec=PRICED, limiter=limiter, limits=Limits(minutes=1.0))
    limiter.shut.set()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, made, how)
        until(lambda: limiter.waiting == 1)
        assert not waiting.done()
        clock.sleep(61)
        with pytest.raises(Halt, match="1 minutes") as caught:
            waiting.result()
    assert caught.value.error.exit_code == 5
    assert states(made) == []


@BOTH
@pytest.mark.parametrize("on_failure", ["halt", "raise"])
def test_a_provider_that_is_given_up_ends_everything(
    rig: Any, limiter: WatchedLimiter, how: str, on_failure: str
) -> None:
    made = rig(spec=PRICED, limiter=limiter, on_failure=on_failure)
    limiter.broken = Broken(ProviderError("openai answers nothing any more.", hint="Resume the run."))
    with pytest.raises(Halt, match="answers nothing") as caught:
        ask(made, how)
    assert caught.value.cause == "provider"
    assert caught.value.error.exit_code == 6
    assert made.gate.closed is not None
    assert states(made) == []


@BOTH
def test_the_first_call_of_a_run_says_that_it_asks_anew(rig: Any, limiter: WatchedLimiter, how: str) -> None:
    made = rig(spec=PRICED, limiter=limiter)
    ask(made, how, "one")
    ask(made, how, "two")
    assert limiter.anew == ["openai/priced"]
    ask(rig(spec=PRICED, limiter=limiter, run="another"), how, "three")
    assert limiter.anew == ["openai/priced"] * 2


@BOTH
def test_a_cap_gives_the_admission_back(rig: Any, limiter: WatchedLimiter, how: str) -> None:
    made = rig(spec=PRICED, limiter=limiter, limits=Limits(calls=0))
    with pytest.raises(Halt):
        ask(made, how)
    assert [ticket.end for ticket in limiter.tickets] == ["dropped"]


@BOTH
def test_every_end_of_an_attempt_ends_its_ticket(rig: Any, limiter: WatchedLimiter, how: str) -> None:
    errors = LMServerError("x", status=500), LMTimeoutError("late"), LMRateLimitError("slow", retry_after=9.0)
    made = rig(ScriptedModel(fault=failing(*errors)), spec=PRICED, limiter=limiter, retry=QUICK)
    ask(made, how)
    assert [ticket.end for ticket in limiter.tickets] == ["failed", "failed", "failed", "answered"]
    told = [ticket.ends[0][1] for ticket in limiter.tickets[:3]]
    assert [(one.code, one.retry_after) for one in told] == [
        ("server", None),
        ("timeout", None),
        ("rate_limit", 9.0),
    ]
    assert made.clock.slept == [], "whoever comes too early is held by the limiter, not by each on its own"
    torn = rig(ScriptedModel(fault=failing(KeyboardInterrupt())), spec=PRICED, limiter=limiter, run="torn")
    with pytest.raises(KeyboardInterrupt):
        ask(torn, how, "another")
    assert limiter.out == 0


@BOTH
def test_an_answer_of_no_use_is_an_answer_to_the_account(rig: Any, limiter: WatchedLimiter, how: str) -> None:
    made = rig(
        Bad("length"), spec=PRICED, limiter=limiter, retry=Retry(attempts=3, base=0.0), on_failure="raise"
    )
    with pytest.raises(UnusableAnswer):
        ask(made, how)
    assert [ticket.ends[0] for ticket in limiter.tickets] == [("answered", 30)] * 3


@BOTH
def test_what_fails_while_the_provider_is_away_uses_up_no_attempt(
    rig: Any, limiter: WatchedLimiter, how: str
) -> None:
    retry = Retry(attempts=3, base=0.0)
    model = ScriptedModel(fault=failing(*[LMServerError("x", status=503)] * 10))
    made = rig(model, spec=PRICED, limiter=limiter, retry=retry)
    limiter.away = lambda: 2 <= model.attempts < 10
    ask(made, how)
    assert [state for state, _ in states(made)] == ["failed"] * 10 + ["settled"]
    assert made.spent.calls == 11, "each was reserved and counted all the same"
    limiter.away = lambda: False
    other = rig(
        ScriptedModel(fault=failing(*[LMServerError("x")] * 9)), spec=PRICED, limiter=limiter, retry=retry
    )
    with pytest.raises(Halt, match="after 3 attempts"):
        ask(other, how, "another")


@BOTH
def test_where_everybody_is_turned_away_no_attempt_is_used_up(
    rig: Any, limiter: WatchedLimiter, how: str
) -> None:
    """A full minute without room is longer than the pauses of six attempts."""
    model = ScriptedModel(fault=failing(*[LMRateLimitError("slow down")] * 20))
    made = rig(model, spec=PRICED, limiter=limiter, retry=Retry(attempts=3, base=0.0))
    ask(made, how)
    assert model.attempts == 21
    assert made.spent.calls == 21


@BOTH
@pytest.mark.parametrize(
    ("error", "own"),
    [
        (UnusableAnswer("Withheld.", code="content_filter", finish_reason="content_filter"), True),
        (UnusableAnswer("Cut off.", code="truncated", finish_reason="length"), True),
        (ContextWindowExceededError(message="too long"), True),
        (LMServerError("on fire", status=500), False),
        (LMTimeoutError("late"), False),
        (LMTransportError("reset"), False),
        (LMAuthError("no"), False),
    ],
)
def test_an_example_is_the_cause_only_of_what_its_own_request_met(
    rig: Any, limiter: WatchedLimiter, how: str, error: Exception, own: bool
) -> None:
    """A server that fails may be about to be gone: whoever asked last is not to be left out for it."""
    errors = (None, *[error] * 6)
    made = rig(ScriptedModel(fault=failing(*errors)), spec=PRICED, limiter=limiter, retry=QUICK)
    ask(made, how, "is answered")
    token = CURRENT_SUBJECT.set(("item-7", "call"))
    try:
        with pytest.raises(Halt) as caught:
            ask(made, how, "is not")
    finally:
        CURRENT_SUBJECT.reset(token)
    assert caught.value.subject == ("item-7" if own else None)


def test_to_be_turned_away_for_ever_ends(rig: Any, limiter: WatchedLimiter, clock: Any) -> None:
    def fault(number: int, _: Request) -> None:
        clock.sleep(10)
        raise LMRateLimitError("slow down")

    retry = Retry(attempts=2, base=0.0, outage=60.0)
    made = rig(ScriptedModel(fault=fault), spec=PRICED, limiter=limiter, retry=retry)
    with pytest.raises(Halt, match="slow down"):
        made.lm("hello")
    assert 6 <= made.model.attempts <= 8


def no_connection() -> LMTransportError:
    refused = LMTransportError("failed to connect")
    refused.__cause__ = ConnectionRefusedError("refused")
    return refused


@pytest.mark.parametrize("how", ["threads", "tasks"])
@pytest.mark.parametrize("on_failure", ["halt", "raise"])
def test_at_an_address_where_nobody_ever_was_one_call_knocks_for_all(
    rig: Any, limiter: WatchedLimiter, how: str, on_failure: str
) -> None:
    def nobody(number: int, _: Request) -> None:
        raise no_connection()

    retry = Retry(base=0.02)
    made = rig(ScriptedModel(fault=nobody), spec=PRICED, limiter=limiter, retry=retry, on_failure=on_failure)
    ends = together(made, how, [f"ticket {number}" for number in range(16)])
    assert made.model.attempts == 3, "the others wait while it rests"
    assert all(isinstance(end, Halt) for end in ends)
    assert "after 3 attempts: failed to connect" in str(ends[0])
    assert "api_base" in made.gate.closed.error.hint
    assert made.spent.usd_unknown_calls == 0
    assert made.account._reserved.usd == 0


@pytest.mark.parametrize("how", ["threads", "tasks"])
def test_a_server_that_is_about_to_start_is_waited_for(rig: Any, limiter: WatchedLimiter, how: str) -> None:
    model = ScriptedModel(fault=failing(no_connection(), no_connection()))
    made = rig(model, spec=PRICED, limiter=limiter, retry=Retry(base=0.02))
    ends = together(made, how, [f"ticket {number}" for number in range(8)])
    assert ends == [None] * 8
    assert model.attempts == 2 + 8


def test_attempts_to_connect_are_no_more_than_configured(rig: Any, limiter: WatchedLimiter) -> None:
    model = ScriptedModel(fault=failing(*[no_connection() for _ in range(9)]))
    made = rig(model, spec=PRICED, limiter=limiter, retry=Retry(attempts=1, base=0.0))
    with pytest.raises(Halt):
        made.lm("hello")
    assert model.attempts == 1


def test_who_goes_ahead_and_is_cancelled_while_it_rests_lets_the_next_go(
    rig: Any, limiter: WatchedLimiter
) -> None:
    model = ScriptedModel(fault=failing(no_connection()))
    made = rig(model, spec=PRICED, limiter=limiter, retry=Retry(base=30.0))

    async def cancelled() -> None:
        ahead = asyncio.create_task(made.lm.acall("first"))
        while not states(made) or states(made)[0][0] == "open":  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.01)
        ahead.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ahead
        assert await asyncio.wait_for(made.lm.acall("second"), 60.0)

    asyncio.run(cancelled())


def test_who_goes_ahead_keeps_its_place_while_it_rests(rig: Any, limiter: WatchedLimiter) -> None:
    """All other places are taken by who waits for it."""
    model = ScriptedModel(fault=failing(no_connection()))
    made = rig(model, spec=PRICED, limiter=limiter, retry=Retry(base=0.05))
    engine = made.engine.behind(place=Turnstile(2, lambda: None))
    crowded = made.lm.copy(engine=engine, async_engine=AsyncMeteredEngine(engine))

    async def scene() -> list[Any]:
        return await asyncio.wait_for(asyncio.gather(*(crowded.acall(f"item {n}") for n in range(6))), 60.0)

    assert len(asyncio.run(scene())) == 6
    assert model.attempts == 1 + 6


def test_an_answer_of_the_journal_does_not_say_that_anybody_is_at_the_address(
    rig: Any, limiter: WatchedLimiter
) -> None:
    """The server was moved since: that is found out as soon as in a run that begins."""
    before = rig(ScriptedModel(), spec=PRICED, limiter=limiter, retry=QUICK, run="before")
    before.lm("first")

    def nobody(number: int, _: Request) -> None:
        raise no_connection()

    limiter.away = lambda: True
    made = rig(ScriptedModel(fault=nobody), spec=PRICED, limiter=limiter, retry=QUICK, run="again")
    made.lm("first")
    assert made.model.attempts == 0
    with pytest.raises(Halt, match="after 3 attempts: failed to connect"):
        made.lm("second")
    assert made.model.attempts == 3


def test_an_address_that_has_answered_is_waited_for(rig: Any, limiter: WatchedLimiter) -> None:
    refused = no_connection()
    limiter.away = lambda: True
    model = ScriptedModel(fault=failing(None, *[refused] * 20))
    known = rig(model, spec=PRICED, limiter=limiter, retry=QUICK, run="known")
    known.lm("first")
    known.lm("second")
    assert model.attempts == 22, "one that has answered is waited for"


REFUSALS = [
    LMAuthError("bad key", status=401),
    LMBillingError("no money", status=429),
    LMUnsupportedModelError("no such model"),
    LMInvalidRequestError("the model `x` does not exist", status=404),
    ContextWindowExceededError(message="too long", status=400),
    LMInvalidRequestError("temperature must be 1", status=400),
    LMProviderError("moved", status=301),
]


def together(made: Any, how: str, texts: list[str]) -> list[BaseException | None]:
    """How as many calls at once as there are texts ended."""
    if how == "tasks":

        async def scene() -> list[Any]:
            # A Halt is no Exception: it would end the loop, not the task.
            async def one(text: str) -> BaseException | None:
                try:
                    await made.lm.acall(text)
                except (Halt, LMError) as error:
                    return error
                return None

            return await asyncio.gather(*map(one, texts))

        return asyncio.run(scene())
    with ThreadPoolExecutor(len(texts)) as pool:
        return [future.exception() for future in [pool.submit(made.lm, text) for text in texts]]


@pytest.mark.parametrize("how", ["threads", "tasks"])
@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: error.message.replace(" ", "-"))
def test_what_every_call_would_meet_costs_one_request_at_any_number_of_threads(
    rig: Any, limiter: WatchedLimiter, how: str, error: Exception
) -> None:
    model = ScriptedModel(latency=0.03, fault=failing(*[error] * 99))
    made = rig(model, spec=PRICED, limiter=limiter, on_failure="raise")
    ends = together(made, how, [f"item {number}" for number in range(16)])
    assert model.attempts == 1
    assert {type(end) for end in ends} == {Halt}
    assert {end.error.exit_code for end in ends} == {6}
    assert len({end.error.message for end in ends}) == 1
    assert made.spent.usd_unknown_calls == 0, "it cost nothing"
    assert limiter.out == 0


@pytest.mark.parametrize("how", ["threads", "tasks"])
def test_the_first_call_goes_alone_and_the_others_together(
    rig: Any, limiter: WatchedLimiter, how: str
) -> None:
    under_way: list[int] = []

    class Counting(Meeting):
        def _enter(self, request: Request) -> None:
            under_way.append(self.in_flight)
            super()._enter(request)

    model = Counting(15, alone=1)
    made = rig(model, spec=PRICED, limiter=limiter)
    assert together(made, how, [f"item {number}" for number in range(16)]) == [None] * 16
    assert model.most_in_flight == 15, "all others are under way before one of them ends"
    assert under_way[:2] == [0, 0], "the second came when the first was over"


def test_a_failure_that_passes_lets_the_others_go(rig: Any, limiter: WatchedLimiter) -> None:
    model = Meeting(7, alone=2, fault=failing(LMServerError("x", status=500)))
    made = rig(model, spec=PRICED, limiter=limiter, retry=Retry(base=0.01))
    assert together(made, "threads", [f"item {number}" for number in range(8)]) == [None] * 8
    assert model.most_in_flight >= 7


def test_a_key_that_is_refused_in_the_middle_fails_the_calls_under_way_and_no_other(
    rig: Any, limiter: WatchedLimiter
) -> None:
    def fault(number: int, _: Request) -> None:
        if number > 60:
            raise LMAuthError("revoked", status=401)

    model = ScriptedModel(latency=0.01, fault=fault)
    made = rig(model, spec=PRICED, limiter=limiter, on_failure="raise")
    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(made.lm, f"item {number}") for number in range(400)]
        ends = [future.exception() for future in futures]
    failed = [reason for state, reason in states(made) if state == "failed"]
    assert set(failed) == {"auth"}
    assert 1 <= len(failed) <= 16
    assert all(end is None or isinstance(end, Halt) for end in ends)
    assert limiter.out == 0


def test_a_request_that_is_refused_after_answers_is_its_own_fault(rig: Any, limiter: WatchedLimiter) -> None:
    errors = None, ContextWindowExceededError(message="too long"), LMInvalidRequestError("odd")
    made = rig(ScriptedModel(fault=failing(*errors)), spec=PRICED, limiter=limiter, on_failure="raise")
    made.lm("fine")
    for number in range(2):
        with pytest.raises(LMInvalidRequestError):
            made.lm(f"item {number}")
    made.lm("fine again")


def test_answers_of_the_journal_are_answers_of_the_model(rig: Any, limiter: WatchedLimiter) -> None:
    """A resumed run that meets one long example must not take it for a wrong model, each time anew."""
    rig(spec=PRICED, limiter=limiter).lm("first")
    model = ScriptedModel(fault=failing(ContextWindowExceededError(message="too long")))
    resumed = rig(model, spec=PRICED, limiter=limiter, on_failure="raise")
    resumed.lm("first")
    with pytest.raises(ContextWindowExceededError):
        resumed.lm("second")


def test_a_filter_says_nothing_of_the_model(rig: Any, limiter: WatchedLimiter) -> None:
    withheld = LMInvalidRequestError("filtered", status=400, provider_code="content_filter")
    made = rig(ScriptedModel(fault=failing(withheld)), spec=PRICED, limiter=limiter, on_failure="raise")
    with pytest.raises(LMInvalidRequestError):
        made.lm("first")
    made.lm("second")
    assert states(made)[0] == ("failed", "content_filter")


def test_a_call_of_the_thread_whose_task_goes_ahead_does_not_wait_for_it(
    rig: Any, limiter: WatchedLimiter
) -> None:
    made = rig(ScriptedModel(latency=0.1), spec=PRICED, limiter=limiter)

    async def scene() -> None:
        ahead = asyncio.create_task(made.lm.acall("hello"))
        await asyncio.sleep(0.02)
        made.lm("another")
        await ahead

    thread = threading.Thread(target=lambda: asyncio.run(scene()), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "it hangs"


@BOTH
def test_what_remains_says_reason_attempts_and_cause(rig: Any, limiter: WatchedLimiter, how: str) -> None:
    made = rig(
        Bad("length"), spec=PRICED, limiter=limiter, retry=Retry(attempts=3, base=0.0), on_failure="raise"
    )
    with pytest.raises(UnusableAnswer) as caught:
        ask(made, how)
    assert caught.value.finish_reason == "length"
    assert attempts_at(caught.value) == 3
    said = explained(caught.value, understand(caught.value), "openai/priced").message
    assert said == (
        "The model openai/priced failed (truncated, finish_reason length) after 3 attempts: "
        "The answer was cut off at max_tokens."
    )
    halting = rig(Bad("content_filter"), spec=PRICED, limiter=limiter, run="other")
    with pytest.raises(Halt, match=r"failed \(content_filter, finish_reason content_filter\): The") as halted:
        ask(halting, how, "another")
    assert halting.model.attempts == 1
    assert halted.value.error.exit_code == 6
