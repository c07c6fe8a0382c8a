"""Advice after an attempt, by DSPy's own question (`OfferFeedback`), and an adapter that shows it.

`dspy.Refine` holds both inside one method. The words of the question and the name of the hint are DSPy's.
"""

import functools
import inspect
import json
from collections.abc import Mapping
from typing import Any

import dspy
from dspy.predict.refine import OfferFeedback, inspect_modules
from dspy.utils.exceptions import AdapterParseError

from skill_fleet.core.dspy.attempts import PERFECT, Attempt, Reward
from skill_fleet.core.dspy.source_code import read_alone

HINT = "hint_"
_NOTHING = "N/A"


def advise(program: dspy.Module, reward: Reward, attempt: Attempt) -> Mapping[str, str]:
    """What each predictor should do otherwise, by its name; empty where the answer cannot be read.

    One call of the model that runs the program.

    Args:
        program: What made the attempt.
        reward: What judged it; its source is shown, so that its docstring is read.
        attempt: How it went.
    """
    steps = [
        {"module_name": name, "inputs": dict(given), "outputs": dict(said)}
        for name, given, said in attempt.steps
    ]
    asked = {
        "program_code": _source(type(program)),
        "modules_defn": inspect_modules(program),
        "program_inputs": _shown(dict(attempt.inputs)),
        "program_trajectory": _shown(steps),
        "program_outputs": _shown(dict(attempt.prediction)),
        "reward_code": _source(reward),
        "target_threshold": PERFECT,
        "reward_value": attempt.reward,
        "module_names": [name for name, _ in program.named_predictors()],
    }
    try:
        with dspy.context(trace=[]):
            advice = dspy.Predict(OfferFeedback)(**asked).advice
    except AdapterParseError:
        return {}
    return {str(name): str(words) for name, words in advice.items()} if isinstance(advice, dict) else {}


class Hinting(dspy.Adapter):
    """The adapter in use, with one more input for every predictor: what the last attempt taught.

    Args:
        program: Whose predictors are advised.
        advice: By predictor's name.
    """

    def __init__(self, program: dspy.Module, advice: Mapping[str, str]) -> None:
        super().__init__()
        self._inner = dspy.settings.adapter or dspy.ChatAdapter()
        self._hints = {one.signature: advice.get(name, _NOTHING) for name, one in program.named_predictors()}

    def __call__(self, lm: Any, lm_kwargs: Any, signature: Any, demos: Any, inputs: Any) -> Any:
        """The inner adapter's answer to the question with its hint."""
        hinted = signature.append(HINT, dspy.InputField(desc="A hint to the module from an earlier run"))
        given = {**inputs, HINT: self._hints.get(signature, _NOTHING)}
        return self._inner(lm, lm_kwargs, hinted, demos, given)


def _source(of: Any) -> str:
    """The code of a class or function, the same in every thread: it is part of a prompt."""
    try:
        return read_alone(lambda: _read(of))
    except (OSError, TypeError):
        return str(getattr(of, "__qualname__", of))


@functools.lru_cache(maxsize=256)
def _read(of: Any) -> str:
    return inspect.getsource(of)


def _shown(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=lambda one: f"<{type(one).__name__}>")
