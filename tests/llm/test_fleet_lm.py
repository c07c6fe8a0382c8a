"""The LM of a phase: what it tells its engine, what it keeps apart, what a program may do with it."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.lm15 import Message, Request

from skill_fleet.config.settings import ModelSpec
from skill_fleet.llm.call_context import CURRENT_CALL, CallContext, current_call
from skill_fleet.llm.testing import ScriptedModel


class Watching(ScriptedModel):
    """Notes what each call was part of."""

    def __init__(self) -> None:
        super().__init__(answer=self._note)
        self.seen: list[tuple[str, int | None, int]] = []

    def _note(self, _: Request) -> None:
        call = current_call()
        self.seen.append((call.phase, call.rollout, call.candidate))


def test_phase_rollout_and_candidate_reach_the_model(rig: Any) -> None:
    made = rig(Watching(), phase="judge")
    made.lm("a")
    made.lm("b", rollout_id=4)
    made.lm.copy(rollout_id=5)("c")
    made.lm("d", n=2, rollout_id=6)
    asyncio.run(made.lm.acall("e", rollout_id=7))
    assert made.model.seen == [
        ("judge", None, 0),
        ("judge", 4, 0),
        ("judge", 5, 0),
        ("judge", 6, 0),
        ("judge", 6, 1),
        ("judge", 7, 0),
    ]


def test_nothing_of_a_call_is_left_behind(rig: Any) -> None:
    made = rig(Watching())
    made.lm("a", rollout_id=4)
    assert CURRENT_CALL.get() is None
    with pytest.raises(ValueError, match="positive"):
        made.lm("a", n=0)
    assert CURRENT_CALL.get() is None
    assert current_call() == CallContext("evaluation")


def test_threads_and_tasks_do_not_mix_their_rollouts(rig: Any) -> None:
    made = rig(Watching())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: made.lm(f"thread {number}", rollout_id=number, n=2), range(40)))

    async def tasks() -> None:
        await asyncio.gather(*(made.lm.acall(f"task {n}", rollout_id=n, n=2) for n in range(100, 120)))

    asyncio.run(tasks())
    expected = [("evaluation", r, c) for r in (*range(40), *range(100, 120)) for c in (0, 1)]
    assert sorted(made.model.seen) == sorted(expected)


def test_an_explicit_request_is_a_call_like_any_other(rig: Any) -> None:
    made = rig(Watching(), phase="profiling")
    request = Request(model="offline/scripted", messages=(Message.user("x"),))
    assert made.lm(request).message.text
    assert made.lm(request=request, rollout_id=3).message.text
    assert made.model.seen == [("profiling", None, 0), ("profiling", 3, 0)]


def test_best_of_n_gets_different_answers(rig: Any) -> None:
    """A rollout that does not reach the model makes BestOfN try the same answer again and again."""
    made = rig()
    tried: list[str] = []

    def reward(_: Any, pred: Any) -> float:
        tried.append(pred.answer)
        return 0.0

    with dspy.context(lm=made.lm):
        dspy.BestOfN(dspy.Predict("question -> answer"), N=5, reward_fn=reward, threshold=1.0)(question="x")
    assert len(set(tried)) == 5
    assert made.model.attempts == 5


def test_a_failed_parse_costs_the_second_try_of_the_json_adapter_and_both_are_kept(rig: Any) -> None:
    model = ScriptedModel(
        answer=lambda request: None if "JSON" in (request.messages[-1].text or "") else "no marks"
    )
    made = rig(model)
    program = dspy.Predict("question -> answer")
    with dspy.context(lm=made.lm):
        first = program(question="x").answer
        assert program(question="x").answer == first
    assert model.attempts == 2
    assert made.spent.settled == 2


def test_dspys_own_cache_is_never_made(rig: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a pickle. DSPy makes it on first use; no call of ours may be that use."""
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "dspy"))
    had = dspy.__dict__.pop("cache", None)
    try:
        made = rig()
        assert made.lm.cache is False
        with dspy.context(lm=made.lm):
            dspy.ChainOfThought("question -> answer")(question="x")
        assert "cache" not in dspy.__dict__
        assert not (tmp_path / "dspy").exists()
    finally:
        if had is not None:
            dspy.__dict__["cache"] = had


def test_a_program_is_saved_without_model_or_secret_and_loads_again(rig: Any, tmp_path: Path) -> None:
    made = rig()
    program = dspy.ChainOfThought("question -> answer")
    with dspy.context(lm=made.lm):
        before = program(question="x").answer
    program.save(tmp_path / "p.json")
    saved = json.loads((tmp_path / "p.json").read_text())
    assert saved["predict"]["lm"] is None
    again = dspy.ChainOfThought("question -> answer")
    again.load(tmp_path / "p.json")
    with dspy.context(lm=made.lm):
        assert again(question="x").answer == before
    assert made.model.attempts == 1


def test_the_models_own_defaults_are_sent(rig: Any) -> None:
    sent: list[Request] = []
    model = ScriptedModel(fault=lambda _, request: sent.append(request))
    made = rig(model, spec=ModelSpec(model="openai/m", temperature=0.3, max_tokens=77))
    made.lm("x")
    made.lm("x", temperature=0.9, max_tokens=5)
    rig(model, spec=ModelSpec(model="openai/m"), run="plain").lm("x")
    assert [(request.config.temperature, request.config.max_tokens) for request in sent] == [
        (0.3, 77),
        (0.9, 5),
        (None, None),
    ]


def test_a_connection_cannot_be_given_with_a_call(rig: Any) -> None:
    made = rig()
    for option in ("api_base", "api_key"):
        with pytest.raises(ValueError, match=option):
            made.lm("x", **{option: "http://elsewhere"})
    assert made.model.attempts == 0


def test_simulated_is_told_by_the_model(rig: Any) -> None:
    assert rig().lm.simulated
    assert not rig(spec=ModelSpec(model="openai/m")).lm.simulated
