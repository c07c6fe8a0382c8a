"""DSPy's random search over sets of demonstrations, for the optimizers that build on it."""

import random
from functools import partial

import dspy

from skill_fleet.optimization.prefetch.ahead import running_ahead
from skill_fleet.optimization.prefetch.bootstrap import RANDOM_SEARCH_NAMES, prefetch_random_search
from skill_fleet.optimization.search import Effort, Search

_CANDIDATES = {"light": 8, "medium": 16, "heavy": 32}
DEFAULT_BOOTSTRAPPED = 4


def candidates_of(effort: Effort) -> int:
    """Candidate programs."""
    return effort.trials if effort.trials is not None else _CANDIDATES[effort.auto or "light"]


def own_demos_of(effort: Effort) -> int:
    """Most demonstrations of the program's own that a candidate has."""
    asked = effort.max_bootstrapped_demos
    return max(1, DEFAULT_BOOTSTRAPPED if asked is None else asked)


def searched_demos(search: Search) -> dspy.Module:
    """The best program on the validation set; its `candidate_programs` hold all, the best first.

    DSPy's own seeds are fixed, so the seed of the search decides the order of the training examples.
    """
    effort = search.effort
    train = list(search.train)
    random.Random(search.seed).shuffle(train)
    validation = list(search.validation)
    with running_ahead(search, RANDOM_SEARCH_NAMES) as ahead:
        optimizer = dspy.BootstrapFewShotWithRandomSearch(
            metric=ahead.search.score,
            teacher_settings={"lm": ahead.search.lms["profiling"]},
            max_bootstrapped_demos=own_demos_of(effort),
            max_labeled_demos=effort.max_labeled_demos,
            num_candidate_programs=candidates_of(effort),
            num_threads=effort.num_threads,
            metric_threshold=search.demo_threshold,
        )
        student = search.student.deepcopy()
        ahead.start(
            partial(
                prefetch_random_search,
                search=optimizer,
                metric=ahead.score,
                student=student,
                trainset=train,
                valset=validation,
            )
        )
        return optimizer.compile(search.student, trainset=train, valset=validation)
