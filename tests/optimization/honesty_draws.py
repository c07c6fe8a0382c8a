"""Simulated programs of known true quality against the rule that decides, on scores alone.

Used by the tests and by `benchmarks/honesty.py`. A program's score on an example is the example's own level
plus the program's luck on it; luck has a part that a group of examples shares. Differences between two
programs have a standard deviation of .15 an example, and .3 of their variance is the group's.
"""

import math
import statistics
from dataclasses import dataclass

import numpy as np

from skill_fleet.evaluation.statistics import Comparison, alpha_for_read, compare_paired

SD, WITHIN_GROUP = 0.15, 0.3
LEVEL, LEVEL_SD = 0.5, 0.08
_GAINED = 1e-9


@dataclass(frozen=True)
class Shape:
    """The sizes of the groups of a sealed test and of a validation set."""

    name: str
    test: tuple[int, ...]
    validation: tuple[int, ...]
    pass_or_fail: bool = False

    @property
    def groups(self) -> list[str]:
        return [f"g{number}" for number in codes(self.test)]


LARGE = Shape("107 in 29 groups", (4,) * 20 + (3,) * 9, (4,) * 10 + (3,))
SMALL = Shape("30 in 8 groups", (4,) * 6 + (3,) * 2, (4,) * 3)
BINARY = Shape("107 in 29 groups, pass or fail", LARGE.test, LARGE.validation, pass_or_fail=True)


@dataclass(frozen=True)
class Accepted:
    """Shares of runs in which a rule accepts a candidate, over the same draws.

    Attributes:
        sealed: The rule of this project: a gain on validation, then `better` on the sealed test.
        strict: Any gain on validation.
        one_error: A gain on validation above its standard error.
        effect: The median minimum detectable effect that was printed.
        runs: How many runs.
    """

    sealed: float
    strict: float
    one_error: float
    effect: float
    runs: int


@dataclass(frozen=True)
class Families:
    """Shares of series of readings of one test set with at least one wrong `better`.

    Attributes:
        spent: Each reading at the level that is left for it: the rule of this project.
        flat: Each reading at .05.
        runs: How many series.
    """

    spent: float
    flat: float
    runs: int


def upper(share: float, runs: int) -> float:
    """A share and three standard deviations of what so many runs of it give."""
    return share + 3 * math.sqrt(share * (1 - share) / runs)


def codes(sizes: tuple[int, ...]) -> np.ndarray:
    return np.repeat(np.arange(len(sizes)), sizes)


def luck(rng: np.random.Generator, lead: tuple[int, ...], sizes: tuple[int, ...]) -> np.ndarray:
    """Of one program: two of them differ by SD."""
    shared = rng.normal(size=(*lead, len(sizes)))[..., codes(sizes)]
    own = rng.normal(size=(*lead, sum(sizes)))
    return (math.sqrt(WITHIN_GROUP) * shared + math.sqrt(1 - WITHIN_GROUP) * own) * SD / math.sqrt(2)


def levels(rng: np.random.Generator, lead: tuple[int, ...], sizes: tuple[int, ...]) -> np.ndarray:
    return rng.normal(LEVEL, LEVEL_SD, size=(*lead, sum(sizes)))


def scores(shape: Shape, quality: np.ndarray) -> np.ndarray:
    return (quality > LEVEL).astype(float) if shape.pass_or_fail else np.clip(quality, 0.0, 1.0)


def accepted(shape: Shape, candidates: int, runs: int, *, gain: float = 0.0, seed: int = 0) -> Accepted:
    """Runs that choose the best of some candidates on validation, each truly better by `gain`."""
    rng = np.random.default_rng(seed)
    gains = _validation_gains(rng, shape, (runs, candidates), gain)
    means = gains.mean(axis=2)
    best = means.argmax(axis=1)
    mean = means[np.arange(runs), best]
    error = gains[np.arange(runs), best].std(axis=1, ddof=1) / math.sqrt(gains.shape[2])
    level = levels(rng, (runs,), shape.test)
    plain = scores(shape, level + luck(rng, (runs,), shape.test))
    chosen = scores(shape, level + gain + luck(rng, (runs,), shape.test))
    read = [_judged(shape, plain[i], chosen[i], 1) for i in range(runs) if mean[i] > _GAINED]
    effects = [one.minimum_detectable_effect for one in read if one.minimum_detectable_effect is not None]
    return Accepted(
        sealed=sum(one.verdict == "better" for one in read) / runs,
        strict=float((mean > _GAINED).mean()),
        one_error=float((mean > error).mean()),
        effect=statistics.median(effects) if effects else math.nan,
        runs=runs,
    )


def read_again(shape: Shape, readings: int, runs: int, *, candidates: int = 10, seed: int = 0) -> Families:
    """One search after the other, none of which finds anything better, all tested on one test set."""
    rng = np.random.default_rng(seed)
    spent = flat = 0
    for _ in range(runs):
        gained = _validation_gains(rng, shape, (readings, candidates), 0.0).mean(axis=2).max(axis=1) > _GAINED
        level = levels(rng, (), shape.test)
        plain = scores(shape, level + luck(rng, (), shape.test))
        tested = scores(shape, level + luck(rng, (readings,), shape.test))[gained]
        found = [_judged(shape, plain, one, number) for number, one in enumerate(tested, start=1)]
        spent += any(one.verdict == "better" for one in found)
        flat += any(_flat(one) for one in found)
    return Families(spent / runs, flat / runs, runs)


def climbed(shape: Shape, readings: int, runs: int, *, kept: float = 0.9, seed: int = 0) -> Families:
    """A person who breeds each candidate from the one that looked best on the test so far.

    Args:
        shape: Sizes.
        readings: Of the one test set.
        runs: How many series.
        kept: Correlation of a candidate's luck with its parent's.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    spent = flat = 0
    for _ in range(runs):
        level, parent = levels(rng, (), shape.test), luck(rng, (), shape.test)
        plain = scores(shape, level + parent)
        best, found = float(plain.mean()), []
        for number in range(1, readings + 1):
            child = kept * parent + math.sqrt(1 - kept**2) * luck(rng, (), shape.test)
            tested = scores(shape, level + child)
            found.append(_judged(shape, plain, tested, number))
            if tested.mean() > best:
                best, parent = float(tested.mean()), child
        spent += any(one.verdict == "better" for one in found)
        flat += any(_flat(one) for one in found)
    return Families(spent / runs, flat / runs, runs)


def _validation_gains(
    rng: np.random.Generator, shape: Shape, lead: tuple[int, int], gain: float
) -> np.ndarray:
    """Candidate less baseline: runs x candidates x examples; the baseline is one for all candidates."""
    level = levels(rng, (lead[0], 1), shape.validation)
    plain = scores(shape, level + luck(rng, (lead[0], 1), shape.validation))
    return scores(shape, level + gain + luck(rng, lead, shape.validation)) - plain


def _judged(shape: Shape, plain: np.ndarray, chosen: np.ndarray, reading: int) -> Comparison:
    return compare_paired(plain.tolist(), chosen.tolist(), shape.groups, alpha=alpha_for_read(reading))


def _flat(found: Comparison) -> bool:
    return found.p_value <= 0.05 and found.delta > 0
