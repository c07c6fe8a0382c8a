"""InferRules: rules induced from examples, appended to instructions (DSPy's own)."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import dspy
from dspy.teleprompt import InferRules as StockInferRules
from dspy.utils.exceptions import AdapterParseError

from skill_fleet.llm.calls.proposals import withheld_in
from skill_fleet.optimization.optimizer import Capabilities, Interval, OptimizerInfo, Parameter, Sizes
from skill_fleet.optimization.search import Search
from skill_fleet.optimization.spending import bootstrapping, proposals, taught

_CANDIDATES = {"light": 6, "medium": 12, "heavy": 18}
_RULES = 10
_EXAMPLES = 32
_DEFAULT_BOOTSTRAPPED = 4


class InferRules:
    """DSPy's InferRules: `profiling` bootstraps, `optimization` induces, the validation set chooses."""

    info = OptimizerInfo(
        name="infer_rules",
        description="Bootstraps demonstrations, then writes rules from examples into the instructions.",
        changes=("instructions", "demos"),
        needs="Examples with the predictors' own answers, or runs that already succeed.",
        cost="Medium: every candidate is a pass over the validation set.",
        parameters=(
            Parameter("auto", "choice", "light", "light|medium|heavy", "6, 12 or 18 candidates"),
            Parameter("trials", "int", None, ">= 1", "num_candidates"),
            Parameter("max_bootstrapped_demos", "int", _DEFAULT_BOOTSTRAPPED, ">= 0", "own demos, most"),
            Parameter("max_labeled_demos", "int", 4, ">= 0", "demos in all that data may fill up to"),
            Parameter("num_threads", "int", 8, "1-256", "examples under way at a time"),
        ),
        capabilities=Capabilities(phases=("profiling", "optimization", "evaluation")),
        shows=_EXAMPLES,
    )

    def estimate_calls(self, sizes: Sizes) -> Mapping[str, Interval]:
        """Calls of one round by phase."""
        candidates = _candidates(sizes.effort.auto, sizes.effort.trials)
        wanted = _wanted(sizes.effort.max_bootstrapped_demos)
        boots = bootstrapping(range(wanted, wanted + 1), sizes.train)
        # Rules of the same examples are often the same rules, and then the same prompts.
        one, most = sizes.validation, candidates * sizes.validation
        runs = Interval(one, max(one, 0.7 * most), most)
        return {
            "profiling": taught(boots, sizes),
            "evaluation": runs.times(sizes.calls_per_run),
            "optimization": proposals(candidates * sizes.predictors),
        }

    def improve(self, search: Search) -> dspy.Module:
        """The best set of rules on the validation set."""
        effort = search.effort
        train = list(search.train)
        random.Random(search.seed).shuffle(train)
        optimizer = _Rules(
            metric=search.score,
            metric_threshold=search.demo_threshold,
            teacher_settings={"lm": search.lms["profiling"]},
            max_bootstrapped_demos=_wanted(effort.max_bootstrapped_demos),
            max_labeled_demos=effort.max_labeled_demos,
            num_candidates=_candidates(effort.auto, effort.trials),
            num_rules=_RULES,
            num_threads=effort.num_threads,
        )
        optimizer.rules_induction_program.teacher_settings = {"lm": search.lms["optimization"]}
        optimizer.rules_induction_program.rng = random.Random(search.seed)
        return optimizer.compile(search.student, trainset=train, valset=list(search.validation))


class _Rules(StockInferRules):
    """InferRules without its defects, by its public methods.

    Stock writes rules into the signature that the student and all candidates share, so that it changes the
    student and returns the last candidate; and where the data hold no answers of a predictor it induces rules
    from questions alone.
    """

    _most = _EXAMPLES

    def update_program_instructions(self, predictor: Any, natural_language_rules: str) -> None:
        """Rules go into a signature of the candidate's own."""
        if not natural_language_rules:
            return
        words = (
            f"{predictor.signature.instructions}\n\n"
            f"Please adhere to the following rules when making your prediction:\n{natural_language_rules}"
        )
        predictor.signature = predictor.signature.with_instructions(words)

    def get_predictor_demos(self, trainset: Sequence[Any], predictor: Any) -> list[dict[str, Any]]:
        """Examples that show an answer of the predictor: of the data, else its own demonstrations."""
        answers = predictor.signature.output_fields
        for source in (trainset, predictor.demos):
            shown = super().get_predictor_demos(source, predictor)
            shown = [example for example in shown if any(name in answers for name in example)]
            if shown:
                return shown[:_EXAMPLES]
        return []

    def induce_natural_language_rules(self, predictor: Any, trainset: Sequence[Any]) -> str:
        """Rules of the examples; none where there is nothing to learn from, or no answer that can be read."""
        demos = self.get_predictor_demos(trainset, predictor)[: self._most]
        while demos:
            try:
                return str(super().induce_natural_language_rules(predictor, demos))
            except AssertionError as error:  # stock asserts that it knows the error
                withheld = withheld_in(error)
                if withheld is None and not isinstance(error.__context__, AdapterParseError):
                    raise
                if withheld is None or not withheld.too_long:
                    return ""
                # Stock shows fewer examples then, if it knows the error.
                self._most = len(demos) // 2
                demos = demos[: self._most]
        return ""


def _candidates(auto: str | None, trials: int | None) -> int:
    return trials if trials is not None else _CANDIDATES[auto or "light"]


def _wanted(demos: int | None) -> int:
    return _DEFAULT_BOOTSTRAPPED if demos is None else demos
