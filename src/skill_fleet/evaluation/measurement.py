"""What a measurement found, example by example, and how two measurements pair up."""

import math
from dataclasses import dataclass
from typing import Any

from skill_fleet.domain.trainset import IDENTITY
from skill_fleet.evaluation.score import NoScore, Score
from skill_fleet.evaluation.usage import AnswerUsage
from skill_fleet.foundation.errors import DataError

_ROUNDING = 1e-9
_GAIN = 1e-9


@dataclass(frozen=True)
class Outcome:
    """One example, measured: either a score or the reason why there is none.

    Attributes:
        item_id: The example's id.
        group: What the example must not be told apart from: see `statistics`.
        score: Its score, or None.
        no_score: Why there is no score, or None.
        seconds: How long it took, waiting for answers included.
        usage: What the program's calls took; None when it did not answer.
    """

    item_id: str
    group: str
    score: Score | None
    no_score: NoScore | None
    seconds: float
    usage: AnswerUsage | None = None


@dataclass(frozen=True)
class Measurement:
    """A program on a set of examples.

    Attributes:
        outcomes: One an example, in the order of the examples.
    """

    outcomes: tuple[Outcome, ...]

    def scores(self) -> dict[str, float]:
        """The value of every example that has a score, by id, in the order of the examples."""
        return {one.item_id: one.score.value for one in self.outcomes if one.score is not None}

    @property
    def excluded(self) -> tuple[Outcome, ...]:
        """The examples without a score: missing data, in no mean."""
        return tuple(one for one in self.outcomes if one.score is None)

    @property
    def mean(self) -> float | None:
        """Mean score of the examples that have one; None when none has."""
        values = self.scores().values()
        return math.fsum(values) / len(values) if values else None

    def pass_share(self, threshold: float) -> float | None:
        """Share of the scored examples that reach the threshold; None when none has a score."""
        values = self.scores().values()
        return sum(value >= threshold - _ROUNDING for value in values) / len(values) if values else None


def identity_of(example: Any) -> tuple[str | None, str | None]:
    """Id and group of an example: of the item it was made from, else its own fields, else None."""
    marked = getattr(example, IDENTITY, None)
    if marked is not None:
        return str(marked[0]), str(marked[1])
    own = (example.get("id"), example.get("group"))
    return None if own[0] is None else str(own[0]), None if own[1] is None else str(own[1])


def paired(a: Measurement, b: Measurement) -> tuple[list[float], list[float], list[str]]:
    """Scores of two programs on the examples that have one in both, and the groups: for `compare_paired`.

    An example that failed for one program is left out of both, whichever it was.

    Raises:
        DataError: The two were not measured on the same examples.
    """
    groups = {one.item_id: one.group for one in a.outcomes}
    if groups.keys() != {one.item_id for one in b.outcomes}:
        raise DataError("The two measurements are not of the same examples.", hint="Measure both on one set.")
    of_a, of_b = a.scores(), b.scores()
    both = [item for item in groups if item in of_a and item in of_b]
    return [of_a[item] for item in both], [of_b[item] for item in both], [groups[item] for item in both]


def is_better(best: Measurement, found: Measurement) -> bool:
    """Whether the mean of `found` is above that of `best`, on the examples that have a score in both.

    Raises:
        DataError: As for `paired`.
    """
    a, b, _ = paired(best, found)
    return bool(a) and math.fsum(b) / len(b) > math.fsum(a) / len(a) + _GAIN
