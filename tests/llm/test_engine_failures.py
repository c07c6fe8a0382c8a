"""What a failed attempt costs, when it is tried again, and how it ends."""

import asyncio
import itertools
import json
import math
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest
from dspy.lm15 import Message, Request, Response, TextPart, ToolCallPart, Usage
from dspy.utils.exceptions import (
    ContextWindowExceededError,
    LMAuthError,
    LMBillingError,
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
from skill_fleet.foundation.errors import KeyMissing, ProviderError, StorageError
from skill_fleet.llm.budget import Account, Gate, Limits
from skill_fleet.llm.calls.engine import Retry
from skill_fleet.llm.failures import UnusableAnswer
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.testing import ScriptedModel

KEY = "sk-proj-PLANTED0123456789abcdef"
PRICED = ModelSpec(
    model="openai/priced",
    temperature=0.7,
    max_tokens=100,
    price=PriceOverride(input_per_million=1000, output_per_million=2000),
)


def failing(*errors: Exception | None) -> Callable[[int, Request], None]:
    """Raises the n-th error at the n-th attempt; None and whatever comes after goes well."""

    def fault(number: int, _: Request) -> None:
        error = errors[number - 1] if number <= len(errors) else None
        if error is not None:
            raise error

    return fault


def rows(made: Any) -> list[tuple[Any, ...]]:
    query = (
        "select state, reason, possibly_billed, input_tokens, output_tokens from ledger.attempt order by id"
    )
    return made.journal._db.execute(query).fetchall()


class Answering:
    """Gives ready responses, one an attempt; the last one for ever."""

    def __init__(self, *responses: tuple[str, str]) -> None:
        self._responses = list(responses)
        self.attempts = 0

    def complete(self, request: Request) -> Response:
        self.attempts += 1
        text, reason = self._responses.pop(0) if len(self._responses) > 1 else self._responses[0]
        part = ToolCallPart(id="1", name="f", input={}) if reason == "tool_call" else TextPart(text)
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant([part]),
            finish_reason=reason,
            usage=Usage(input_tokens=10, output_tokens=20),
        )

    async def acomplete(self, request: Request) -> Response:
        return self.complete(request)


def ask(made: Any, how: str, text: str = "hello") -> str:
    return (asyncio.run(made.lm.acall(text)) if how == "async" else made.lm(text))[0]


BOTH = pytest.mark.parametrize("how", ["sync", "async"])
QUICK = Retry(base=0.0)


@BOTH
@pytest.mark.parametrize(
    ("error", "billed"),
    [
        (LMRateLimitError("slow down"), 0),
        (LMServerError("oops", status=500), 1),
        (LMTimeoutError("too late"), 1),
        (LMTransportError("connection reset"), 1),
        (LMProviderError("not JSON", status=200), 1),
    ],
    ids=lambda value: getattr(value, "code", ""),
)
def test_what_passes_by_itself_is_tried_again_and_booked(
    rig: Any, how: str, error: Exception, billed: int
) -> None:
    made = rig(ScriptedModel(fault=failing(error, error)), retry=QUICK)
    assert ask(made, how)
    assert made.model.attempts == 3
    assert [row[0] for row in rows(made)] == ["failed", "failed", "settled"]
    assert [row[2] for row in rows(made)] == [billed, billed, 0]
    assert made.spent.calls == 3, "each attempt is a call"
    assert ask(made, how)
    assert made.model.attempts == 3, "and the answer stays"


def test_a_connection_that_was_never_made_cannot_have_been_billed(rig: Any) -> None:
    refused = LMTransportError("failed to connect")
    refused.__cause__ = ConnectionRefusedError("refused")
    made = rig(ScriptedModel(fault=failing(refused)), retry=QUICK)
    made.lm("hello")
    assert rows(made)[0][:3] == ("failed", "transport", 0)
    assert made.spent.usd_unknown_calls == 0


def test_pauses_double_from_one_second_and_are_drawn_from_the_call(rig: Any, clock: Any) -> None:
    def waited(run: str, text: str) -> list[float]:
        began: list[float] = []

        def fault(number: int, _: Request) -> None:
            began.append(clock.time)
            if number <= 5:
                raise LMServerError("x")

        rig(ScriptedModel(fault=fault), run=run).lm(text)
        return [after - before for before, after in itertools.pairwise(began)]

    pauses = waited("first", "hello")
    for pause, expected in zip(pauses, (1, 2, 4, 8, 16), strict=True):
        assert 0.5 * expected <= pause < 1.5 * expected
    other = waited("second", "another")
    assert all(abs(one - two) > 1e-3 for one, two in zip(pauses, other, strict=True)), "not all at once"
    rig().journal.clear_responses()
    assert waited("third", "hello") == pytest.approx(pauses, abs=1e-5), "and the same in a replay"


@pytest.mark.parametrize("asked", [None, 0.0, -5.0, math.nan])
def test_a_provider_that_names_no_pause_gets_ours(asked: float | None) -> None:
    retry = Retry(base=2.0, longest=10.0)
    assert [retry.pause(3, asked, "k") for _ in range(3)] == [retry.pause(3, None, "k")] * 3
    assert {0 < retry.pause(n, asked, "k") <= 10.0 for n in (1, 5, 6, 2000)} == {True}


@pytest.mark.parametrize(("asked", "waited"), [(7.0, 7.0), (3600.0, 60.0), (math.inf, 60.0)])
def test_retry_after_is_honoured_and_capped(rig: Any, clock: Any, asked: float, waited: float) -> None:
    made = rig(ScriptedModel(fault=failing(LMRateLimitError("x", retry_after=asked))))
    begin = clock.time
    made.lm("hello")
    assert clock.time - begin == pytest.approx(waited)


@BOTH
@pytest.mark.parametrize(("text", "reason", "code"), [
    ("half an ans", "length", "truncated"),
    ("", "stop", "empty"),
    ("   \n", "stop", "empty"),
    ("half", "error", "broken_off"),
])  # fmt: skip
def test_an_answer_that_cannot_be_used_is_billed_and_asked_again(
    rig: Any, how: str, text: str, reason: str, code: str
) -> None:
    made = rig(Answering((text, reason), ("whole", "stop")), retry=QUICK, spec=PRICED)
    assert ask(made, how) == "whole"
    assert rows(made) == [("failed", code, 1, 10, 20), ("settled", None, 0, 10, 20)]
    assert made.spent.usd == pytest.approx(2 * (10 * 0.001 + 20 * 0.002)), "both were paid"
    assert made.account._spent.usd == pytest.approx(made.spent.usd)


@BOTH
def test_a_withheld_answer_is_paid_once_and_not_asked_again(rig: Any, how: str) -> None:
    made = rig(Answering(("", "content_filter")), retry=QUICK, on_failure="raise")
    with pytest.raises(UnusableAnswer) as caught:
        ask(made, how)
    assert caught.value.code == "content_filter"
    assert made.model.attempts == 1
    assert rows(made) == [("failed", "content_filter", 1, 10, 20)]
    assert made.gate.closed is None


def test_a_tool_call_without_words_is_an_answer(rig: Any) -> None:
    made = rig(Answering(("", "tool_call")))
    made.engine.complete(Request(model="offline/scripted", messages=(Message.user("x"),)))
    assert rows(made)[0][0] == "settled"


@BOTH
@pytest.mark.parametrize(
    "error",
    [
        LMAuthError("bad key"),
        LMBillingError("no money"),
        LMUnsupportedModelError("no such model"),
        ImportError("no boto"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_every_call_would_meet_stops_everything_after_one_attempt(
    rig: Any, how: str, error: Exception
) -> None:
    for on_failure in ("halt", "raise"):
        made = rig(ScriptedModel(fault=failing(*[error] * 9)), on_failure=on_failure)
        with pytest.raises(Halt) as caught:
            ask(made, how)
        assert caught.value.cause == "provider"
        assert caught.value.error.exit_code == 6
        assert made.model.attempts == 1
        with pytest.raises(Halt, match=r"openai|offline/scripted"):
            ask(made, how, "another")
        assert made.model.attempts == 1, "the door is shut"
        assert made.spent.usd_unknown_calls == 0, "a refused call cost nothing"


@BOTH
@pytest.mark.parametrize(
    "error",
    [LMInvalidRequestError("odd request"), ContextWindowExceededError(message="too long")],
    ids=lambda value: type(value).__name__,
)
def test_what_only_this_call_meets_is_given_up_at_once(rig: Any, how: str, error: Exception) -> None:
    raising = rig(ScriptedModel(fault=failing(error)), on_failure="raise")
    with pytest.raises(type(error)):
        ask(raising, how)
    assert raising.model.attempts == 1
    assert ask(raising, how, "another"), "others go on"
    halting = rig(ScriptedModel(fault=failing(error)), run="other")
    with pytest.raises(Halt) as caught:
        ask(halting, how, "a third")
    assert caught.value.cause == "provider"
    assert halting.model.attempts == 1


@BOTH
def test_retries_end_and_the_last_error_is_the_one_given(rig: Any, how: str) -> None:
    errors = [LMServerError(f"number {number}") for number in range(1, 5)]
    retry = Retry(attempts=3, base=0.0)
    raising = rig(ScriptedModel(fault=failing(*errors)), retry=retry, on_failure="raise")
    with pytest.raises(LMServerError, match="number 3"):
        ask(raising, how)
    assert raising.model.attempts == 3
    halting = rig(ScriptedModel(fault=failing(*errors)), retry=retry, run="other")
    with pytest.raises(Halt, match=r"scripted failed \(server\) after 3 attempts: number 3\.") as caught:
        ask(halting, how)
    assert isinstance(caught.value.error, ProviderError)
    assert caught.value.error.code == "server"
    assert caught.value.error.hint


@BOTH
@pytest.mark.parametrize("on_failure", ["halt", "raise"])
def test_a_bug_in_the_model_is_no_bad_answer(rig: Any, how: str, on_failure: str) -> None:
    made = rig(ScriptedModel(fault=failing(ValueError("a bug"))), on_failure=on_failure)
    with pytest.raises(Halt, match="a bug"):
        ask(made, how)
    assert rows(made)[0][:3] == ("failed", "ValueError", 1)


class Torn(BaseException):
    """What pulls a thread out of a call: an interrupt, a cancellation."""


@BOTH
@pytest.mark.parametrize(
    "error", [Torn("out"), KeyboardInterrupt(), SystemExit(3)], ids=lambda value: type(value).__name__
)
def test_what_tears_a_call_away_is_booked_as_abandoned(rig: Any, how: str, error: BaseException) -> None:
    made = rig(ScriptedModel(fault=failing(error)), spec=PRICED)
    with pytest.raises(type(error)):
        ask(made, how)
    assert rows(made)[0][:3] == ("failed", "abandoned", 1)
    assert made.account._spent.usd > 0, "it may have been billed: its worst case counts"
    assert made.account._reserved.usd == pytest.approx(0)
    assert not made.line.flights


def test_a_cancelled_task_is_booked_as_abandoned(rig: Any) -> None:
    made = rig(Meeting())

    async def scene() -> None:
        task = asyncio.create_task(made.lm.acall("hello"))
        await made.model.under_way()
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(scene())
    assert rows(made)[0][:3] == ("failed", "abandoned", 1)


def test_a_journal_that_cannot_note_the_call_forbids_it(rig: Any) -> None:
    made = rig(spec=PRICED)
    made.lm("before")
    made.journal._db.execute(
        "create trigger ledger.full before insert on attempt begin select raise(fail,'disk is full'); end"
    )
    with pytest.raises(Halt) as caught:
        made.lm("hello")
    assert made.model.attempts == 1, "nothing was sent"
    assert caught.value.cause == "storage"
    assert isinstance(caught.value.error, StorageError)
    assert caught.value.error.exit_code == 1
    assert "resume" in caught.value.error.hint
    assert made.account._reserved.usd == pytest.approx(0)
    made.journal._db.execute("drop trigger ledger.full")
    again = rig(made.model)
    assert again.spent.calls == 1
    again.lm("hello")
    assert made.model.attempts == 2


def test_no_room_for_a_ledger_line_means_no_call(rig: Any) -> None:
    made = rig()
    pages = made.journal._db.execute("pragma ledger.page_count").fetchone()[0]
    made.journal._db.execute(f"pragma ledger.max_page_count={pages}")
    with pytest.raises(Halt) as caught:
        _ = [made.lm(f"item {number}") for number in range(1000)]
    assert caught.value.cause == "storage"
    noted = len(rows(made))
    assert made.model.attempts == noted, "never a call without its line"
    made.journal._db.execute("pragma ledger.max_page_count=100000")
    again = rig(made.model)
    for number in range(noted):
        again.lm(f"item {number}")
    assert made.model.attempts <= noted + 1, "what was stored is not paid again"


@BOTH
def test_a_paid_answer_that_cannot_be_stored_halts_and_stays_open_for_the_bill(rig: Any, how: str) -> None:
    made = rig(spec=PRICED)
    made.journal._db.execute(
        "create trigger full before insert on response begin select raise(fail,'disk is full'); end"
    )
    with pytest.raises(Halt) as caught:
        ask(made, how)
    assert caught.value.cause == "storage"
    assert [row[0] for row in rows(made)] == ["open"], "its outcome is not known to the ledger"
    made.journal._db.execute("drop trigger full")
    assert made.journal.reconcile("run") == 1
    assert made.spent.lost == 1
    assert made.spent.bound_usd > 0


def test_an_answer_stored_by_half_a_commit_is_not_called_abandoned(rig: Any) -> None:
    """The responses' file took it, the ledger did not: reconciling finds it settled."""
    made = rig(spec=PRICED)
    original = made.journal.settle

    def half(attempt: str, key: str, model: str, body: str, usage: Any) -> str:
        made.journal._db.execute(
            "insert into response values (?,?,?,?,?,?,?,1.0)",
            (key, body, attempt, model, usage.input_tokens, usage.output_tokens, usage.usd),
        )
        raise StorageError("The disk is full.")

    made.journal.settle = half
    with pytest.raises(Halt):
        made.lm("hello")
    made.journal.settle = original
    assert made.journal.reconcile("run") == 0
    spent = made.spent
    assert (spent.settled, spent.lost) == (1, 0)
    assert spent.usd > 0
    rig(made.model, spec=PRICED).lm("hello")
    assert made.model.attempts == 1


@pytest.mark.parametrize("body", ["{", "[]", '{"message": 3}', '"text"'])
def test_a_stored_answer_that_cannot_be_read_is_no_score(rig: Any, body: str) -> None:
    made = rig()
    made.lm("hello")
    made.journal._db.execute("update response set body=?", (body,))
    made.journal._memo.clear()
    with pytest.raises(Halt, match=r"cannot be read") as caught:
        made.lm("hello")
    assert caught.value.cause == "storage"
    assert "ledger" in caught.value.error.hint


def test_half_a_character_from_a_provider_is_no_reason_to_lose_the_answer(rig: Any) -> None:
    made = rig(Answering(("fine \ud83d end", "stop")))
    assert made.lm("hello") == ["fine ? end"]
    assert made.lm("hello") == ["fine ? end"]
    assert made.model.attempts == 1


def test_no_key_is_in_what_a_user_sees(rig: Any) -> None:
    for message in (
        f"Incorrect API key provided: {KEY}.",
        f"Invalid header 'Authorization: Bearer {KEY}'",
        f'{{"api_key": "{KEY}"}}',
        "Bad key: 0123456789abcdef0123456789abcdef",
        "API key: AIzaSyPLANTED0123456789_-abc",
    ):
        made = rig(ScriptedModel(fault=failing(LMAuthError(message))))
        with pytest.raises(Halt) as caught:
            made.lm("hello")
        seen = f"{caught.value} {caught.value.error!r} {caught.value.error.hint}"
        assert "PLANTED" not in seen
        assert "0123456789" not in seen
        assert "failed (auth)" in seen
    assert "PLANTED" not in "".join(map(str, rows(made)))


def test_ordinary_words_are_left_in_what_a_user_sees(rig: Any) -> None:
    said = "The model gpt-4o-mini-2024-07-18 is overloaded: task-oriented desk-bound sk-ills, try in 20 s"
    made = rig(ScriptedModel(fault=failing(LMInvalidRequestError(said))))
    with pytest.raises(Halt) as caught:
        made.lm("hello")
    assert said in caught.value.error.message


def test_a_missing_key_is_its_own_error(rig: Any) -> None:
    from dspy.utils.exceptions import LMNotConfiguredError

    made = rig(
        ScriptedModel(fault=failing(LMNotConfiguredError("no credential\n\nTo fix:\n - this\n - that")))
    )
    with pytest.raises(Halt) as caught:
        made.lm("hello")
    assert isinstance(caught.value.error, KeyMissing)
    assert caught.value.error.message == "The model offline/scripted failed (not_configured): no credential."


def test_failures_are_no_scores_and_change_none(rig: Any) -> None:
    """5 % faults, retried: the same scores as without."""

    def metric(gold: Any, pred: Any) -> float:
        return int(pred.answer[-2:], 16) / 255

    data = [dspy.Example(question=f"q{number}").with_inputs("question") for number in range(60)]

    def score(fault: Any, run: str, store: Any) -> float:
        made = rig(ScriptedModel(fault=fault), retry=QUICK, run=run, store=store)
        evaluate = dspy.Evaluate(devset=data, metric=metric, num_threads=4, display_progress=False)
        with dspy.context(lm=made.lm):
            result = evaluate(dspy.Predict("question -> answer"))
        score.faults = made.spent.failed
        return float(result.score)

    chance = random.Random(7)
    left = Counter({example.question: chance.choice((0, 0, 0, 1, 3)) for example in data})

    def fault(_: int, request: Request) -> None:
        text = request.messages[-1].text or ""
        question = text.split("[[ ## question ## ]]\n")[-1].split()[0]
        left[question] -= 1
        if left[question] >= 0:
            raise LMServerError("x")

    from pathlib import Path
    from tempfile import TemporaryDirectory

    from skill_fleet.llm.journal.journal import Journal

    scores = []
    for name, how in (("clean", None), ("faulty", fault)):
        with TemporaryDirectory() as place:
            store = Journal(Path(place) / "l", Path(place) / "r")
            scores.append(score(how, name, store))
            store.close()
    assert scores[0] == scores[1]
    assert score.faults > 5


@pytest.mark.parametrize("threads", [1, 8])
def test_a_halt_goes_through_evaluate_at_once(rig: Any, clock: Any, threads: int) -> None:
    shut_at: list[float] = []
    account = Account(Limits(calls=20), clock)
    gate = Gate(account, on_close=lambda _: shut_at.append(time.perf_counter()))
    made = rig(ScriptedModel(latency=0.005), gate=gate)
    data = [dspy.Example(question=f"q{number}").with_inputs("question") for number in range(200)]
    evaluate = dspy.Evaluate(
        devset=data, metric=lambda gold, pred: 1.0, num_threads=threads, display_progress=False
    )
    with dspy.context(lm=made.lm), pytest.raises(Halt) as caught:
        evaluate(dspy.Predict("question -> answer"))
    assert time.perf_counter() - shut_at[0] < 10
    assert caught.value.cause == "budget"
    deadline = time.perf_counter() + 60.0
    while made.line.flights and time.perf_counter() < deadline:  # what was reserved before the halt is made
        time.sleep(0.01)
    assert made.model.attempts == 20


@BOTH
def test_a_long_pause_ends_when_the_run_does(rig: Any, how: str) -> None:
    from skill_fleet.foundation.clock import SYSTEM_CLOCK
    from skill_fleet.llm.calls.engine import Line

    source = rig()
    line = Line(source.journal, "run", SYSTEM_CLOCK)
    made = rig(ScriptedModel(fault=failing(LMRateLimitError("x", retry_after=50))), line=line)
    begin = time.perf_counter()
    threading.Timer(0.1, made.gate.interrupt).start()
    with pytest.raises(Halt):
        ask(made, how)
    assert time.perf_counter() - begin < 30.0, "it would wait for 50 s"


def test_an_interrupt_in_the_thread_that_passes_the_gate_does_not_lock_it(rig: Any) -> None:
    """A signal handler runs between two instructions of the main thread, also while that holds the lock."""
    made = rig()
    before = signal.signal(signal.SIGUSR1, lambda *_: made.gate.interrupt())
    try:
        with made.account.lock:
            signal.raise_signal(signal.SIGUSR1)
        assert made.gate.closed is not None
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_halt_raised_by_many_threads_keeps_no_pile_of_frames(rig: Any) -> None:
    made = rig(limits=Limits(calls=0))

    def refused(number: int) -> int:
        try:
            made.lm(f"item {number}")
        except Halt as halt:
            depth, trace = 0, halt.__traceback__
            while trace is not None:
                depth, trace = depth + 1, trace.tb_next
            return depth
        return -1

    with ThreadPoolExecutor(4) as pool:
        depths = list(pool.map(refused, range(40)))
    assert max(depths) < 60
    assert min(depths) > 0


def test_a_stored_answer_holds_no_secret(rig: Any) -> None:
    made = rig()
    made.lm("hello")
    body = made.journal._db.execute("select body from response").fetchone()[0]
    assert set(json.loads(body)) >= {"message", "finish_reason", "usage"}
    assert "api_key" not in body
