"""One answer for one request: what is shared, what is kept apart, and by whom."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.lm15 import Message, Request

from meeting_models import Meeting
from skill_fleet.config.settings import ModelSpec, PriceOverride
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.llm.calls.engine import AsyncMeteredEngine, Line
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.journal import Journal
from skill_fleet.llm.testing import ScriptedModel


class Unrepeatable:
    """A model that never says the same twice, so that a second payment cannot pass for a shared answer."""

    def __init__(self, latency: float = 0.0, *, held: bool = False) -> None:
        self.meeting = Meeting(answer=self._next)
        self._model = self.meeting if held else ScriptedModel(latency=latency, answer=self._next)
        self._count = 0
        self._lock = threading.Lock()
        self.complete, self.acomplete = self._model.complete, self._model.acomplete

    @property
    def attempts(self) -> int:
        return self._model.attempts

    @property
    def most_in_flight(self) -> int:
        return self._model.most_in_flight

    def _next(self, _: Request) -> str:
        with self._lock:
            self._count += 1
            return f"answer {self._count}"


def asked(text: str = "hello", model: str = "offline/scripted") -> Request:
    return Request(model=model, messages=(Message.user(text),))


async def together(lm: Any, text: str, count: int) -> list[str]:
    return [out[0] for out in await asyncio.gather(*(lm.acall(text) for _ in range(count)))]


def test_64_equal_calls_in_threads_are_one_attempt(rig: Any) -> None:
    made = rig(Unrepeatable(0.05))
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda _: made.lm("hello")[0], range(64)))
    assert made.model.attempts == 1
    assert set(answers) == {"answer 1"}
    assert (made.line.traffic.made, made.line.traffic.from_journal) == (1, 63)
    assert made.spent.calls == 1
    assert not made.line.flights, "nothing is left under way"


def test_64_equal_calls_in_tasks_are_one_attempt(rig: Any) -> None:
    made = rig(Unrepeatable(0.05))
    assert set(asyncio.run(together(made.lm, "hello", 64))) == {"answer 1"}
    assert made.model.attempts == 1


def test_equal_calls_of_threads_and_of_tasks_are_one_attempt(rig: Any) -> None:
    made = rig(Unrepeatable(0.05))
    with ThreadPoolExecutor(33) as pool:
        tasks = pool.submit(lambda: asyncio.run(together(made.lm, "hello", 32)))
        threads = list(pool.map(lambda _: made.lm("hello")[0], range(32)))
        answers = [*tasks.result(), *threads]
    assert set(answers) == {"answer 1"}
    assert made.model.attempts == 1


@pytest.mark.parametrize("how", ["thread", "task"])
def test_an_equal_call_that_ends_between_look_up_and_claim_is_not_paid_again(rig: Any, how: str) -> None:
    made = rig(Unrepeatable())
    look_up = made.journal.lookup

    def overtaken(key: str) -> str | None:
        found = look_up(key)
        made.journal.lookup = look_up
        with ThreadPoolExecutor(1) as pool:
            pool.submit(made.lm, "hello").result()
        return found

    made.journal.lookup = overtaken
    answer = asyncio.run(made.lm.acall("hello")) if how == "task" else made.lm("hello")
    assert answer == ["answer 1"]
    assert made.model.attempts == 1


def test_call_await_and_stream_share_one_key(rig: Any) -> None:
    made = rig(Unrepeatable())
    whole = made.engine.complete(asked())
    assert asyncio.run(AsyncMeteredEngine(made.engine).complete(asked())) == whole

    async def streamed() -> list[Any]:
        return [event async for event in AsyncMeteredEngine(made.engine).stream(asked())]

    for events in (list(made.engine.stream(asked())), asyncio.run(streamed())):
        said = "".join(getattr(getattr(event, "delta", None), "text", "") or "" for event in events)
        assert said == whole.message.text
    assert made.model.attempts == 1


def test_a_streamed_program_says_the_same_and_pays_once(rig: Any) -> None:
    made = rig()
    program = dspy.Predict("question -> answer")
    with dspy.context(lm=made.lm):
        plain = program(question="why").answer

        async def words() -> Any:
            stream = dspy.streamify(
                program, stream_listeners=[dspy.streaming.StreamListener(signature_field_name="answer")]
            )
            return [part async for part in stream(question="why")]

        parts = asyncio.run(words())
    assert parts[-1].answer == plain
    assert "".join(part.chunk for part in parts if hasattr(part, "chunk")).strip() == plain
    assert made.model.attempts == 1


def test_what_makes_another_call_has_another_key(rig: Any) -> None:
    made = rig(Unrepeatable())
    at = {"temperature": 0.9}
    calls: list[dict[str, Any]] = [
        {},
        {"rollout_id": 1},
        {"rollout_id": 2},
        at,
        {"rollout_id": 1, **at},
        {"max_tokens": 50},
    ]
    first = [made.lm("hello", **options)[0] for options in calls]
    assert len(set(first)) == len(calls) == made.model.attempts
    assert [made.lm("hello", **options)[0] for options in calls] == first
    assert asyncio.run(made.lm.acall("hello", rollout_id=2))[0] == first[2]
    copied = made.lm.copy(rollout_id=2)
    assert copied("hello")[0] == first[2], "a rollout set on a copy is the same rollout"
    assert made.lm("hello")[0] == first[0], "and stays on the copy"
    assert made.model.attempts == len(calls)


def test_n_completions_are_n_answers_and_are_found_again(rig: Any, journal: Any) -> None:
    made = rig(Unrepeatable())
    answers = made.lm("hello", n=3)
    assert answers == ["answer 1", "answer 2", "answer 3"]
    assert made.lm("hello", n=3) == answers
    assert asyncio.run(made.lm.acall("hello", n=3)) == answers
    assert made.lm("hello") == ["answer 1"], "one completion is the first of three"
    assert made.lm("hello", n=4) == [*answers, "answer 4"], "a fourth costs one call"
    assert made.model.attempts == 4
    assert made.lm("hello", n=3, rollout_id=1)[0] not in answers


def test_n_completions_cut_short_cost_only_what_is_missing(rig: Any) -> None:
    from skill_fleet.llm.budget import Limits

    first = rig(Unrepeatable(), limits=Limits(calls=2))
    with pytest.raises(Halt):
        first.lm("hello", n=3)
    second = rig(first.model)
    assert second.lm("hello", n=3) == ["answer 1", "answer 2", "answer 3"]
    assert first.model.attempts == 3


def test_address_and_model_tell_calls_apart_and_key_and_price_do_not(rig: Any) -> None:
    specs = [
        ModelSpec(model="openai/m"),
        ModelSpec(model="openai/m", api_base="http://127.0.0.1:1/v1"),
        ModelSpec(model="openai/m", api_base="http://127.0.0.1:2/v1"),
        ModelSpec(model="openai/other"),
    ]
    model = Unrepeatable()
    first = [rig(model, spec=spec).lm("hello")[0] for spec in specs]
    assert len(set(first)) == 4
    for change in (
        {"price": PriceOverride(input_per_million=1, output_per_million=1)},
        {"timeout": 5.0},
        {"in_flight": 3},
        {"api_key_env": "OTHER"},
    ):
        assert rig(model, spec=specs[0].model_copy(update=change)).lm("hello")[0] == first[0]
    assert model.attempts == 4


def test_phases_share_answers_and_are_counted_apart(rig: Any) -> None:
    model = Unrepeatable()
    profiling = rig(model, phase="profiling")
    judge = rig(model, phase="judge", line=profiling.line)
    assert profiling.lm("one") == judge.lm("one")
    judge.lm("two")
    assert profiling.spent.by_phase == {"judge": 1, "profiling": 1}


def test_a_key_is_a_digest_of_what_is_asked_and_of_nothing_else(rig: Any) -> None:
    """That it holds across processes is shown by the run that is killed five times."""
    keys = {
        rig(run=run, phase=phase).engine.keyed(asked())[1]
        for run, phase in [("a", "judge"), ("b", "profiling")]
    }
    assert len(keys) == 1
    assert len(keys.pop()) == 64


def test_a_cancelled_waiter_cancels_nobody_else(rig: Any) -> None:
    made = rig(Unrepeatable(held=True))

    async def scene() -> list[str]:
        leader = asyncio.create_task(made.lm.acall("hello"))
        await made.model.meeting.under_way()
        waiters = [asyncio.create_task(made.lm.acall("hello")) for _ in range(4)]
        await asyncio.sleep(0.02)
        waiters[0].cancel()
        waiters[2].cancel()
        made.model.meeting.met.set()
        done = await asyncio.gather(leader, *waiters, return_exceptions=True)
        assert [isinstance(one, asyncio.CancelledError) for one in done] == [False, True, False, True, False]
        return [one[0] for one in done if isinstance(one, list)]

    assert asyncio.run(scene()) == ["answer 1"] * 3
    assert made.model.attempts == 1
    assert made.spent.settled == 1


def test_a_cancelled_leader_is_booked_and_its_waiters_go_on(rig: Any) -> None:
    made = rig(Unrepeatable(held=True))

    async def scene() -> Any:
        leader = asyncio.create_task(made.lm.acall("hello"))
        await made.model.meeting.under_way()
        waiter = asyncio.create_task(made.lm.acall("hello"))
        await asyncio.sleep(0.02)
        leader.cancel()
        made.model.meeting.met.set()
        return await waiter

    assert asyncio.run(scene())[0].startswith("answer")
    spent = made.spent
    assert (spent.calls, spent.settled, spent.failed) == (2, 1, 1), "the cancelled one may have been billed"


def test_a_blocking_call_in_a_task_does_not_wait_for_another_task_of_its_thread(rig: Any) -> None:
    """The task that makes the call cannot go on while its own thread waits: that would be for ever."""
    made = rig(Unrepeatable(0.1))

    async def scene() -> tuple[str, str]:
        leader = asyncio.create_task(made.lm.acall("hello"))
        await asyncio.sleep(0.05)
        blocking = made.lm("hello")[0]
        return blocking, (await leader)[0]

    outcome: list[tuple[str, str]] = []
    thread = threading.Thread(target=lambda: outcome.append(asyncio.run(scene())), daemon=True)
    thread.start()
    thread.join(60)
    assert outcome, "it hangs"
    assert outcome[0][0] == outcome[0][1], "both get the answer that was stored first"


@pytest.mark.parametrize("how", ["threads", "tasks", "both"])
def test_no_more_calls_in_flight_than_the_model_takes_whatever_the_phase(rig: Any, how: str) -> None:
    spec = ModelSpec(model="offline/scripted", temperature=0.7, in_flight=3)
    model = Meeting(3, alone=1)
    one = rig(model, spec=spec)
    two = rig(model, spec=spec, line=one.line, phase="judge")

    async def tasks(first: int) -> None:
        await asyncio.gather(*((one, two)[n % 2].lm.acall(f"item {n}") for n in range(first, first + 16)))

    with ThreadPoolExecutor(17) as pool:
        waiting = [pool.submit(lambda: asyncio.run(tasks(100)))] if how != "threads" else []
        if how != "tasks":
            waiting += [pool.submit((one, two)[n % 2].lm, f"item {n}") for n in range(16)]
        for future in waiting:
            future.result()
    assert model.attempts == (32 if how == "both" else 16)
    assert model.most_in_flight == 3


def test_a_call_that_waits_for_its_turn_is_not_made_after_the_end(rig: Any) -> None:
    spec = ModelSpec(model="offline/scripted", temperature=0.7, in_flight=1)
    made = rig(Meeting(), spec=spec)
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(made.lm, f"item {number}") for number in range(8)]
        made.model.wait_until_under_way()
        made.gate.interrupt()
        made.model.met.set()
        outcomes = [future.exception() for future in futures]
    assert made.model.attempts == 1, "only the one that was under way"
    assert sum(isinstance(outcome, Halt) for outcome in outcomes) == 7
    assert made.spent.calls == 1, "no intent was written for the others"


def test_a_program_replays_from_the_journal_of_another_session(rig: Any, tmp_path: Path) -> None:
    def session(model: Any) -> Any:
        store = Journal(tmp_path / "l", tmp_path / "r")
        made = rig(model, store=store, line=Line(store, "run", SYSTEM_CLOCK))
        program = dspy.ChainOfThought("question -> answer")
        with dspy.context(lm=made.lm):
            answers = [program(question=f"q{number}").answer for number in range(5)]
        store.close()
        return answers

    model = ScriptedModel()
    first = session(model)
    assert model.attempts == 5
    assert session(model) == first
    assert model.attempts == 5, "a replay pays nothing"


def test_a_copy_of_a_program_shares_the_models_machinery(rig: Any) -> None:
    made = rig()
    program = dspy.Predict("question -> answer")
    program.set_lm(made.lm)
    twin = program.deepcopy()
    assert twin.lm is made.lm
    other = made.lm.copy(rollout_id=7)
    assert other is not made.lm
    assert other.engine is made.engine
    assert "rollout_id" not in made.lm.kwargs
    assert other.phase == made.lm.phase
