"""A model that no journal sees is refused: nobody would count its calls, and no cap would hold."""

from collections.abc import Callable
from typing import Any

from dspy.utils.callback import BaseCallback

from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.llm.fleet_lm import FleetLM
from skill_fleet.llm.halt import Cause, Halt


class OnlyJournaled(BaseCallback):
    """Stops the first call of a model that is not on the journal.

    DSPy swallows what a callback raises, but not a `Halt`.

    Args:
        known: A model that may be called though it is no `FleetLM`, with its copies.
        cause: Of the halt.
        error: Made of the name of the model that was to be called.
    """

    def __init__(self, known: Any, cause: Cause, error: Callable[[str], SkillFleetError]) -> None:
        self._known = known
        self._cause: Cause = cause
        self._error = error

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: ARG002
        """Before a call of any model.

        Raises:
            Halt: The model is not on the journal.
        """
        if not isinstance(instance, FleetLM) and _engine(instance) is not _engine(self._known):
            raise Halt(self._cause, self._error(str(instance.model)))


def _engine(lm: Any) -> Any:
    """What a model's copies share."""
    return getattr(lm, "engine", lm)
