"""Simulated programs of known true quality against the rule that decides, on scores alone.

Used by the tests and by `benchmarks/honesty.py`. A program's score on an example is the example's own level
plus the program's luck on it; luck has a part that a group of examples shares. Differences between two
programs have a standard deviation of .15 an example, and .3 of their variance is the group's.
"""

import math
import statistics
from dataclasses import dataclass

import numpy as np

from skill_fleet.evaluation.multiplicity import compare_with_reference
from skill_fleet.evaluation.power import expected_detectable_effect
from skill_fleet.evaluation.sign_flip import attainable_alpha
from skill_fleet.evaluation.statistics import Comparison, alpha_for_read, compare_paired
from skill_fleet.evaluation.student_t import t_quantile

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
MIDDLE = Shape("36 in 12 groups", (3,) * 12, (4,) * 5)
WIDE = Shape("120 in 30 groups", (4,) * 30, (4,) * 12)
BINARY = Shape("107 in 29 groups, pass or fail", LARGE.test, LARGE.validation, pass_or_fail=True)


@dataclass(frozen=True)
class Accepted:
    """Shares of runs in which a rule accepts a candidate, over the same draws.

    Attributes:
        sealed: The rule of this project: a gain on validation, then `better` on the sealed test.
        strict: Any gain on validation.
        one_error: A gain on validation above its standard error.
        effect: The median minimum detectable effect that was printed.
        read: Share of runs with a gain on validation, so that the test was read at all.
        runs: How many runs.
    """

    sealed: float
    strict: float
    one_error: float
    effect: float
    read: float
    runs: int

    @property
    def found(self) -> float:
        """Of the tests that were read, the share that called it better."""
        return self.sealed / self.read


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


def lower(share: float, runs: int) -> float:
    """A share less three standard deviations of what so many runs of it give."""
    return share - 3 * math.sqrt(share * (1 - share) / runs)


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
        read=len(read) / runs,
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


def compared(shape: Shape, candidates: int, runs: int, *, seed: int = 0) -> Families:
    """Candidates as good as a reference, all compared with it on one test.

    `spent` is Holm's procedure at the first reading's level, `flat` that level for each candidate alone.
    """
    rng = np.random.default_rng(seed)
    spent = flat = 0
    alpha = alpha_for_read(1)
    for _ in range(runs):
        level = levels(rng, (), shape.test)
        plain = scores(shape, level + luck(rng, (), shape.test)).tolist()
        tested = scores(shape, level + luck(rng, (candidates,), shape.test)).tolist()
        found = compare_with_reference(plain, tested, shape.groups, alpha=alpha)
        spent += any(one.comparison.verdict == "better" for one in found)
        flat += any(one.comparison.p_value <= alpha and one.comparison.delta > 0 for one in found)
    return Families(spent / runs, flat / runs, runs)


def in_rounds(
    shape: Shape, rounds: int, candidates: int, runs: int, *, kept: float = 0.7, seed: int = 0
) -> Accepted:
    """Runs of some rounds, each of which breeds from the best on validation so far; no candidate is better.

    Args:
        shape: Sizes.
        rounds: Of a run.
        candidates: Of a round.
        runs: How many.
        kept: Correlation of a candidate's luck with its parent's.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    better = one_error = read = 0
    effects = []
    for _ in range(runs):
        places = (shape.validation, shape.test)
        level = [levels(rng, (), place) for place in places]
        parent = [luck(rng, (), place) for place in places]
        plain = [scores(shape, at + of) for at, of in zip(level, parent, strict=True)]
        best = float(plain[0].mean())
        for _round in range(rounds):
            fresh = [luck(rng, (candidates,), place) for place in places]
            children = [
                kept * old + math.sqrt(1 - kept**2) * new for old, new in zip(parent, fresh, strict=True)
            ]
            means = scores(shape, level[0] + children[0]).mean(axis=1)
            if means.max() <= best + _GAINED:
                break
            best, parent = float(means.max()), [one[means.argmax()] for one in children]
        chosen = [scores(shape, at + of) for at, of in zip(level, parent, strict=True)]
        gains = chosen[0] - plain[0]
        if gains.mean() <= _GAINED:
            continue
        read += 1
        one_error += gains.mean() > gains.std(ddof=1) / math.sqrt(len(gains))
        found = _judged(shape, plain[1], chosen[1], 1)
        better += found.verdict == "better"
        effects.append(found.minimum_detectable_effect or math.nan)
    effect = float(np.nanmedian(effects)) if effects else math.nan
    return Accepted(better / runs, read / runs, one_error / runs, effect, read / runs, runs)


@dataclass(frozen=True)
class Named:
    """Shares of comparisons that call a true difference of the size that is named.

    Attributes:
        before: Of the size named before, by the spread that differences then have.
        after: Of the median size that comparisons print.
        formula: Of the size that quantiles of t would name before.
    """

    before: float
    after: float
    formula: float


def named(
    groups: int, reading: int, runs: int, *, skewness: float = 0.0, seed: int = 0, sd: float = 0.05
) -> Named:
    """Whether a difference as large as is named is found, by groups of four examples that differ alike.

    Args:
        groups: Of the test.
        reading: Of the test.
        runs: Comparisons, of each kind.
        skewness: Of the mean differences of groups; 0 is normal.
        seed: Of the draws.
        sd: Of the mean differences of groups.
    """
    rng, alpha, sizes = np.random.default_rng(seed), alpha_for_read(reading), [4] * groups
    names = [str(number) for number in range(groups) for _ in range(4)]

    def noise() -> np.ndarray:
        if not skewness:
            return rng.normal(size=groups)
        shape = 4 / skewness**2
        return np.sign(skewness) * (rng.gamma(shape, size=groups) - shape) / math.sqrt(shape)

    def one(effect: float) -> Comparison:
        half = np.repeat(effect + sd * noise(), 4).clip(-1, 1) / 2
        return compare_paired((0.5 - half).tolist(), (0.5 + half).tolist(), names, alpha=alpha, resamples=999)

    def called(effect: float) -> float:
        return sum(one(effect).verdict == "better" for _ in range(runs)) / runs

    printed = statistics.median(one(0.1).minimum_detectable_effect for _ in range(runs // 4))
    level = attainable_alpha(alpha, groups)
    quantiles = t_quantile(1 - level / 2, groups - 1) + t_quantile(0.8, groups - 1)
    return Named(
        before=called(expected_detectable_effect(sd, sizes, alpha=alpha)),
        after=called(printed),
        formula=called(quantiles * sd / math.sqrt(groups)),
    )


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
