"""Every error a user can meet, in one tree.

```
SkillFleetError                exit 1   code, hint
├── UsageError                 exit 2   the call's words are off
│   ├── ConfigError                     a configuration file or value is wrong
│   └── UnknownName                     no such optimizer, program, metric, model ("did you mean")
├── NotFound                   exit 3   a file, a run, an artifact, a job is not there
│   └── Removed                         it was there, and was removed
├── DataError                  exit 1   a training set or a skill cannot be used as it is
├── StorageError               exit 1   a file, a directory or the journal cannot be read or written
├── IntegrityError             exit 1   what is there is not what was recorded (digests differ)
├── NoSignal                   exit 1   the metric says the same of everything
├── MetricError                exit 1   a metric raised, or returned something that is no score
├── ProgramError               exit 1   the program under measurement raises
├── GateFailed                 exit 4   a quality gate was not met
├── BudgetExhausted            exit 5   a cap on dollars, calls, tokens or minutes was reached
├── ProviderError              exit 6   a model call failed for good
│   └── KeyMissing                      the environment variable that should hold the key is empty
├── StateConflict              exit 1   what was asked makes no sense for a job that stands as it does
├── IdempotencyConflict        exit 1   the same idempotency key came with another request
├── LeaseLost                  exit 1   another process has taken the job up: this one may write nothing
└── Interrupted                exit 130 the user stopped it
```

A message is one sentence that says what is wrong and where; `hint` says what to do about it.
"""

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar

from typing_extensions import override


class SkillFleetError(Exception):
    """The root: something the user can act upon.

    Args:
        message: One sentence: what is wrong, and where.
        hint: What to do about it, or an empty string.
        code: Stable machine-readable name; defaults to the class's own.
    """

    code: str = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def to_json(self) -> dict[str, Any]:
        """`code`, `message` and `hint`, and what else a kind of error knows."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class UsageError(SkillFleetError):
    """The call's words are off: an option, a value, a combination."""

    code = "usage"
    exit_code = 2


class ConfigError(UsageError):
    """A configuration file or value is wrong."""

    code = "config"


class UnknownName(UsageError):
    """A name that is not in its registry.

    Args:
        kind: What was looked up, for example `optimizer`.
        name: The name as given.
        known: All names there are; the nearest becomes the hint.
    """

    code = "unknown_name"

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
        hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(names)}."
        super().__init__(f"There is no {kind} named '{name}'.", hint=hint)


class NotFound(SkillFleetError):
    """A file, a run or an artifact is not there."""

    code = "not_found"
    exit_code = 3


class Removed(NotFound):
    """It was there, and was removed; only its name is known.

    Args:
        message: One sentence.
        hint: What to do about it.
        code: Defaults to the class's own.
        owner: Whose it was; nobody else is told more than that it is not there.
    """

    code = "removed"

    def __init__(
        self, message: str, *, hint: str = "", code: str | None = None, owner: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.owner = owner


class DataError(SkillFleetError):
    """A training set or a skill cannot be used as it is."""

    code = "data"


class StorageError(SkillFleetError):
    """A file, a directory or the journal cannot be read or written."""

    code = "storage"


class IntegrityError(SkillFleetError):
    """What is there is not what was recorded."""

    code = "integrity"


class NoSignal(SkillFleetError):
    """The metric says the same of everything, so nothing can be optimized."""

    code = "no_signal"


class MetricError(SkillFleetError):
    """A metric raised, or returned something that is no score."""

    code = "metric"


class ProgramError(SkillFleetError):
    """The program under measurement raises, on too many examples to be a property of the examples."""

    code = "program"


class GateFailed(SkillFleetError):
    """A quality gate was not met."""

    code = "gate_failed"
    exit_code = 4


class BudgetExhausted(SkillFleetError):
    """A cap on dollars, calls, tokens or minutes was reached."""

    code = "budget"
    exit_code = 5


class ProviderError(SkillFleetError):
    """A model call failed for good.

    Args:
        message: One sentence.
        hint: What to do about it.
        code: Defaults to the class's own.
        attempts: How many were made at the call that was given up; None where the error is of no one call.
        finish_reason: Why the provider ended its answer, in its words; None where it did not say.
    """

    code = "provider"
    exit_code = 6
    attempts: int | None = None
    finish_reason: str | None = None

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str | None = None,
        attempts: int | None = None,
        finish_reason: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.attempts = attempts
        self.finish_reason = finish_reason

    @override
    def to_json(self) -> dict[str, Any]:
        """Also `attempts` and `finish_reason`, where a call was given up."""
        told = super().to_json()
        if self.attempts is not None:
            told |= {"attempts": self.attempts, "finish_reason": self.finish_reason}
        return told


class KeyMissing(ProviderError):
    """The environment variable that should hold the provider's key is empty."""

    code = "key_missing"


class StateConflict(SkillFleetError):
    """What was asked makes no sense for a job that stands as it does."""

    code = "state_conflict"


class IdempotencyConflict(SkillFleetError):
    """The same idempotency key came with another request."""

    code = "idempotency_conflict"


class LeaseLost(SkillFleetError):
    """Another process has taken the job up, or it is over: this one may write nothing."""

    code = "lease_lost"


class Interrupted(SkillFleetError):
    """The user stopped it."""

    code = "interrupted"
    exit_code = 130
