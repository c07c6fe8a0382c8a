"""Which step of a program is being taken: the name of the predictor that is called."""

from collections.abc import Callable
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback


class StepNames(BaseCallback):
    """A callback of DSPy that tells each step as it begins.

    Its name is the predictor's in the outermost program that was called: `write` of `SkillCreationProgram`,
    `plan` of its chain of thought. A predictor of no program that was seen has an empty name.

    Args:
        tell: Told the name, in the thread that takes the step.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        # With the predictor itself, so that no other one can get its identity: programs are copied.
        self._known: dict[int, tuple[str, Any]] = {}

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: ARG002 - DSPy's
        """A module is called, the outermost first."""
        if isinstance(instance, dspy.Predict):
            self._tell(self._known.get(id(instance), ("", None))[0])
            return
        for name, predictor in instance.named_predictors():
            self._known.setdefault(id(predictor), (_of_step(name), predictor))


def _of_step(name: str) -> str:
    """The part of a predictor's name that says what it does."""
    parts = [part for part in name.split(".") if part not in {"predict", "program"}]
    return parts[-1] if parts else name
