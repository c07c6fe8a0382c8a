"""The program that writes skills, awaited and streamed: the answers and the keys are those of threads."""

import asyncio
import contextvars
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import LMTransportError

from meeting_models import Meeting
from skill_fleet.core.programs.skill_creator import SkillCreationProgram
from skill_fleet.llm.journal.journal import Journal
from skill_fleet.llm.offline.model import OfflineModel
from skill_fleet.simulator import Faults, SimulatorSettings, running
from streaming_models import WordByWord

TASKS = [f"Help people {verb} a {thing}" for verb in ("mend", "paint") for thing in "abcdefghij"]
TASK = "Help our team roll back a failed Helm release"


class OfflineWords(WordByWord):
    """The offline model, word by word."""

    def _respond(self, request: Any) -> Any:
        return OfflineModel().complete(request)


class OfflineMeeting(Meeting, OfflineWords):
    """The same, held until so many calls are under way."""


def keys(store: Any) -> set[str]:
    return {key for (key,) in store._db.execute("select key from response").fetchall()}


async def together(lm: Any, program: dspy.Module, tasks: list[str] = TASKS) -> list[Any]:
    with dspy.context(lm=lm):
        return await asyncio.gather(*(program.acall(task_description=task) for task in tasks))


def one_by_one(lm: Any, program: dspy.Module) -> list[Any]:
    with dspy.context(lm=lm):
        return [program(task_description=task) for task in TASKS]


def test_twenty_at_once_answer_as_one_by_one_under_the_same_keys_and_are_paid_once(
    rig: Any, tmp_path: Path
) -> None:
    made = rig(OfflineWords())
    apart = rig(OfflineWords(), store=Journal(tmp_path / "l.sqlite", tmp_path / "r.sqlite"))
    awaited = asyncio.run(together(made.lm, SkillCreationProgram()))
    one_after_another = one_by_one(apart.lm, SkillCreationProgram())
    assert [one.toDict() for one in awaited] == [one.toDict() for one in one_after_another]
    assert keys(made.journal) == keys(apart.journal)
    paid = made.model.attempts
    assert paid == apart.model.attempts == made.spent.settled
    assert [one.toDict() for one in asyncio.run(together(made.lm, SkillCreationProgram()))] == [
        one.toDict() for one in awaited
    ]
    one_by_one(made.lm, SkillCreationProgram())
    assert made.model.attempts == paid, "in whatever way it is asked again"
    apart.journal.close()


def test_twenty_at_once_wait_together(rig: Any) -> None:
    made = rig(OfflineMeeting(len(TASKS)))
    asyncio.run(together(made.lm, SkillCreationProgram()))
    assert made.model.met.is_set()
    assert made.model.most_in_flight == len(TASKS)


def test_equal_programs_at_once_are_paid_once(rig: Any) -> None:
    made = rig(OfflineWords(latency=0.02))
    answers = asyncio.run(together(made.lm, SkillCreationProgram(), [TASK] * 20))
    assert len({one.skill_content for one in answers}) == 1
    assert made.model.attempts <= 5


def test_every_task_has_its_own_context_and_its_own_rollout(rig: Any) -> None:
    made = rig(OfflineWords(latency=0.01))
    mine: contextvars.ContextVar[int] = contextvars.ContextVar("mine")
    seen: list[tuple[int, str]] = []
    program = SkillCreationProgram(on_step=lambda step, _: seen.append((mine.get(), step)))

    async def one(number: int) -> str:
        mine.set(number)
        with dspy.context(lm=made.lm.copy(rollout_id=number, temperature=1.0)):
            return str((await program.acall(task_description=TASK)).skill_content)

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(one(number) for number in range(6)))

    texts = asyncio.run(all_of_them())
    assert len(set(texts)) > 3
    assert {number for number, step in seen if step == "write"} == set(range(6))
    again = [asyncio.run(one(number)) for number in range(6)]
    assert again == texts, "a rollout is the same one wherever it is asked for"


def test_a_task_that_is_cancelled_books_its_call_and_the_others_end(rig: Any) -> None:
    made = rig(OfflineMeeting())

    async def scene() -> list[Any]:
        with dspy.context(lm=made.lm):
            program = SkillCreationProgram()
            tasks = [asyncio.create_task(program.acall(task_description=task)) for task in TASKS[:4]]
            await made.model.under_way(4)
            tasks[1].cancel()
            made.model.met.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = asyncio.run(scene())
    assert [isinstance(one, asyncio.CancelledError) for one in outcomes] == [False, True, False, False]
    spent = made.spent
    assert (spent.failed, spent.possibly_billed) == (1, 1)
    assert made.account._under_way.total() == 0
    assert not made.line.flights


async def parts_of(stream: Any) -> list[Any]:
    return [part async for part in stream]


@pytest.mark.parametrize("awaited", [False, True])
def test_the_skill_is_streamed_while_it_is_written(rig: Any, awaited: bool) -> None:
    made = rig(OfflineWords(pause=0.0005))
    stream = dspy.streamify(
        SkillCreationProgram(),
        stream_listeners=[dspy.streaming.StreamListener("skill_content")],
        is_async_program=awaited,
    )
    with dspy.context(lm=made.lm):
        parts = asyncio.run(parts_of(stream(task_description=TASK)))
        plain = SkillCreationProgram()(task_description=TASK)
    chunks = [part.chunk for part in parts if isinstance(part, dspy.streaming.StreamResponse)]
    assert len(chunks) > 100
    assert parts[-1].toDict() == plain.toDict()
    assert "".join(chunks).strip() == plain.skill_content.strip()
    assert made.model.streamed == 1, "DSPy asks for a stream where somebody listens"
    assert made.model.attempts == made.spent.settled


def test_a_stream_that_breaks_reaches_the_reader_as_what_it_is(rig: Any) -> None:
    def breaks(attempt: int, piece: int) -> None:
        if attempt == 3 and piece == 50:
            raise LMTransportError("the connection broke")

    made = rig(OfflineWords(breaks=breaks), on_failure="raise")
    stream = dspy.streamify(
        SkillCreationProgram(), stream_listeners=[dspy.streaming.StreamListener("skill_content")]
    )
    with dspy.context(lm=made.lm), pytest.raises(LMTransportError):
        asyncio.run(parts_of(stream(task_description=TASK)))
    assert made.spent.possibly_billed == 1
    assert made.account._under_way.total() == 0


def test_a_reader_who_leaves_leaves_nothing_behind(rig: Any) -> None:
    made = rig(OfflineWords(pause=0.001))
    stream = dspy.streamify(
        SkillCreationProgram(),
        stream_listeners=[dspy.streaming.StreamListener("skill_content")],
        is_async_program=True,
    )

    async def read_a_little() -> None:
        parts = stream(task_description=TASK)
        async for part in parts:
            if isinstance(part, dspy.streaming.StreamResponse):
                break
        await parts.aclose()

    with dspy.context(lm=made.lm):
        asyncio.run(read_a_little())
    assert made.spent.possibly_billed == 1
    assert made.account._under_way.total() == 0
    assert not made.line.flights


def test_a_configured_model_streams_over_http(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a whole answer cut to pieces: words are there while the server still sends."""
    from skill_fleet.llm.dspy_config import get_task_lm

    monkeypatch.chdir(workspace)
    drip = Faults(rates={"drip": 1.0}, slow_seconds=0.6)
    with running(SimulatorSettings(faults=drip)) as server:
        config = workspace / "config" / "config.yaml"
        config.write_text(
            "models:\n  default: sim\n  registry:\n    sim: {model: openai/offline/rules-v1, "
            f"api_base: '{server.url}', max_tokens: 4000}}\n"
        )
        stream = dspy.streamify(
            SkillCreationProgram(), stream_listeners=[dspy.streaming.StreamListener("skill_content")]
        )
        still_sent: list[bool] = []

        async def read() -> None:
            async for part in stream(task_description=TASK):
                if isinstance(part, dspy.streaming.StreamResponse):
                    still_sent.append(any(one.delivered is None for one in server.records()))  # noqa: PERF401 - as they come

        with dspy.context(lm=get_task_lm("evaluation", config)):
            asyncio.run(read())
            asked = server.totals().requests
            SkillCreationProgram()(task_description=TASK)
            assert server.totals().requests == asked, "whole, it comes from the journal"
    assert sum(still_sent) > 10
