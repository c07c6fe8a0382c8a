"""Optimize a program: ask for it, price it, start it, go on with it."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from skill_fleet.config.settings import Settings
from skill_fleet.foundation.errors import DataError, NotFound
from skill_fleet.foundation.files import read_json
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.journal.journals import open_journal
from skill_fleet.llm.journal.readings import readings_of
from skill_fleet.llm.models import Connections
from skill_fleet.optimization.advice.small_data import data_warnings
from skill_fleet.optimization.conclusions.verdict import digest_of_test
from skill_fleet.optimization.estimates.price import priced
from skill_fleet.optimization.estimates.profile import (
    OnDone,
    Profile,
    profile_price,
    save_profile,
    take_profile,
)
from skill_fleet.optimization.planning.applicable import check_given
from skill_fleet.optimization.planning.changes import price_of
from skill_fleet.optimization.planning.plan import Plan, make_plan, resumed_plan
from skill_fleet.optimization.records.events import Listener
from skill_fleet.optimization.records.request import OptimizationRequest
from skill_fleet.optimization.records.runs import RunFolder, find_run, new_run, status_of, unfinished
from skill_fleet.optimization.registry import find_optimizer
from skill_fleet.optimization.run import Finished, run
from skill_fleet.optimization.session import Control, MayWrite, always
from skill_fleet.services.context import Context
from skill_fleet.services.job_runs import refuse_job
from skill_fleet.services.recommendation import AUTO_OPTIMIZER, resolved


@dataclass(frozen=True)
class Prepared:
    """A run that can start: everything that can be known to be wrong has been looked for.

    Attributes:
        plan: What will be done.
        folder: The run to go on with, or None for a new one.
        reading: The how-manieth reading of its sealed test a new run would be.
        profile: What a few examples took with the configured model; None where none were tried.
    """

    plan: Plan
    folder: RunFolder | None = None
    reading: int = 1
    profile: Profile | None = None


def request_of(context: Context, asked: Mapping[str, Any]) -> OptimizationRequest:
    """A request from what was asked for and, where nothing was, the settings.

    Args:
        context: The settings, flags among them.
        asked: Fields of `OptimizationRequest` that are not settings; None values are not set.

    Raises:
        UsageError: Two values exclude each other.
    """
    defaults = context.settings.optimization
    auto, trials = _effort(context)
    values = {
        **defaults.model_dump(),
        "auto": auto,
        "trials": trials,
        "limits": limits_of(context.settings),
        **{name: value for name, value in asked.items() if value is not None},
    }
    return OptimizationRequest(**values)


def limits_of(settings: Settings) -> Limits:
    """The caps of the settings."""
    budget = settings.budget
    return Limits(budget.max_cost, budget.max_calls, budget.max_tokens, budget.max_minutes)


def prepare_optimization(context: Context, request: OptimizationRequest) -> Prepared:
    """Check a request before anything is queued or spent; `auto` becomes the optimizer recommended.

    Raises:
        SkillFleetError: Something is wrong; one sentence says what and where.
    """
    if request.optimizer != AUTO_OPTIMIZER:
        check_given(find_optimizer(request.optimizer), _given(context))
    plan = make_plan(resolved(context, request), context.loaded)
    return Prepared(plan, reading=readings_of(context.loaded).next(digest_of_test(plan.tested)))


def prepare_resume(
    context: Context, run_id: str | None = None, raised: Limits | None = None, *, anyway: bool = False
) -> Prepared:
    """Check that a run can be gone on with.

    Args:
        context: Where the run is.
        run_id: Its name, the beginning of it, or `latest`; None is the newest that is not finished.
        raised: Caps over the whole run in place of those it began with; None keeps one.
        anyway: Go on over what has changed since; see `price_of_changes`.

    Raises:
        NotFound: There is no such run, or none is unfinished.
        DataError: The run is finished, or the program does not take its data any more.
        StateConflict: It is a job's, which the service goes on with.
        IntegrityError: Something that decides its result has changed since.
    """
    folder = _unfinished_run(context, run_id)
    request = OptimizationRequest.from_json(read_json(folder.request, what="run request"))
    given = {name: value for name, value in vars(raised or Limits()).items() if value is not None}
    request = replace(request, limits=replace(request.limits, **given))
    return Prepared(resumed_plan(folder, context.loaded, request, anyway=anyway), folder)


def price_of_changes(context: Context, prepared: Prepared) -> dict[str, Any] | None:
    """What going on over changes costs; None where nothing has changed. Nothing is spent.

    Returns:
        `changed`, `spent` and `again` of `changes.price_of`, and `estimate`, the whole run's.
    """
    if prepared.folder is None or not prepared.plan.changes:
        return None
    with contextlib.closing(open_journal(context.loaded, context.clock)) as journal:
        spent = journal.spent(prepared.folder.run_id)
    return {**price_of(prepared.plan.changes, spent), "estimate": priced(prepared.plan)}


def estimate_optimization(prepared: Prepared) -> dict[str, Any]:
    """What a run would take: calls, tokens, dollars, minutes, each as `[low, high]`. Nothing is spent."""
    plan = prepared.plan
    price = priced(plan, reading=prepared.reading, profile=prepared.profile)
    of_data = [{"code": code, "message": said} for code, said in data_warnings(plan, prepared.reading)]
    return {
        "program": plan.entry.name,
        "optimizer": plan.optimizer.info.name,
        "model": plan.models.names["evaluation"],
        "simulated": plan.models.simulated,
        "examples": plan.sizes,
        "recommendation": plan.request.recommendation,
        **price,
        "warnings": [*price["warnings"], *of_data],
    }


def price_of_profile(prepared: Prepared, examples: int) -> dict[str, Any]:
    """What profiling so many examples would take: `examples`, and `calls` and `usd` as `[low, high]`."""
    return profile_price(prepared.plan, examples)


def profile_optimization(
    context: Context,
    prepared: Prepared,
    examples: int,
    *,
    control: Control | None = None,
    on_done: OnDone | None = None,
) -> Prepared:
    """Run a few training examples with the configured model, to size a run by them. It costs money.

    The calls are those of the run: its caps hold for both together, and it finds them answered.

    Args:
        context: Settings and workspace.
        prepared: The run; a new one.
        examples: How many, at most.
        control: The user's hand on it.
        on_done: Told how many of how many are done.

    Raises:
        ProviderError: Most examples fail, or no call can succeed.
        BudgetExhausted: A cap is reached.
        Interrupted: The user stopped it.
    """
    folder = begin(context, prepared)
    profile = take_profile(
        prepared.plan,
        context.loaded,
        folder.run_id,
        examples,
        clock=context.clock,
        connections=_connections(context),
        control=control,
        on_done=on_done,
    )
    save_profile(profile, folder)
    return replace(prepared, folder=folder, profile=profile)


def begin(context: Context, prepared: Prepared) -> RunFolder:
    """The folder of the run: the one to go on with, or a new one, once every model can be asked.

    Raises:
        KeyMissing: A model's key is not in the environment.
        StorageError: The folder cannot be made.
    """
    connections = _connections(context)
    for spec in prepared.plan.models.specs.values():
        connections.to(spec)
    return prepared.folder or new_run(context.workspace.runs, context.clock)


def start_optimization(
    context: Context,
    prepared: Prepared,
    folder: RunFolder,
    *,
    listener: Listener | None = None,
    control: Control | None = None,
    may_write: MayWrite = always,
) -> Finished:
    """Run it to its end, or to where it is stopped; a run that was begun repeats no paid call.

    Args:
        context: Settings and workspace.
        prepared: What to do.
        folder: As `begin` gave it.
        listener: Told what happens, in the thread in which it happens.
        control: The user's hand on it.
        may_write: Asked right before a reading of the sealed test is counted, and before the output is
            written; where it raises, the run is stopped.

    Raises:
        StorageError: The run's folder or the journal cannot be used, or another process holds the run.
        LeaseLost: Another process has taken the job up.
    """
    return run(
        prepared.plan,
        folder,
        context.loaded,
        listener=listener,
        control=control,
        clock=context.clock,
        connections=_connections(context),
        lease=context.lease,
        may_write=may_write,
    )


def _connections(context: Context) -> Connections:
    calls = context.settings.calls
    return Connections.of(context.loaded.environ, context.models, calls=calls, clock=context.clock)


def _given(context: Context) -> set[str]:
    """The optimization settings that were given as options of this command."""
    origins = context.loaded.origins
    return {key.removeprefix("optimization.") for key, origin in origins.items() if origin == "flag"}


def _effort(context: Context) -> tuple[str | None, int | None]:
    """`auto` and `trials`: whichever was said nearer to the user; of the default, trials have the word."""
    settings, origins = context.settings.optimization, context.loaded.origins
    auto, trials = origins.get("optimization.auto"), origins.get("optimization.trials")
    if settings.trials is None or (auto == "flag" and trials != "flag"):
        return settings.auto, None
    if auto == "default" or (trials == "flag" and auto != "flag"):
        return None, settings.trials
    return settings.auto, settings.trials


def _unfinished_run(context: Context, run_id: str | None) -> RunFolder:
    runs = context.workspace.runs
    if run_id is None:
        left = [folder for folder in unfinished(runs) if not folder.is_job]
        if not left:
            raise NotFound(f"There is no unfinished run in {runs}.", hint="See: skill-fleet runs list.")
        return left[0]
    folder = find_run(runs, run_id)
    refuse_job(context, folder)
    status, result = status_of(folder)
    if result is not None and not result.get("resume"):
        raise DataError(
            f"The run {folder.run_id} is over ({status}): there is nothing to resume.",
            hint=f"See: skill-fleet runs show {folder.run_id}.",
            code="run_over",
        )
    return folder
