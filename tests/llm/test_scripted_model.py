"""The scripted model that other tests stand on."""

import asyncio
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.lm15 import Message, Request
from pydantic import BaseModel

from skill_fleet.llm.testing import ScriptedModel, request_text


def asked(text: str) -> Request:
    return Request(model="offline/scripted", messages=(Message.user(text),))


def test_it_answers_the_same_to_the_same_and_differently_to_anything_else(rig: Any) -> None:
    def fresh(**options: Any) -> str:
        from skill_fleet.llm.call_context import CURRENT_CALL, CallContext

        token = CURRENT_CALL.set(
            CallContext("evaluation", options.get("rollout"), options.get("candidate", 0))
        )
        try:
            return ScriptedModel().complete(asked(options.get("text", "x"))).message.text or ""
        finally:
            CURRENT_CALL.reset(token)

    different = [{}, {"text": "y"}, {"rollout": 1}, {"rollout": 2}, {"candidate": 1}]
    answers = [fresh(**options) for options in different]
    assert len(set(answers)) == len(different)
    assert [fresh(**options) for options in different] == answers


class Item(BaseModel):
    name: str


@pytest.mark.parametrize(
    "signature",
    ["question -> answer", "a, b -> first, second, third", "question -> reasoning, answer"],
)
def test_it_fills_every_field_of_a_signature(rig: Any, signature: str) -> None:
    made = rig()
    inputs = dict.fromkeys(dspy.Signature(signature).input_fields, "x")
    for adapter in (dspy.ChatAdapter(), dspy.JSONAdapter()):
        with dspy.context(lm=made.lm, adapter=adapter):
            result = dspy.Predict(signature)(**inputs)
        for name in dspy.Signature(signature).output_fields:
            assert getattr(result, name).startswith(f"{name}-")


def test_it_counts_logs_and_fails_as_told(tmp_path: Path) -> None:
    def fault(number: int, _: Request) -> None:
        if number == 2:
            raise ValueError("as told")

    model = ScriptedModel(fault=fault, log=tmp_path / "log")
    model.complete(asked("x"))
    with pytest.raises(ValueError, match="as told"):
        asyncio.run(model.acomplete(asked("x")))
    model.complete(asked("x"))
    assert (model.attempts, model.in_flight, model.most_in_flight) == (3, 0, 1)
    lines = (tmp_path / "log").read_text().split()
    assert len(lines) == 3
    assert len(set(lines)) == 1


def test_a_script_may_answer_itself() -> None:
    model = ScriptedModel(answer=lambda request: "mine" if "please" in request_text(request) else None)
    assert model.complete(asked("please")).message.text == "mine"
    assert model.complete(asked("no")).message.text != "mine"
