"""How often optimizers do what they do, as far as several of them do it."""

import math

from skill_fleet.optimization.interval import NOTHING, ONE, Interval
from skill_fleet.optimization.optimizer import Sizes

# Runs for one good answer. Demonstrations are asked to reach what the upper quarter reaches, or the target.
_RUNS_FOR_ONE = (1.2, 3.8)
# Share of the examples at which a further attempt is made, per attempt that is allowed.
_AGAIN = 1.0
# Rules, advice and proposals that cannot be read are asked for a second time, in JSON.
ASKED_TWICE = 2
# Validation examples on which the metric is tried with answers that say nothing, and how many kinds of these.
CANARY_EXAMPLES = 6
CANARY_FEWEST = 3
CANARY_KINDS = 2
_SOMETIMES_TWICE = 1.15
# Candidates that meet every example before none is left that teaches: in the first round, in a later one.
_MET = (1.5, 5.5)
_MET_LATER = (0.0, 2.0)


def bootstrapping(wanted: range, train: int, attempts: int = 1) -> Interval:
    """Runs of the program to gather one set of demonstrations.

    DSPy goes through the training examples one after the other until it has enough, or none is left.

    Args:
        wanted: How many demonstrations a set may have: DSPy draws one number of these.
        train: Training examples.
        attempts: Most attempts at an example.
    """
    sizes = [number for number in wanted if number > 0]
    if not sizes:
        return NOTHING
    ends = [sum(min(train, number * runs) for number in sizes) / len(sizes) for runs in _RUNS_FOR_ONE]
    high = min(train * attempts, ends[1] * (1 + _AGAIN * (attempts - 1)))
    return Interval(ends[0], high, train * attempts)


def relabeled(sizes: Sizes) -> Interval:
    """Share of a run's calls whose prompts change when examples of the data are shown.

    Only predictors whose answers the data hold can show any. What comes before the first of them is as it
    was; what comes after it changes with its answer.
    """
    if sizes.labeled is None:
        return Interval(0, 1)
    if sizes.labeled == 0:
        return Interval(0, 0, 1)
    return Interval(min(1.0, 0.9 * sizes.labeled / sizes.predictors), 1)


def taught(runs: Interval, sizes: Sizes, attempts: int = 1) -> Interval:
    """Calls of the teacher's runs: what the baseline was asked already is answered from the journal.

    Args:
        runs: Of the program.
        sizes: Of the run.
        attempts: Most attempts at an example; each after the first is asked anew.
    """
    shown = Interval(0, 1)
    if sizes.effort.max_labeled_demos > 0:
        shown = relabeled(sizes)
    elif attempts == 1:
        shown = Interval(0, 0, 1)
    if attempts > 1:
        shown = Interval(shown.low, 1)
    if not sizes.same_teacher:
        shown = ONE
    return runs.times(shown).times(sizes.calls_per_run)


def random_search(sizes: Sizes, candidates: int, own: int) -> dict[str, Interval]:
    """Calls of DSPy's random search over demonstrations, by phase.

    Beside the candidates it measures the program without demonstrations, which is the baseline or was the
    candidate of an earlier round, with those of the data, and with own ones in the order of the data.

    Args:
        sizes: Of the run.
        candidates: Candidate programs.
        own: Most own demonstrations of one.
    """
    first = bootstrapping(range(own, own + 1), sizes.train)
    others = bootstrapping(range(1, own + 1), sizes.train).scaled(candidates)
    boots = first.along(others)
    new = candidates + 2
    # Candidates of few examples may be the same, and a chain may begin with the same answers.
    least = 0.92 * changed_by_one(sizes.predictors)
    runs = Interval(least * new, new, new + 1).scaled(sizes.validation)
    return {
        "profiling": taught(boots, sizes),
        "evaluation": runs.times(sizes.calls_per_run),
    }


def more_answers(number: int, sizes: Sizes) -> Interval:
    """Calls of asking up to so many times on validation examples: the first answers are the baseline's."""
    further = (number - 1) * sizes.validation
    runs = Interval(0.2 * further, further, further + sizes.validation)
    return runs.times(sizes.calls_per_run)


def reflected(rollouts: int, most: int, batch: int, sizes: Sizes) -> tuple[Interval, Interval]:
    """Runs of the program, and reflections, of GEPA with so many rollouts.

    A rollout is paid for where its candidate meets its example for the first time. Half of a step is the
    parent's, which it has mostly met; a step that has nothing to teach is no more than that. Where full marks
    are within reach, few candidates have met every example before nothing teaches any more.

    Args:
        rollouts: GEPA's budget.
        most: With what its last step may run over by.
        batch: Examples of a step.
        sizes: Of the run.
    """
    runs = Interval(0.25 * rollouts, 0.9 * rollouts, most)
    steps = Interval(0.05 * rollouts, rollouts / (2 * batch), rollouts / batch)
    if sizes.perfectible:
        met = _MET if sizes.round == 1 else _MET_LATER
        least, likely = (number * (sizes.train + sizes.validation) for number in met)
        runs = Interval(min(least, runs.low), min(likely, runs.high), most)
        steps = Interval(min(batch, steps.low), rollouts / (4 * batch), steps.most)
    return runs, steps


def tried_answers(validation: int) -> Interval:
    """Answers that say nothing, given to the metric after the search: of each kind one an example tried."""
    most = 0 if validation < CANARY_FEWEST else CANARY_KINDS * min(CANARY_EXAMPLES, validation)
    return Interval(0, most, most)


def changed_by_one(predictors: int) -> float:
    """Share of a run's calls that are new when one predictor changes, on average, in a chain of them."""
    return (predictors + 1) / (2 * predictors)


def distinct(draws: float, ways: float) -> float:
    """How many different things so many random draws of so many show."""
    return ways if ways <= 1 else -ways * math.expm1(draws * math.log1p(-1 / ways))


def proposals(number: float, least: float | None = None) -> Interval:
    """Calls of so many proposals; fewer where equal requests are expected.

    Args:
        number: Proposals asked for.
        least: Different ones among them, at least.
    """
    low = number if least is None else min(number, least)
    return Interval(low, number * _SOMETIMES_TWICE, number * ASKED_TWICE)
