"""`Halt`: stop everything, now, through code that swallows exceptions.

DSPy's optimizers turn an `Exception` of a model call into a score of 0 and go on. A cap that was reached, a
refused key, an interrupt or a metric that breaks must not become a score, so it travels as a `BaseException`.
"""

from typing import Literal

from skill_fleet.foundation.errors import SkillFleetError

Cause = Literal["budget", "provider", "interrupted", "storage", "lease", "metric", "program", "environment"]


class Halt(BaseException):
    """No further model call may be made in this run.

    Args:
        cause: Why, as the `stop_reason` of a result.
        error: What to tell the user, with its exit code.
        subject: The example whose call failed for good, where its own request was why; else None.
    """

    def __init__(self, cause: Cause, error: SkillFleetError, subject: str | None = None) -> None:
        super().__init__(error.message)
        self.cause: Cause = cause
        self.error = error
        self.subject = subject

    def again(self) -> "Halt":
        """The same reason, to raise once more: one object raised in many threads gathers all their frames."""
        return Halt(self.cause, self.error, self.subject)
