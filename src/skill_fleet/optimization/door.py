"""Nothing begins after a halt: not only no model call, but no task that an optimizer had queued."""

from typing import Any

from dspy.utils.callback import BaseCallback

from skill_fleet.llm.budget import Gate


class Doorkeeper(BaseCallback):
    """Turns away whatever a search starts once its gate is closed.

    A `Halt` leaves DSPy's executor with its queue: it goes on with the tasks in it, each up to its first
    model call. Stopped here, none of them runs a line of the program. (An `Exception` of a callback would be
    logged and forgotten; a `Halt` is not one.)

    Args:
        gate: Of the search.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: ARG002
        """A program or a part of it begins.

        Raises:
            Halt: The gate is closed.
        """
        closed = self._gate.closed
        if closed is not None:
            raise closed.again()
