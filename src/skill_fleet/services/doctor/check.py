"""One thing that was looked at."""

from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: Of what.
        status: `error` where something will not work, `warning` where it may not.
        message: What was found, and where.
        hint: What to do, or an empty text.
    """

    name: str
    status: Status
    message: str
    hint: str = ""


def check_json(check: Check) -> dict[str, Any]:
    """A check as a JSON value."""
    return dict(vars(check))
