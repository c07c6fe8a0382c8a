"""What a part of a judgement is, and the one curve that turns amounts into scores."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One aspect of a skill.

    Attributes:
        value: In [0, 1].
        notes: What would raise it, as imperative sentences; empty when nothing would.
    """

    value: float
    notes: tuple[str, ...] = ()


def rising(amount: float, zero: float, full: float) -> float:
    """0 up to `zero`, 1 from `full` on, straight in between."""
    return min(1.0, max(0.0, (amount - zero) / (full - zero)))
