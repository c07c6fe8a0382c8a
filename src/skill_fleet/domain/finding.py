"""What a rule says of a skill: a stable code, how bad it is, where, and what to do about it."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about a SKILL.md.

    Args:
        code: Stable machine-readable name, for example `name_missing`.
        severity: `error` makes the skill invalid, `warning` is advice, `info` is only worth knowing.
        line: Line of the SKILL.md it is about, from 1.
        message: One sentence: what is wrong.
        hint: What to do about it, or an empty string.
    """

    code: str
    severity: Severity
    line: int
    message: str
    hint: str = ""
