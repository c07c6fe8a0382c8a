"""What decides the result of a run, as digests: what a resume must find as it was."""

from typing import Any

from skill_fleet.core.programs.artifact import versions
from skill_fleet.core.programs.catalog import ProgramEntry, source_digest
from skill_fleet.core.programs.rewards import reward_digest
from skill_fleet.domain.split import Split
from skill_fleet.evaluation.score import Metric
from skill_fleet.llm.models import PhaseModels
from skill_fleet.optimization.planning.metrics import metric_digest
from skill_fleet.optimization.records.request import OptimizationRequest
from skill_fleet.optimization.registry import versions_of

_DECISIVE = (
    "optimizer",
    "auto",
    "trials",
    "rounds",
    "max_bootstrapped_demos",
    "max_labeled_demos",
    "modules",
    "prefer",
    "folds",
    "repeats",
)


def identity_of_run(
    request: OptimizationRequest,
    entry: ProgramEntry,
    metric: Metric,
    models: PhaseModels,
    split: Split,
    reward: str | None,
) -> dict[str, Any]:
    """What decides the result of a run, by name: two runs that have it in common end in the same program.

    Args:
        request: As asked for.
        entry: The program.
        metric: What scores.
        models: Which model each phase uses.
        split: The three parts of the data.
        reward: What prefers an answer, `module:function`.
    """
    asked = request.to_json()
    return {
        "versions": {**versions(), **versions_of(request.optimizer)},
        "program": entry.name,
        "program source": source_digest(entry.build()),
        "metric": metric_digest(metric),
        "data": split.digest,
        "seed": request.seed,
        "models": models.identity(),
        "options": {name: asked[name] if name != "modules" else list(request.modules) for name in _DECISIVE},
        **({} if reward is None else {"reward": reward_digest(reward)}),
    }
