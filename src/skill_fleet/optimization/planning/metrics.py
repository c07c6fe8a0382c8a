"""What a run is scored by: found, taught the data's conventions, and recognised again."""

import inspect

from skill_fleet.config.load import Loaded
from skill_fleet.core.dspy.examples import to_examples
from skill_fleet.core.programs.catalog import ProgramEntry, import_object
from skill_fleet.domain.split import Split
from skill_fleet.domain.trainset import SKILL_INPUTS
from skill_fleet.evaluation.expected import conventions_of
from skill_fleet.evaluation.metric import SkillQuality
from skill_fleet.evaluation.score import Metric
from skill_fleet.evaluation.user_metric import adapt_metric
from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.errors import UsageError
from skill_fleet.optimization.records.request import OptimizationRequest


def find_metric(request: OptimizationRequest, loaded: Loaded, entry: ProgramEntry) -> Metric:
    """The metric of a request: a person's own, or the quality of a skill.

    Raises:
        UsageError: It cannot be used, or a program of one's own has none.
    """
    if request.metric is not None:
        return adapt_metric(import_object(request.metric, "metric", loaded.workspace.root))
    if not entry.makes_skills:
        raise UsageError(
            f"The program {entry.name} needs a metric.",
            hint="--metric module:function, (gold, pred) -> a number in [0, 1].",
        )
    weights = loaded.settings.evaluation.weights
    return SkillQuality(**weights.model_dump())


def taught(metric: Metric, split: Split) -> Metric:
    """A skill metric that words its feedback by the conventions of the training part; same scores."""
    if not isinstance(metric, SkillQuality):
        return metric
    conventions = conventions_of(to_examples(split.train, SKILL_INPUTS))
    return SkillQuality(**metric.weights, conventions=conventions)


def metric_digest(metric: Metric) -> str:
    """A digest of what a metric computes: its code, or its weights."""
    function = getattr(metric, "function", None)
    if function is None:
        return digest([type(metric).__qualname__, repr(metric)])
    try:
        return digest([metric.name, inspect.getsource(inspect.getmodule(function) or function)])
    except (OSError, TypeError):
        return digest([metric.name])
