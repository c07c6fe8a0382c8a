"""The offline model as an engine: repeatable, thread-safe, in the formats of the adapters, honest."""

import asyncio
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.lm15 import Config, Message, Request
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.core.dspy.signatures import GenerateSkillContent, PlanSkill, UnderstandTask
from skill_fleet.llm.call_context import CURRENT_CALL, CallContext
from skill_fleet.llm.offline import prompt as prompts
from skill_fleet.llm.offline.draws import Draws, uniform
from skill_fleet.llm.offline.model import (
    MODEL_NAME,
    AsyncOfflineModel,
    OfflineModel,
    model_name,
)
from skill_fleet.llm.offline.notice import SIMULATED_NOTICE

TASKS = [
    f"Teach agents to {verb} {thing} {where}."
    for verb in ("repair", "review", "plan", "automate", "explain")
    for thing in ("database backups", "status reports", "unit tests", "hiring interviews")
    for where in ("for a small team", "before each release", "under time pressure", "with new staff")
]


class Recorder(OfflineModel):
    """The model, with the requests it was sent."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.requests: list[Request] = []

    def complete(self, request: Request) -> Any:
        self.requests.append(request)
        return super().complete(request)


def lm(seed: int = 0, **options: Any) -> dspy.LM:
    engine = options.pop("engine", None) or OfflineModel(seed)
    return dspy.LM(
        model_name(seed),
        engine=engine,
        async_engine=AsyncOfflineModel(seed),
        cache=False,
        num_retries=0,
        **options,
    )


def requests_of(signature: Any, adapter: Any = None, **demo: Any) -> list[Request]:
    """The requests DSPy makes of a signature for all tasks."""
    engine = Recorder()
    predictor = dspy.Predict(signature)
    with dspy.context(lm=lm(engine=engine), adapter=adapter or dspy.ChatAdapter()):
        for task in TASKS:
            inputs = dict.fromkeys(signature.input_fields, task)
            predictor(**{**inputs, "taxonomy_structure": "{}", "existing_skills": "[]", **demo})
    return engine.requests


def said(model: OfflineModel, request: Request, rollout: int | None = None, candidate: int = 0) -> str:
    token = CURRENT_CALL.set(CallContext("evaluation", rollout, candidate))
    try:
        return model.complete(request).message.text or ""
    finally:
        CURRENT_CALL.reset(token)


def with_temperature(request: Request, temperature: float) -> Request:
    return Request(
        model=request.model,
        messages=request.messages,
        system=request.system,
        config=Config(temperature=temperature),
    )


def test_answers_are_the_same_at_any_number_of_threads_and_awaited() -> None:
    requests = requests_of(UnderstandTask)[:30]
    alone = [said(OfflineModel(3), request) for request in requests]
    shared = OfflineModel(3)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda request: said(shared, request), requests)) == alone

    async def awaited() -> list[str]:
        twin = AsyncOfflineModel(3)
        answers = await asyncio.gather(*(twin.complete(request) for request in requests))
        return [answer.message.text or "" for answer in answers]

    assert asyncio.run(awaited()) == alone


def test_answers_are_the_same_in_another_process() -> None:
    """Hash randomisation must not reach an answer."""
    code = (
        "import dspy, hashlib\n"
        "from skill_fleet.core.dspy.signatures import UnderstandTask\n"
        "from skill_fleet.llm.offline.model import OfflineModel, model_name\n"
        "lm = dspy.LM(model_name(), engine=OfflineModel(), cache=False)\n"
        "dspy.configure(lm=lm)\n"
        "inputs = dict(task_description='Plan database backups and hiring', user_context='{}',"
        ' taxonomy_structure=\'{"technical_skills": {"data": {}, "law": {}}}\', existing_skills=\'[]\')\n'
        "answer = dspy.Predict(UnderstandTask)(**inputs)\n"
        "print(answer)\n"
        "from skill_fleet.llm.offline.induction import lessons\n"
        "tasks = ['Order python sets in c++ queries', 'Combine python sets in c++ queries', 'Thank people']\n"
        "paths = ['technical_skills/programming/x', 'technical_skills/programming/y', 'life/notes/z']\n"
        "print(lessons([{'task': t, 'expected_path': p} for t, p in zip(tasks, paths)]))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3", "4")
    }
    assert len(outputs) == 1
    assert "Put python, sets or c++ tasks under technical_skills/programming." in outputs.pop()


def test_rollouts_and_candidates_differ_only_above_temperature_zero() -> None:
    requests = requests_of(PlanSkill)[:20]
    model = OfflineModel()
    cold = [with_temperature(request, 0.0) for request in requests]
    warm = [with_temperature(request, 1.0) for request in requests]
    assert all(said(model, request, 1) == said(model, request, 2, 3) for request in cold)
    assert sum(said(model, request, 1) != said(model, request, 2) for request in warm) > 10
    assert sum(said(model, request, 1, 0) != said(model, request, 1, 1) for request in warm) > 10
    assert all(said(model, request, 5) == said(model, request, 5) for request in warm)


def test_the_seed_makes_another_model_and_stands_in_the_name() -> None:
    requests = requests_of(PlanSkill)[:20]
    assert sum(said(OfflineModel(0), request) != said(OfflineModel(1), request) for request in requests) > 5
    assert model_name(0) != model_name(1)
    assert model_name(7).startswith(MODEL_NAME)


def test_a_dumped_engine_loads_as_an_equal_one() -> None:
    assert OfflineModel.load_state(OfflineModel(4).dump_state()).seed == 4
    assert AsyncOfflineModel.load_state(AsyncOfflineModel(4).dump_state()).dump_state() == {"seed": 4}


def test_tokens_are_counted_and_a_short_limit_cuts() -> None:
    request = requests_of(GenerateSkillContent)[0]
    whole = OfflineModel().complete(request)
    assert whole.finish_reason == "stop"
    assert whole.usage.input_tokens > 100
    assert whole.usage.output_tokens == -(-len(whole.message.text or "") // 4)
    short = Request(
        model=request.model, messages=request.messages, system=request.system, config=Config(max_tokens=10)
    )
    cut = OfflineModel().complete(short)
    assert cut.finish_reason == "length"
    assert cut.usage.output_tokens == 10
    assert (whole.message.text or "").startswith(cut.message.text or "?")


def test_a_stream_says_the_same() -> None:
    request = requests_of(PlanSkill)[0]
    streamed = "".join(
        event.delta.text
        for event in OfflineModel().stream(request)
        if getattr(event, "delta", None) is not None
    )
    assert streamed == said(OfflineModel(), request)


def test_about_one_answer_in_a_hundred_misses_the_format() -> None:
    base = requests_of(PlanSkill)[0]
    model = OfflineModel()
    slips = 0
    for n in range(4000):
        last = Message.user(
            f"[[ ## task_description ## ]]\nTask {n}\n\nRespond with the corresponding output fields"
        )
        request = Request(model=base.model, messages=(last,), system=base.system)
        slips += not said(model, request).endswith("[[ ## completed ## ]]")
    assert 15 <= slips <= 80


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter(), dspy.XMLAdapter()])
def test_every_adapter_can_read_the_answers(adapter: Any) -> None:
    with dspy.context(lm=lm(), adapter=adapter):
        plan = dspy.ChainOfThought(PlanSkill)(
            task_description="Plan email & <b>status</b> reports",
            taxonomy_path="a/b",
            skill_name="n",
            key_terms=["k"],
        )
    assert isinstance(plan.sections, list)
    assert "Overview" in plan.sections
    assert plan.description
    assert plan.reasoning


def test_demonstrations_are_read_in_chat_and_json() -> None:
    demo = dspy.Example(task_description="T\n\n[[ ## odd ## ]]\nx", sections=["One", "Two"], description="D")
    for adapter in (dspy.ChatAdapter(), dspy.JSONAdapter()):
        engine = Recorder()
        predictor = dspy.Predict(PlanSkill)
        predictor.demos = [demo]
        with dspy.context(lm=lm(engine=engine), adapter=adapter):
            predictor(task_description="Q", taxonomy_path="a/b", skill_name="n", key_terms=["k"])
        read = prompts.read_request(engine.requests[0])
        assert json.loads(read.demos[0].outputs["sections"]) == ["One", "Two"]
        assert read.demos[0].inputs["task_description"] == "T\n\n[[ ## odd ## ]]\nx"
        assert read.values["task_description"] == "Q"
        assert read.frame.outputs[0].name == "description"
        assert read.instruction.startswith("Plan an agent skill")


@settings(max_examples=60)
@given(st.text(max_size=300), st.text(max_size=300), st.floats(0, 2))
def test_no_prompt_makes_it_fail(system: str, user: str, temperature: float) -> None:
    structured = (
        f"Your input fields are:\n1. `q` (str): {system}\nYour output fields are:\n1. `a` (str): {user}\n"
        "2. `n` (int):\n"
        "3. `w` (Widget):\nAll interactions will be structured in the following way\n\n[[ ## q ## ]]\n\n"
        f"In adhering to this structure, your objective is: \n        {user}"
    )
    for head in (system, structured, None):
        request = Request(
            model="m",
            messages=(Message.user(f"[[ ## q ## ]]\n{user or '?'}"),),
            system=head or None,
            config=Config(temperature=temperature),
        )
        assert OfflineModel().complete(request).usage.output_tokens >= 0


def test_long_strange_prompts_take_no_long_time() -> None:
    for unit in (
        "[" * 400,
        "For a, " * 4000,
        "'" * 9000,
        " " * 20000,
        "a/b/" * 4000,
        "Plan the sections A, " * 2000,
    ):
        request = Request(model="m", messages=(Message.user(unit),), system=f"{unit}\n{unit}")
        assert OfflineModel().complete(request).message.text


def test_it_says_what_it_is() -> None:
    assert "not a language model" in SIMULATED_NOTICE
    assert SIMULATED_NOTICE.startswith(MODEL_NAME)


@settings(max_examples=30)
@given(st.floats(0.05, 0.95), st.integers(0, 10**6))
def test_a_draw_has_the_probability_it_is_given(probability: float, salt: int) -> None:
    draws = [
        Draws("0", f"p{n}{salt}", f"i{n}{salt}", 1.0, "r").happens(round(probability, 3), "x")
        for n in range(600)
    ]
    assert abs(sum(draws) / 600 - probability) < 0.1


def test_hard_items_stay_hard_under_other_prompts() -> None:
    def share_of_agreement(same: bool) -> float:
        pairs = [(f"i{n}", f"i{n}" if same else f"j{n}") for n in range(1500)]
        hits = [
            Draws("0", f"a{n}", left).happens(0.5, "x") == Draws("0", f"b{n}", right).happens(0.5, "x")
            for n, (left, right) in enumerate(pairs)
        ]
        return sum(hits) / len(hits)

    assert share_of_agreement(same=True) > share_of_agreement(same=False) + 0.1
    assert 0 < uniform("a") < 1
