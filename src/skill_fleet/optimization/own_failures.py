"""Files and connections of a program's own that break in a search: no score, as in a measurement.

DSPy's optimizers make a zero of whatever a program raises. Where that is a bug of the program, a zero is
right. Where a look-up lost its connection it says nothing of the program, and would choose another one.
"""

from typing import Any

from dspy.utils.callback import BaseCallback

from skill_fleet.evaluation.attempt import own_failure
from skill_fleet.foundation.errors import ProgramError
from skill_fleet.llm.budget import Gate
from skill_fleet.llm.call_context import CURRENT_SUBJECT
from skill_fleet.llm.halt import Halt


class OwnFailures(BaseCallback):
    """Stops a search where a program could not be run on an example, and says which one.

    It needs an `Attribution` behind it in the list of callbacks. What the program itself catches is its own.

    Args:
        gate: Of the search: closed then. None where it is the user's own.
    """

    def __init__(self, gate: Gate | None) -> None:
        self._gate = gate
        self._halt: Halt | None = None

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: ARG002
        """A program or a part of it begins.

        Raises:
            Halt: The search was stopped: what an executor still has in its queue is not run.
        """
        if self._halt is not None:
            raise self._halt.again()

    def on_module_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: ARG002
        """A program or a part of it is over.

        Raises:
            Halt: It is the program, and a file or a connection of its own broke.
        """
        subject = CURRENT_SUBJECT.get()
        broken = None if exception is None else own_failure(exception)
        if broken is None or subject is None or subject[1] != call_id:
            return
        CURRENT_SUBJECT.set(None)  # the attribution will not be told any more
        error = ProgramError(
            broken, hint="Mend what the program reads or connects to, or let it try again by itself."
        )
        self._halt = Halt("environment", error, subject[0] or None)
        if self._gate is not None:
            self._halt = self._gate.close(self._halt)
        raise self._halt.again() from exception
