"""Repeated group K-fold without a language model: how often it calls better what is no better.

A data set is drawn: for each candidate a difference to the plain program on each example, part of it common
to the example's group. Each fold chooses the candidate that is best on its validation part, or none when
none gains there, and the choice is measured on the fold's own examples.
"""

import math
from dataclasses import dataclass

import numpy as np

from skill_fleet.evaluation.resampled import HeldOut, compare_resampled
from skill_fleet.evaluation.statistics import alpha_for_read

SD, OF_GROUP = 0.15, 0.3


@dataclass(frozen=True)
class Design:
    """Groups of how many examples, how dealt, and what the differences are like.

    Attributes:
        sizes: Examples in each group.
        folds: K.
        repeats: How often they are dealt.
        candidates: Among how many programs each fold chooses.
        kind: `normal`, `alike` (all candidates gain on the same groups) or `binary` (pass or fail).
    """

    sizes: tuple[int, ...]
    folds: int = 5
    repeats: int = 1
    candidates: int = 10
    kind: str = "normal"


@dataclass(frozen=True)
class Called:
    """Shares of runs, and means over them.

    Attributes:
        better: Called better.
        worse: Called worse.
        naive: Called better by an uncorrected t over all fold gains, as cross-validation is often read.
        gain: Mean held-out gain.
        effect: Mean detectable effect as printed.
    """

    better: float
    worse: float
    naive: float
    gain: float
    effect: float


def called(
    design: Design, runs: int, *, gain: float = 0.0, seed: int = 0, alpha: float | None = None
) -> Called:
    """What is called of candidates that truly gain `gain`, all of them."""
    rng = np.random.default_rng(seed)
    level = alpha_for_read(1) if alpha is None else alpha
    better = worse = naive = 0
    gains, effects = [], []
    for _ in range(runs):
        folds = _folds(design, rng, gain)
        found = compare_resampled(folds, repeats=design.repeats, alpha=level)
        better += found.verdict == "better"
        worse += found.verdict == "worse"
        naive += _naive(folds, level)
        gains.append(found.delta)
        effects.append(found.minimum_detectable_effect or math.nan)
    return Called(
        better / runs, worse / runs, naive / runs, float(np.mean(gains)), float(np.nanmean(effects))
    )


def _folds(design: Design, rng, gain: float) -> list[HeldOut]:
    group = np.repeat(np.arange(len(design.sizes)), design.sizes)
    plain, candidates = _drawn(design, rng, group, gain)
    found = []
    for _ in range(design.repeats):
        fold_of = _dealt(design, rng)[group]
        for fold in range(design.folds):
            test = fold_of == fold
            rest = rng.permutation(np.unique(group[~test]))
            validation = np.isin(group, rest[: max(1, round(0.4 * len(rest)))])
            on_validation = (candidates - plain)[:, validation].mean(axis=1)
            best = int(np.argmax(on_validation))
            chosen = candidates[best] if on_validation[best] > 0 else plain[best]
            a, b = plain[best][test], chosen[test]
            names = [str(name) for name in group[test]]
            found.append(HeldOut(a.tolist(), b.tolist(), names, int((~test).sum())))
    return found


def _drawn(design: Design, rng, group, gain: float):
    """Scores of the plain program beside each candidate's, one row a candidate."""
    rows, groups = design.candidates, len(design.sizes)
    if design.kind == "binary":
        chance = np.clip(rng.normal(0.5, 0.2, groups), 0.05, 0.9)[group]
        plain = np.tile(rng.random(len(group)) < chance, (rows, 1)).astype(float)
        return plain, (rng.random((rows, len(group))) < np.clip(chance + gain, 0.0, 1.0)).astype(float)
    shared = rng.normal(0.0, SD * math.sqrt(OF_GROUP), (1 if design.kind == "alike" else rows, groups))
    own = rng.normal(0.0, SD * math.sqrt(1 - OF_GROUP), (rows, len(group)))
    plain = np.full((rows, len(group)), 0.5)
    return plain, plain + gain + shared[:, group] + own


def _dealt(design: Design, rng):
    """The fold of each group: in a drawn order, each to the fold with the fewest examples."""
    load = np.zeros(design.folds)
    fold_of = np.zeros(len(design.sizes), dtype=int)
    for group in rng.permutation(len(design.sizes)):
        fold_of[group] = int(np.argmin(load))
        load[fold_of[group]] += design.sizes[group]
    return fold_of


def _naive(folds: list[HeldOut], alpha: float) -> bool:
    from skill_fleet.evaluation.student_t import t_two_sided

    gains = [fold.gain for fold in folds]
    error = float(np.std(gains, ddof=1)) / math.sqrt(len(gains))
    mean = float(np.mean(gains))
    return mean > 0 and (error < 1e-12 or t_two_sided(mean / error, len(gains) - 1) <= alpha)
