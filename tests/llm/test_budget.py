"""Caps: what is let through, what is counted, what stays shut."""

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from dspy.lm15 import Message, Request
from dspy.utils.exceptions import ContextWindowExceededError, LMTransportError
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.config.settings import ModelSpec, PriceOverride
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.foundation.errors import BudgetExhausted, Interrupted, ProviderError
from skill_fleet.llm import budget
from skill_fleet.llm.budget import Account, Gate, Limits, Worst
from skill_fleet.llm.calls.engine import Retry
from skill_fleet.llm.calls.paying import Paying
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.journal import Journal
from skill_fleet.llm.testing import ScriptedModel


def gate(clock: Any, hold: Limits | None = None, **limits: Any) -> Gate:
    return Gate(Account(Limits(**limits), clock), hold or Limits())


def passes(door: Gate, worst: Worst | None = None) -> bool:
    try:
        door.enter(worst or Worst(0, 0.0))
    except Halt:
        return False
    return True


@pytest.mark.parametrize("calls", [0, 1, 7])
def test_a_cap_on_calls_is_exact(clock: Any, calls: int) -> None:
    door = gate(clock, calls=calls)
    assert [passes(door) for _ in range(calls + 3)] == [True] * calls + [False] * 3
    assert door.closed is not None
    assert isinstance(door.closed.error, BudgetExhausted)
    assert door.closed.error.exit_code == 5
    assert f"{calls} call" in door.closed.error.message


def test_no_cap_is_no_cap(clock: Any) -> None:
    door = gate(clock)
    assert all(passes(door, Worst(10**9, None)) for _ in range(100))


def test_a_cap_counts_what_may_still_come(clock: Any) -> None:
    door = gate(clock, tokens=100, usd=1.0)
    assert passes(door, Worst(60, 0.5))
    assert not passes(door, Worst(41, 0.1)), "60 are set aside: 41 more might not fit"
    other = gate(clock, usd=1.0)
    assert passes(other, Worst(60, 0.5))
    other.account.settle(Worst(60, 0.5), 10, 0.05)
    assert passes(other, Worst(60, 0.95)), "what was not used came back"
    assert not passes(other, Worst(60, 0.01))


def test_an_unknown_use_counts_at_its_worst(clock: Any) -> None:
    door = gate(clock, tokens=100)
    assert passes(door, Worst(60, 0.5))
    door.account.settle(Worst(60, 0.5), None, None)
    assert not passes(door, Worst(50, 0.0))


def test_a_shut_door_stays_shut(clock: Any) -> None:
    door = gate(clock, tokens=100)
    assert passes(door, Worst(90, 0.0))
    assert not passes(door, Worst(20, 0.0))
    door.account.settle(Worst(90, 0.0), 0, 0.0)
    assert not passes(door, Worst(1, 0.0)), "room came back, the door did not open"
    assert passes(Gate(door.account), Worst(1, 0.0)), "the next stage has its own"


def test_the_first_reason_stays_and_is_told_once(clock: Any) -> None:
    told: list[Halt] = []
    door = Gate(Account(Limits(calls=1), clock), on_close=told.append)
    door.interrupt()
    assert not passes(door)
    door.close(Halt("budget", BudgetExhausted("later")))
    assert len(told) == 1
    assert door.closed is not None
    assert door.closed.cause == "interrupted"
    assert isinstance(door.closed.error, Interrupted)
    assert door.closed.error.exit_code == 130


def test_a_stage_leaves_what_the_next_was_promised(clock: Any) -> None:
    account = Account(Limits(calls=10, usd=1.0, tokens=100), clock)
    search = Gate(account, Limits(calls=4, usd=0.25))
    assert sum(passes(search, Worst(1, 0.01)) for _ in range(20)) == 6
    assert search.closed is not None
    assert "kept for the sealed test" in search.closed.error.message
    assert "10 calls" in search.closed.error.message, "the cap is named as the user gave it"
    test = Gate(account)
    assert sum(passes(test, Worst(1, 0.01)) for _ in range(20)) == 4


def test_a_hold_larger_than_the_cap_leaves_nothing_and_no_less(clock: Any) -> None:
    door = gate(
        clock, Limits(calls=9, usd=9.0, tokens=9, minutes=9.0), calls=5, usd=1.0, tokens=5, minutes=1.0
    )
    assert door.ceiling == Limits(0.0, 0, 0, 0.0)
    assert not passes(door)
    assert gate(clock, Limits(calls=9, usd=9.0)).ceiling == Limits(), "nothing is held of what has no cap"


def test_minutes_count_running_time_of_all_processes(clock: Any) -> None:
    door = Gate(Account(Limits(minutes=10), clock, seconds=9 * 60))
    assert passes(door)
    clock.sleep(59)
    assert passes(door)
    clock.sleep(2)
    assert not passes(door)
    assert door.closed is not None
    assert "10 minutes" in door.closed.error.message


def test_a_resumed_run_starts_from_what_it_spent(rig: Any, clock: Any) -> None:
    spec = ModelSpec(
        model="openai/m",
        max_tokens=20,
        temperature=0.5,
        price=PriceOverride(input_per_million=100, output_per_million=100),
    )
    first = rig(spec=spec, limits=Limits(calls=5))
    for number in range(3):
        first.lm(f"item {number}")
    first.journal.open_attempt("run", "killed", "evaluation", "m", reserved_tokens=500, reserved_usd=0.05)
    first.journal.reconcile("run")
    spent = first.spent
    account = Account(Limits(calls=5), clock, spent.calls, spent.bound_tokens, spent.bound_usd)
    second = rig(first.model, spec=spec, gate=Gate(account))
    for number in range(3):
        second.lm(f"item {number}")
    assert second.model.attempts == 3, "found again: not calls"
    second.lm("one more")
    with pytest.raises(Halt, match="5 calls"):
        second.lm("and another")
    assert account._spent.usd == pytest.approx(second.spent.bound_usd)
    assert account._spent.tokens == second.spent.bound_tokens
    assert second.spent.bound_usd >= 0.05, "a lost call may have cost its worst"


def test_kills_do_not_stretch_a_cap_on_dollars(rig: Any, clock: Any) -> None:
    """Each process dies with a call open; only the ledger knows what was reserved for it."""
    spec = ModelSpec(
        model="openai/m", max_tokens=100, price=PriceOverride(input_per_million=1000, output_per_million=1000)
    )
    cap = 1.0
    lives = 0
    store = rig().journal
    while lives < 50:
        spent = store.spent("run")
        account = Account(Limits(usd=cap), clock, spent.calls, spent.bound_tokens, spent.bound_usd)
        engine = rig(spec=spec, gate=Gate(account)).engine
        request = Request(model="openai/m", messages=(Message.user(f"life {lives}"),))
        document, key, context = engine.keyed(request)
        try:
            Paying(engine, request, document, key, context).__enter__()
        except Halt:
            break
        store.reconcile("run")
        lives += 1
    worst = store.spent("run").bound_usd / lives
    assert lives == int(cap / worst)
    assert store.spent("run").bound_usd <= cap


calls_made = st.lists(
    st.tuples(st.integers(0, 200), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1))), max_size=60
)


@settings(max_examples=60, deadline=None)
@given(
    calls_made,
    st.integers(0, 30),
    st.integers(0, 3000),
    st.floats(0, 3, allow_subnormal=False),
    st.integers(0, 2**32),
)
def test_no_order_of_calls_breaks_a_cap(
    plan: list[tuple[int, float, float | None]], calls: int, tokens: int, usd: float, seed: int
) -> None:
    """Calls come and end in any order, each using any share of its worst case, or an unknown one."""
    chance = random.Random(seed)
    account = Account(Limits(usd=usd, calls=calls, tokens=tokens), SYSTEM_CLOCK)
    door = Gate(account)
    under_way: list[tuple[Worst, float | None]] = []
    let_in = 0
    for most, dollars, share in plan:
        worst = Worst(most, dollars)
        was_shut = door.closed is not None
        if passes(door, worst):
            assert not was_shut, "a shut door let a call through"
            let_in += 1
            under_way.append((worst, share))
        while under_way and chance.random() < 0.5:
            ended, used = under_way.pop(chance.randrange(len(under_way)))
            known = used is not None
            account.settle(
                ended, int(ended.tokens * used) if known else None, (ended.usd or 0) * used if known else None
            )
        assert account._spent.calls == let_in <= calls
        assert account._spent.tokens + account._reserved.tokens <= tokens
        assert account._spent.usd + account._reserved.usd <= usd + 1e-9
        assert account._reserved.tokens == sum(worst.tokens for worst, _ in under_way)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 60), st.integers(1, 16), st.integers(0, 2**32))
def test_threads_together_never_pass_a_cap(calls: int, threads: int, seed: int) -> None:
    chance = random.Random(seed)
    sizes = [chance.randrange(1, 50) for _ in range(100)]
    account = Account(Limits(calls=calls, tokens=1500), SYSTEM_CLOCK)
    door = Gate(account)
    used = []
    lock = threading.Lock()

    def work(size: int) -> None:
        worst = Worst(size, None)
        if passes(door, worst):
            with lock:
                used.append(size)
            account.settle(worst, size, None)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, sizes))
    assert len(used) == account._spent.calls <= calls
    assert sum(used) == account._spent.tokens <= 1500
    if sum(sizes[: calls + 1]) < 700:
        assert len(used) == min(calls, 100)


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("cap", [Limits(usd=0.5), Limits(tokens=1500), Limits(calls=11)])
def test_a_cap_holds_through_the_whole_call_path(rig: Any, threads: int, cap: Limits) -> None:
    spec = ModelSpec(
        model="openai/m",
        max_tokens=100,
        temperature=0.5,
        price=PriceOverride(input_per_million=100, output_per_million=400),
    )
    made = rig(ScriptedModel(latency=0.001), spec=spec, limits=cap)

    def one(number: int) -> bool:
        try:
            made.lm(f"item {number} " + "x" * (number % 40))
        except Halt:
            return False
        return True

    with ThreadPoolExecutor(threads) as pool:
        through = sum(pool.map(one, range(200)))
    spent = made.spent
    assert 0 < through == made.model.attempts == spent.calls < 200
    assert cap.calls is None or spent.calls == cap.calls
    assert cap.usd is None or spent.usd <= cap.usd
    assert cap.tokens is None or spent.input_tokens + spent.output_tokens <= cap.tokens
    assert made.account._reserved.tokens == 0


SPARSE = ModelSpec(
    model="openai/m",
    max_tokens=1000,
    temperature=0.5,
    price=PriceOverride(input_per_million=100, output_per_million=100),
)


def through(made: Any, number: int) -> bool:
    try:
        made.lm(f"item {number}")
    except Halt:
        return False
    return True


def bills(rig: Any) -> tuple[Limits, Limits]:
    """What 40 calls take, and the worst case of one of them."""
    made = rig(ScriptedModel(), spec=SPARSE, run="priced")
    for number in range(40):
        made.lm(f"item {number}")
    spent = made.spent
    document, _, _ = made.engine.keyed(Request(model="openai/m", messages=(Message.user("item 39"),)))
    bound = 1000 + 3 * len(document)
    return (
        Limits(tokens=spent.input_tokens + spent.output_tokens, usd=spent.usd),
        Limits(tokens=bound, usd=bound * 100 / 1e6),
    )


@pytest.mark.parametrize("kind", ["tokens", "usd"])
def test_what_is_only_set_aside_does_not_end_a_run(rig: Any, tmp_path: Any, kind: str) -> None:
    """16 threads, a cap of what is needed and one worst case more: far below 16 worst cases."""
    need, worst = bills(rig)
    cap = getattr(need, kind) + getattr(worst, kind)
    assert cap < 6 * getattr(worst, kind)
    made = rig(ScriptedModel(latency=0.002), spec=SPARSE, limits=Limits(**{kind: cap}), store=fresh(tmp_path))
    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(lambda number: through(made, number), range(40)))
    assert made.gate.closed is None
    assert made.account._reserved.usd == made.account._reserved.tokens == 0


@pytest.mark.parametrize(
    ("caps", "spent", "worst"),
    [
        ({"usd": 1.0}, (10, 0.9), Worst(10, 0.2)),
        ({"tokens": 100}, (90, 0.0), Worst(20, 0.0)),
        ({"calls": 2}, (1, 0.0), Worst(1, 0.0)),
    ],
)
@pytest.mark.parametrize("awaited", [False, True])
def test_a_call_that_does_not_fit_beside_what_is_spent_waits_for_nobody(
    clock: Any, caps: dict[str, Any], spent: tuple[int, float], worst: Worst, *, awaited: bool
) -> None:
    """Though others are under way: what they give back would not be enough."""
    door = gate(clock, **caps)
    small = Worst(1, 0.01)
    with ThreadPoolExecutor(1) as other:
        for _ in range(2):
            other.submit(door.enter, small).result(30)
        other.submit(door.account.settle, small, *spent).result(30)

    def waits(*_: Any, **__: Any) -> bool:
        raise AssertionError("it thinks of waiting")

    door.account.will_settle = waits  # type: ignore[method-assign]
    with pytest.raises(Halt, match="cap"):
        asyncio.run(door.aenter(worst)) if awaited else door.enter(worst)


@pytest.mark.parametrize("kind", ["tokens", "usd"])
def test_a_run_that_stops_leaves_less_than_one_worst_case(rig: Any, tmp_path: Any, kind: str) -> None:
    need, worst = bills(rig)
    cap = getattr(need, kind)
    made = rig(ScriptedModel(latency=0.002), spec=SPARSE, limits=Limits(**{kind: cap}), store=fresh(tmp_path))
    with ThreadPoolExecutor(16) as pool:
        assert not all(pool.map(lambda number: through(made, number), range(300)))
    spent = made.spent
    used = spent.usd if kind == "usd" else spent.input_tokens + spent.output_tokens
    assert cap - getattr(worst, kind) < used <= cap
    assert made.gate.closed is not None
    assert "the next call may take" in made.gate.closed.error.message


def fresh(folder: Any) -> Journal:
    return Journal(folder / "other-ledger.sqlite", folder / "other-responses.sqlite")


def test_awaited_calls_wait_for_room_and_let_others_go_on(rig: Any, tmp_path: Any) -> None:
    need, worst = bills(rig)
    cap = (need.tokens or 0) + (worst.tokens or 0)
    made = rig(ScriptedModel(latency=0.002), spec=SPARSE, limits=Limits(tokens=cap), store=fresh(tmp_path))

    async def all_of_them() -> None:
        await asyncio.gather(*(made.lm.acall(f"item {number}") for number in range(40)))

    asyncio.run(asyncio.wait_for(all_of_them(), 60))
    assert made.model.attempts == 40


BIG = Worst(90, None)


@pytest.mark.parametrize("room", [True, False])
def test_who_waits_is_woken_by_room_and_by_the_end(room: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Woken: who only looked again would look in two minutes."""
    monkeypatch.setattr(budget, "_GLANCE", 120.0)
    door = Gate(Account(Limits(tokens=100), SYSTEM_CLOCK))
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        assert first.submit(passes, door, BIG).result()
        waiting = second.submit(passes, door, Worst(50, None))
        time.sleep(0.05)
        assert not waiting.done()
        if room:
            first.submit(door.account.settle, BIG, 1, None).result()
        else:
            door.interrupt()
        assert waiting.result(timeout=60) is room


@contextlib.contextmanager
def time_goes_by(clock: Any, seconds: float) -> Iterator[None]:
    """Now and then, until the block is over: whoever waits in it waits for so long at least."""
    over = threading.Event()

    def pass_by() -> None:
        while not over.wait(0.05):
            clock.sleep(seconds)

    passing = threading.Thread(target=pass_by)
    passing.start()
    try:
        yield
    finally:
        over.set()
        passing.join()


def test_a_thread_does_not_wait_for_calls_of_its_own(clock: Any) -> None:
    """Its tasks cannot go on while it is blocked; nor does anyone wait for what never ends."""
    door = gate(clock, tokens=100)
    assert passes(door, BIG)
    assert not passes(door, Worst(50, None))
    assert door.closed is not None
    assert "0 are used, and the next call may take 50" in door.closed.error.message


def test_who_waits_gives_up_when_nothing_ends(clock: Any) -> None:
    door = gate(clock, tokens=100)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(passes, door, BIG).result()
        with time_goes_by(clock, 131):
            assert not passes(door, Worst(50, None))


def test_the_cap_on_minutes_ends_the_waiting(clock: Any) -> None:
    door = gate(clock, tokens=100, minutes=1.0)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(passes, door, BIG).result()
        with time_goes_by(clock, 61):
            assert not passes(door, Worst(50, None))
    assert door.closed is not None
    assert "minute" in door.closed.error.message


def refusing(answers: int) -> ScriptedModel:
    """Answers so often, then cannot be reached any more."""

    def fault(number: int, _: Request) -> None:
        if number > answers:
            raise LMTransportError("connection refused")

    return ScriptedModel(fault=fault)


@pytest.mark.parametrize(
    ("answers", "said"), [(0, "4 of 4 attempts failed"), (3, "the last 6 attempts failed")]
)
def test_time_that_ran_out_while_nobody_answered_is_the_providers_doing(
    rig: Any, answers: int, said: str
) -> None:
    minutes = {0: 10 / 60, 3: 40 / 60}[answers]  # pauses of 1, 2, 4, 8, … seconds
    made = rig(refusing(answers), limits=Limits(minutes=minutes), retry=Retry(attempts=20))
    for number in range(answers):
        made.lm(f"item {number}")
    with pytest.raises(Halt) as stopped:
        made.lm("and one more")
    assert stopped.value.cause == "provider"
    error = stopped.value.error
    assert isinstance(error, ProviderError)
    assert error.exit_code == 6
    assert said in error.message
    assert "connection refused" in error.message
    assert "minutes is reached" in error.message


def test_time_that_ran_out_is_the_caps_doing_where_answers_came(rig: Any) -> None:
    """Failures before the last answer, too few after it, and such as are the request's own, are no outage."""
    faults = {1: LMTransportError("refused"), 4: LMTransportError("refused"), 5: LMTransportError("refused")}

    def fault(number: int, _: Request) -> None:
        if number in faults:
            raise faults[number]

    made = rig(ScriptedModel(fault=fault), limits=Limits(minutes=3 / 60))
    made.lm("one")
    made.lm("two")
    with pytest.raises(Halt) as stopped:
        made.lm("three")
    assert stopped.value.cause == "budget"

    def long(number: int, _: Request) -> None:
        raise ContextWindowExceededError(message="too long")

    other = rig(ScriptedModel(fault=long), limits=Limits(minutes=1), run="other", on_failure="raise")
    for number in range(8):
        with pytest.raises(ContextWindowExceededError):
            other.lm(f"long {number}")
    other.clock.sleep(61)
    with pytest.raises(Halt) as ended:
        other.lm("late")
    assert ended.value.cause == "budget"
