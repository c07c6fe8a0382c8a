"""What the sealed test will be able to show, said before the search is paid for.

The differences between two programs are not known before both are measured. Assumed is that the two score
independently, and that the means of groups spread as those of the baseline's scores do (so their differences
by the square root of 2 of it); where nothing is measured yet, differences spread by `ASSUMED_SD`. The figure
is a guide and no promise.
"""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from skill_fleet.domain.trainset import TrainingItem
from skill_fleet.evaluation.measurement import Measurement
from skill_fleet.evaluation.power import expected_detectable_effect
from skill_fleet.evaluation.resampled import expected_fold_effect
from skill_fleet.evaluation.statistics import alpha_for_read
from skill_fleet.llm.journal.readings import readings_of
from skill_fleet.optimization.conclusions.verdict import digest_of_test
from skill_fleet.optimization.records.events import read_events
from skill_fleet.optimization.session import Session

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
        folds: Folds of all repeats; 0 is a sealed test.
    """

    effect: float | None
    sd: float | None
    groups: int
    reading: int
    alpha: float
    folds: int = 0

    def to_json(self) -> dict[str, Any]:
        """The values by their names."""
        return asdict(self)


def foresee(
    test: Sequence[TrainingItem],
    reading: int,
    sd: float | None,
    *,
    folds: int | None = None,
    repeats: int = 1,
) -> Foresight:
    """What a reading of a sealed test, or of all folds, can show if differences of groups spread by `sd`."""
    sizes = list(Counter(item.group for item in test).values())
    alpha = alpha_for_read(reading)
    if sd is None:
        effect = None
    elif folds is None:
        effect = expected_detectable_effect(sd, sizes, alpha=alpha)
    else:
        effect = expected_fold_effect(sd, sizes, folds=folds, repeats=repeats, alpha=alpha)
    return Foresight(effect, sd, len(sizes), reading, alpha, (folds or 0) * repeats)


def spread(found: Measurement) -> float | None:
    """The spread to assume of the groups' mean differences, from that of the groups' means of one program.

    Few groups may agree by luck: their means are not taken to spread less than those of as many scores drawn
    independently. None of fewer than two groups.
    """
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for outcome in found.outcomes:
        if outcome.score is not None:
            groups[outcome.group].append(outcome.score.value)
    if len(groups) < 2:
        return None
    scores = [score for members in groups.values() for score in members]
    independent = statistics.stdev(scores) * math.sqrt(len(groups) / len(scores))
    return math.sqrt(2.0) * max(statistics.stdev(map(statistics.fmean, groups.values())), independent)


def reading_of(session: Session) -> int:
    """The reading that a run will make; one that was begun before keeps its number."""
    told = (event.get("reading") for event in read_events(session.folder.events) if event["kind"] == "power")
    known = next((reading for reading in told if isinstance(reading, int)), None)
    if known is not None:
        return known
    return readings_of(session.loaded).next(digest_of_test(session.plan.tested))


def tell_power(session: Session, sd: float | None) -> None:
    """Say what the test will be able to show, from the spread to assume of differences."""
    plan = session.plan
    asked = plan.request
    found = foresee(plan.tested, reading_of(session), sd, folds=asked.folds, repeats=asked.repeats)
    session.result.expected_minimum_detectable_effect = found.effect
    session.emit("power", **found.to_json())
