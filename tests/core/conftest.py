"""A model that plays the steps of skill creation from a script."""

import json
import re
import threading

import dspy
import pytest

from skill_fleet.llm.testing import ScriptedModel

STEP_OF = {
    "taxonomy_path": "understand",
    "sections": "plan",
    "skill_content": "write",
    "issues": "review",
    "repaired_content": "repair",
}
GOOD = """---
name: python-async-await
description: Writes asyncio code. Use when someone asks for async functions in Python.
---

# Python async

## Overview

Use asyncio when many waits overlap.

## Syntax

Write `async def` and `await`.

## Examples

Run `asyncio.run(main())`.
"""
USUAL = {
    "understand": {
        "taxonomy_path": "technical_skills/programming/python/async",
        "skill_name": "python-async-await",
        "key_terms": ["asyncio", "await"],
    },
    "plan": {
        "reasoning": "Because.",
        "description": "Writes asyncio code. Use when someone asks for async functions in Python.",
        "sections": ["Overview", "Syntax", "Examples"],
    },
    "write": {"skill_content": GOOD},
    "review": {"issues": []},
    "repair": {"repaired_content": GOOD},
}


class Play:
    """Answers each step from the script and remembers what it was asked.

    Args:
        script: Step -> its output fields, laid over the usual ones.
    """

    def __init__(self, **script):
        self.script = {step: {**fields, **script.get(step, {})} for step, fields in USUAL.items()}
        self.asked = []
        self._lock = threading.Lock()

    def __call__(self, request):
        last = request.messages[-1].text
        system = (
            request.system if isinstance(request.system, str) else "".join(p.text for p in request.system)
        )
        outputs = system.partition("Your output fields are:")[2].partition("All interactions")[0]
        step = next(STEP_OF[name] for name in re.findall(r"`(\w+)`", outputs) if name in STEP_OF)
        with self._lock:
            self.asked.append((step, last))
        fields = self.script[step].items()
        return "\n\n".join(f"[[ ## {name} ## ]]\n{_shown(value)}" for name, value in fields) + (
            "\n\n[[ ## completed ## ]]"
        )

    def steps(self):
        return [step for step, _ in self.asked]

    def asked_of(self, step):
        return next(text for name, text in self.asked if name == step)

    def lm(self):
        model = ScriptedModel(answer=self)
        return dspy.LM("openai/scripted", engine=model, async_engine=_Awaited(model), cache=False)


class _Awaited:
    def __init__(self, model):
        self.complete = model.acomplete


def _shown(value):
    return value if isinstance(value, str) else json.dumps(value)


@pytest.fixture
def play():
    return Play


@pytest.fixture
def good():
    return GOOD
