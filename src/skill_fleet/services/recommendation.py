"""Which optimizer: asked on its own, or as `--optimizer auto` of a run."""

from dataclasses import asdict, replace
from typing import Any

from skill_fleet.evaluation.words import gives_words
from skill_fleet.foundation.errors import DataError, StorageError, UsageError
from skill_fleet.foundation.files import read_json
from skill_fleet.optimization.advice.experience import Occasion, past_runs
from skill_fleet.optimization.advice.recommend import Option, Situation, recommend
from skill_fleet.optimization.estimates.estimate import estimate, sizes_of
from skill_fleet.optimization.estimates.run_size import RunSize, size_of_run
from skill_fleet.optimization.planning.plan import Plan, make_plan
from skill_fleet.optimization.records.request import OptimizationRequest
from skill_fleet.optimization.records.runs import unfinished
from skill_fleet.optimization.registry import builtin_optimizers
from skill_fleet.services.context import Context
from skill_fleet.services.job_runs import job_statuses, resume_command

AUTO_OPTIMIZER = "auto"


def recommend_optimizer(context: Context, request: OptimizationRequest) -> dict[str, Any]:
    """The optimizer recommended for a request, whatever optimizer it names. Nothing is spent.

    Returns:
        `optimizer` (null where none fits the caps), `rule`, `reason`, `options` (those of the ladder in the
        order of preference, with prices and what speaks against each), `modules` (what each predictor alone
        would take, where there are several), `resumable` (unfinished runs of this program, whose calls are
        paid for), `past` (what finished runs took and gained) with `past_unreadable`, and what it rests on:
        `situation`, `program`, `model`, `simulated`, `effort`.

    Raises:
        SkillFleetError: The request cannot be carried out by any optimizer; one sentence says why.
    """
    if request.reward is not None:
        raise UsageError(
            "--reward says nothing to --optimizer auto, which never chooses best_of_n or refine: "
            "they change no prompt, and make every answer dearer.",
            hint="Name one: --optimizer best_of_n, or --optimizer refine.",
        )
    plan = make_plan(replace(request, optimizer=_ladder()[0]), context.loaded)
    size = size_of_run(plan)
    options = [_option(plan, name, size) for name in _ladder()]
    occasion = Occasion(plan.request.program, plan.request.metric, plan.models.names["evaluation"])
    past, unreadable = past_runs(context.workspace.runs, occasion)
    labeled = sizes_of(plan, size).labeled
    situation = Situation(
        train=len(plan.split.train),
        words=gives_words(plan.metric),
        answers=labeled is None or labeled > 0,
        limits=request.limits,
    )
    found = recommend(situation, options, past)
    return {
        **found.to_json(),
        "program": plan.entry.name,
        "model": occasion.model,
        "simulated": plan.models.simulated,
        "effort": request.auto if request.trials is None else request.trials,
        "situation": asdict(situation),
        "modules": _alone(_with(plan, found.optimizer), size) if found.optimizer is not None else [],
        "resumable": _resumable(context, request),
        "past": [each.to_json() for each in past.values()],
        "past_unreadable": unreadable,
    }


def resolved(context: Context, request: OptimizationRequest) -> OptimizationRequest:
    """A request that names an optimizer: the recommended one where it asked for `auto`.

    Raises:
        UsageError: No optimizer fits the caps.
    """
    if request.optimizer != AUTO_OPTIMIZER:
        return request
    found = recommend_optimizer(context, request)
    if found["optimizer"] is None:
        raise UsageError(found["reason"], hint="Raise the cap, or choose an optimizer by name.")
    return replace(request, optimizer=found["optimizer"], recommendation=found)


def _ladder() -> list[str]:
    """Optimizers that may be recommended, by rung; those of other packages are chosen by name only."""
    rungs = {name: kind().info.fit.rung for name, kind in builtin_optimizers().items()}
    return sorted(
        (name for name, rung in rungs.items() if rung is not None), key=lambda name: rungs[name] or 0
    )


def _with(plan: Plan, name: str, modules: tuple[str, ...] | None = None) -> Plan:
    """The same plan with another optimizer, or for some predictors: enough for a price."""
    asked = plan.request.modules if modules is None else modules
    request = replace(plan.request, optimizer=name, modules=asked)
    return replace(plan, optimizer=builtin_optimizers()[name](), request=request)


def _option(plan: Plan, name: str, size: RunSize) -> Option:
    priced = _with(plan, name)
    return Option(priced.optimizer.info, _price(priced, size))


def _price(plan: Plan, size: RunSize) -> dict[str, Any]:
    value = estimate(plan, size=size)
    return {measure: value[measure] for measure in ("calls", "tokens", "usd", "minutes")}


def _alone(plan: Plan, size: RunSize) -> list[dict[str, Any]]:
    """What each predictor alone would take, where that is less; none where some were named."""
    whole = _price(plan, size)["calls"][1]
    names = [name.removesuffix(".predict") for name, _ in plan.entry.build().named_predictors()]
    if len(names) < 2 or plan.request.modules:
        return []
    prices = {name: _price(_with(plan, plan.optimizer.info.name, (name,)), size) for name in names}
    return [{"module": name, **price} for name, price in prices.items() if price["calls"][1] < whole]


def _resumable(context: Context, request: OptimizationRequest) -> list[dict[str, str]]:
    """Unfinished runs of the same program and metric."""
    found = []
    left = unfinished(context.workspace.runs)
    statuses = job_statuses(context, left)
    for folder in left:
        command: str | None = f"skill-fleet runs resume {folder.run_id}"
        if folder.is_job:
            command = resume_command(folder.run_id, statuses.get(folder.run_id))
        if command is None:
            continue
        try:
            asked = read_json(folder.request, what="run request")
        except (DataError, StorageError):
            continue  # `runs list` names damaged runs
        if (asked.get("program"), asked.get("metric")) == (request.program, request.metric):
            found.append({"run_id": folder.run_id, "command": command})
    return found
