"""MIPROv2: instructions and demonstrations chosen together (Opsahl-Ong et al., 2024)."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import dspy

from skill_fleet.optimization.optimizer import Capabilities, Fit, Interval, OptimizerInfo, Parameter, Sizes
from skill_fleet.optimization.prefetch.ahead import running_ahead
from skill_fleet.optimization.prefetch.grounded import mipro_class
from skill_fleet.optimization.prefetch.mipro_plan import MIPROV2_NAMES
from skill_fleet.optimization.prefetch.miprov2 import prefetch_miprov2
from skill_fleet.optimization.search import Effort, Search
from skill_fleet.optimization.spending import bootstrapping, changed_by_one, distinct, proposals, taught

_CANDIDATES = {"light": 6, "medium": 12, "heavy": 18}
_DEFAULT_BOOTSTRAPPED = 8
_MINIBATCH = 35
_FULL_EVERY = 5
_DEMOS_IN_PROPOSAL = 3
_EXAMPLES_A_SUMMARY = 10
_MOST_SUMMARIES = 10
_SMALL_VALIDATION = 50


class MiproV2:
    """DSPy's MIPROv2: `profiling` bootstraps, `optimization` proposes, `evaluation` is measured."""

    info = OptimizerInfo(
        name="miprov2",
        description="Bootstraps demonstrations, proposes instructions, and searches their combinations.",
        changes=("instructions", "demos"),
        needs="From about 20 training examples of which some already succeed.",
        cost="High: every trial is a pass over the validation set.",
        parameters=(
            Parameter("auto", "choice", "light", "light|medium|heavy", "how many candidates and trials"),
            Parameter("trials", "int", None, ">= 1", "num_trials"),
            Parameter("max_bootstrapped_demos", "int", _DEFAULT_BOOTSTRAPPED, ">= 0", "own demos, most"),
            Parameter("max_labeled_demos", "int", 4, ">= 0", "demos from the data, most"),
            Parameter("num_threads", "int", 8, "1-256", "examples under way at a time"),
        ),
        capabilities=Capabilities(phases=("profiling", "optimization", "evaluation")),
        shows=10,
        fit=Fit(rung=2, min_train=20),
    )

    def refused(self, effort: Effort) -> str:
        """DSPy draws the number of own demonstrations from 1 on wherever it shows demonstrations at all."""
        own, labeled = _demos(effort)
        if own == 0 and labeled > 0:
            return (
                "miprov2 takes --max-bootstrapped-demos 0 only together with --max-labeled-demos 0: "
                "where it shows demonstrations, some are its own."
            )
        return ""

    def estimate_calls(self, sizes: Sizes) -> Mapping[str, Interval]:
        """Calls of one round by phase."""
        candidates, trials = self._plan(sizes)
        own, labeled = _demos(sizes.effort)
        # DSPy bootstraps also where it will show none: its proposals do.
        sets = range(1, 1 + (own if own or labeled else _DEMOS_IN_PROPOSAL))
        boots = bootstrapping(sets, sizes.train).scaled(max(0, candidates - 2))
        return {
            "profiling": taught(boots, sizes),
            "optimization": self._proposals(sizes, candidates),
            "evaluation": self._trials(sizes, candidates, trials).times(sizes.calls_per_run),
        }

    def improve(self, search: Search) -> dspy.Module:
        """The best combination on the validation set."""
        effort = search.effort
        bootstrapped = effort.max_bootstrapped_demos
        settings: dict[str, Any] = {
            "auto": effort.auto,
            "max_bootstrapped_demos": _DEFAULT_BOOTSTRAPPED if bootstrapped is None else bootstrapped,
            "max_labeled_demos": effort.max_labeled_demos,
            "num_threads": effort.num_threads,
            "metric_threshold": search.demo_threshold,
        }
        data: dict[str, Any] = {
            "trainset": list(search.train),
            "valset": list(search.validation),
            "seed": search.seed + 1,  # DSPy reads 0 as "not given"
        }
        if effort.trials is not None:
            settings |= {"auto": None, "num_candidates": _candidates_for(effort.trials)}
            batched = len(search.validation) > _SMALL_VALIDATION
            data |= {"num_trials": effort.trials, "minibatch": batched}
        with running_ahead(search, MIPROV2_NAMES) as ahead:
            settings |= {
                "prompt_model": ahead.search.lms["optimization"],
                "task_model": ahead.search.lms["evaluation"],
                "teacher_settings": {"lm": ahead.search.lms["profiling"]},
            }
            ghost = dspy.MIPROv2(metric=ahead.score, **settings)
            ahead.start(partial(prefetch_miprov2, mipro=ghost, student=search.student.deepcopy(), **data))
            stock = mipro_class()(metric=ahead.search.score, **settings)
            return stock.compile(search.student, **data)

    def _plan(self, sizes: Sizes) -> tuple[int, int]:
        """Candidates and trials."""
        if sizes.effort.trials is not None:
            return _candidates_for(sizes.effort.trials), sizes.effort.trials
        candidates = _CANDIDATES[sizes.effort.auto or "light"]
        variables = sizes.predictors * (2 if any(_demos(sizes.effort)) else 1)
        return candidates, int(max(2 * variables * math.log2(candidates), 1.5 * candidates))

    def _instructions(self, sizes: Sizes, candidates: int) -> int:
        """Instructions a predictor: half of the candidates where `auto` shares them with demonstrations."""
        return candidates // 2 if sizes.effort.trials is None and any(_demos(sizes.effort)) else candidates

    def _proposals(self, sizes: Sizes, candidates: int) -> Interval:
        """A summary of the data; for each instruction a proposal, and descriptions of program and module.

        DSPy gives the descriptions up for good where one fails.
        """
        summary = 2 + min(_MOST_SUMMARIES, max(0, sizes.train - 1) // _EXAMPLES_A_SUMMARY)
        asked = self._instructions(sizes, candidates) * sizes.predictors
        return proposals(summary + 3 * asked, 0.9 * (summary + asked))

    def _trials(self, sizes: Sizes, candidates: int, trials: int) -> Interval:
        """Runs of the program on validation examples: trials of the same choice are answered once."""
        examples = sizes.validation
        small = examples <= _SMALL_VALIDATION
        tried = trials * (examples if small else _MINIBATCH)
        again = 0 if small else (trials // _FULL_EVERY + 2) * examples
        ways = self._instructions(sizes, candidates) * (candidates if any(_demos(sizes.effort)) else 1)
        new = distinct(trials, float(ways) ** sizes.predictors) / trials
        least, likely = 0.6 * changed_by_one(sizes.predictors) * new, min(1.0, 1.15 * new)
        # A full pass meets examples that a batch has met with the same choice.
        most = tried + again + 2 * examples
        return Interval(least * (tried + 0.5 * again), likely * (tried + again), most)


def _demos(effort: Effort) -> tuple[int, int]:
    """Most own demonstrations, and most of the data."""
    own = effort.max_bootstrapped_demos
    return (_DEFAULT_BOOTSTRAPPED if own is None else own), effort.max_labeled_demos


def _candidates_for(trials: int) -> int:
    """Candidates that so many trials can tell apart: DSPy's own proportion of 3 trials to 2 candidates."""
    return max(2, min(18, round(trials / 1.5)))
