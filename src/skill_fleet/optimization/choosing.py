"""Choosing among programs by the validation set, for optimizers of DSPy that do not."""

from collections.abc import Sequence

import dspy

from skill_fleet.optimization.search import Search


def best_of(programs: Sequence[dspy.Module], search: Search) -> dspy.Module:
    """The program with the highest mean on the validation set; the first of equals."""
    scores = [score_on_validation(program, search) for program in programs]
    return programs[scores.index(max(scores))]


def score_on_validation(program: dspy.Module, search: Search) -> float:
    """A program's mean on the validation set, 0 to 100.

    It is DSPy's own `Evaluate`, so that the tracker of the search sees every pass.
    """
    evaluate = dspy.Evaluate(
        devset=list(search.validation),
        metric=search.score,
        num_threads=search.effort.num_threads,
        display_progress=False,
        display_table=False,
    )
    return float(evaluate(program).score)
