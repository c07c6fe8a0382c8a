"""What the sealed test will be able to show, said before the search is paid for.

The differences between two programs are not known before both are measured. Assumed is that the two score
independently, each with the spread of the baseline (so differences spread by the square root of 2 of it), and
that examples of one group differ alike; where nothing is measured yet, differences spread by `ASSUMED_SD`.
The figure is a guide and no promise.
"""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from skill_fleet.domain.trainset import TrainingItem
from skill_fleet.evaluation.measurement import Measurement
from skill_fleet.evaluation.power import expected_detectable_effect
from skill_fleet.evaluation.statistics import alpha_for_read
from skill_fleet.optimization.events import read_events
from skill_fleet.optimization.session import Session
from skill_fleet.optimization.verdict import digest_of_test, next_reading

ASSUMED_SD = 0.15


@dataclass(frozen=True)
class Foresight:
    """About what a reading of a sealed test can show.

    Attributes:
        effect: A difference of mean quality that 8 of 10 such runs would call; None where none would be.
        sd: Assumed spread of the groups' mean differences, in score units; None where it is unknown.
        groups: Independent groups of the test.
        reading: The how-manieth reading of this test.
        alpha: The level of that reading.
    """

    effect: float | None
    sd: float | None
    groups: int
    reading: int
    alpha: float

    def to_json(self) -> dict[str, Any]:
        """The values by their names."""
        return asdict(self)


def foresee(test: Sequence[TrainingItem], reading: int, sd: float | None) -> Foresight:
    """What a reading of a sealed test can show, if the differences of groups spread by `sd`."""
    sizes = list(Counter(item.group for item in test).values())
    alpha = alpha_for_read(reading)
    effect = None if sd is None else expected_detectable_effect(sd, sizes, alpha=alpha)
    return Foresight(effect, sd, len(sizes), reading, alpha)


def spread(found: Measurement) -> float | None:
    """The spread to assume of differences, from that of a program's scores; None of fewer than two."""
    scores = list(found.scores().values())
    return math.sqrt(2.0) * statistics.stdev(scores) if len(scores) > 1 else None


def reading_of(session: Session) -> int:
    """The reading that a run will make; one that was begun before keeps its number."""
    told = (event.get("reading") for event in read_events(session.folder.events) if event["kind"] == "power")
    known = next((reading for reading in told if isinstance(reading, int)), None)
    if known is not None:
        return known
    return next_reading(session.loaded.workspace.ledger, digest_of_test(session.plan.split.test))


def tell_power(session: Session, baseline: Measurement) -> None:
    """Say what the sealed test will be able to show, from the spread of the baseline's scores."""
    found = foresee(session.plan.split.test, reading_of(session), spread(baseline))
    session.result.expected_minimum_detectable_effect = found.effect
    session.emit("power", **found.to_json())
