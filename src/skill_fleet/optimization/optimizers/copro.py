"""COPRO: coordinate ascent over instructions (Khattab et al., 2023; after Yang et al., 2023, "OPRO")."""

from collections.abc import Mapping
from typing import Any

import dspy

from skill_fleet.optimization.optimizer import Capabilities, Interval, OptimizerInfo, Parameter, Sizes
from skill_fleet.optimization.search import Search
from skill_fleet.optimization.spending import changed_by_one, proposals

_DEPTHS = {"light": 2, "medium": 3, "heavy": 5}
_BREADTH = 5


class Copro:
    """DSPy's COPRO with the model of `optimization` as proposer; it chooses on the validation set.

    DSPy's has no seed: the run's seed is the rollout of the proposals.
    """

    info = OptimizerInfo(
        name="copro",
        description="Proposes instructions from earlier ones and their scores, one predictor at a time.",
        changes=("instructions",),
        needs="A short program; proposals see instructions and scores, neither examples nor words.",
        cost="High, and it grows with predictors and the square of the depth: each proposal is a full pass.",
        parameters=(
            Parameter("auto", "choice", "light", "light|medium|heavy", "depth 2, 3 or 5"),
            Parameter("trials", "int", None, ">= 1", "depth: generations of 5 proposals a predictor"),
            Parameter("num_threads", "int", 8, "1-256", "examples under way at a time"),
        ),
        capabilities=Capabilities(phases=("optimization", "evaluation"), learns=False),
        shows=0,
    )

    def estimate_calls(self, sizes: Sizes) -> Mapping[str, Interval]:
        """Calls of one round by phase."""
        depth = _depth(sizes.effort.auto, sizes.effort.trials)
        # With several predictors every generation measures the earlier proposals again.
        generations = depth if sizes.predictors == 1 else depth * (depth + 1) / 2
        passes = sizes.predictors * _BREADTH * generations
        asked = sizes.predictors * (_BREADTH * depth - 1)
        # Without a gain the third generation is asked what the second was. A proposal for one predictor
        # leaves the prompts of those before it as they were.
        early = sizes.predictors * (_BREADTH * min(depth, 2) - 1)
        low = 0.3 * early * changed_by_one(sizes.predictors)
        runs = Interval(low, 0.8 * asked, passes).scaled(sizes.validation)
        return {
            "evaluation": runs.times(sizes.calls_per_run),
            "optimization": proposals(asked, early),
        }

    def improve(self, search: Search) -> dspy.Module:
        """The program with the best proposals on the validation set."""
        effort = search.effort
        optimizer = UnchainedCOPRO(
            prompt_model=search.lms["optimization"].copy(rollout_id=search.seed),
            metric=search.score,
            breadth=_BREADTH,
            depth=_depth(effort.auto, effort.trials),
        )
        return optimizer.compile(
            search.student,
            trainset=list(search.validation),
            eval_kwargs={
                "num_threads": effort.num_threads,
                "display_progress": False,
                "display_table": False,
            },
        )


class UnchainedCOPRO(dspy.COPRO):
    """DSPy's, with every signature made from the first one of its predictor.

    DSPy makes each candidate's signature from the one before. A field of a signature keeps the field it was
    made from, so the candidates of a deep search hang on one chain, which cannot be copied at about 70 links.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._first: dict[int, Any] = {}

    def _set_signature(self, predictor: Any, updated_signature: Any) -> None:
        # The predictors are those of one clone, which lives as long as `compile`: their ids stay theirs.
        first = self._first.setdefault(id(predictor), predictor.signature)
        *_, last = updated_signature.fields
        predictor.signature = first.with_instructions(updated_signature.instructions).with_updated_fields(
            last, prefix=updated_signature.fields[last].json_schema_extra["prefix"]
        )


def _depth(auto: str | None, trials: int | None) -> int:
    return trials if trials is not None else _DEPTHS[auto or "light"]
