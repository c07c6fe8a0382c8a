"""`configure_dspy` and `get_task_lm`: skill-fleet's models for people's own DSPy code."""

from functools import lru_cache
from pathlib import Path

import dspy

from skill_fleet.config.load import Loaded, load, model_spec
from skill_fleet.config.paths import Workspace
from skill_fleet.config.settings import PHASES, Calls, Phase
from skill_fleet.foundation.clock import SYSTEM_CLOCK, iso
from skill_fleet.foundation.errors import UnknownName
from skill_fleet.llm.budget import Account, Gate, Limits
from skill_fleet.llm.calls.engine import Line, Retry
from skill_fleet.llm.fleet_lm import FleetLM
from skill_fleet.llm.journal.journals import journal_at
from skill_fleet.llm.models import Connections, PhaseModels, build_lm, check_limits, phase_models


def configure_dspy(config_path: str | Path | None = None, default_task: str | None = None) -> FleetLM:
    """Make a configured model DSPy's default, with the journal in place of DSPy's cache.

    Args:
        config_path: A `config.yaml`; None uses the workspace's own, or the shipped default.
        default_task: A phase (`profiling`, `optimization`, `evaluation`, `judge`) or a registered model;
            None is `evaluation`.

    Returns:
        The model.

    Raises:
        ConfigError: The configuration is wrong.
        UnknownName: There is no such phase or model.
    """
    lm = get_task_lm(default_task or "evaluation", config_path)
    dspy.configure(lm=lm)
    return lm


def get_task_lm(name: str, config_path: str | Path | None = None) -> FleetLM:
    """The model of a phase, or a registered model by its name.

    Raises:
        ConfigError: The configuration is wrong.
        UnknownName: There is no such phase or model.
        UsageError: The configured budget could not hold for this model.
    """
    loaded = load(config_file=Path(config_path) if config_path is not None else None)
    registry = loaded.settings.models.registry
    if name not in PHASES and name not in registry and "/" not in name:
        raise UnknownName("phase or model", name, [*PHASES, *registry])
    phase: Phase = next((known for known in PHASES if known == name), "evaluation")
    spec = phase_models(loaded).specs[phase] if name in PHASES else model_spec(loaded.settings, name)[1]
    limits = _limits(loaded)
    check_limits(PhaseModels({phase: name}, {phase: spec}), limits, (phase,))
    line, gate = _shared(loaded.workspace, loaded.database, limits, loaded.settings.calls)
    connections = Connections.of(loaded.environ, calls=loaded.settings.calls)
    return build_lm(spec, phase, line, gate, connections, "raise")


def _limits(loaded: Loaded) -> Limits:
    budget = loaded.settings.budget
    return Limits(budget.max_cost, budget.max_calls, budget.max_tokens, budget.max_minutes)


@lru_cache(maxsize=8)
def _shared(workspace: Workspace, database: str | None, limits: Limits, calls: Calls) -> tuple[Line, Gate]:
    """One journal and one budget a workspace and process, however many LMs are asked for."""
    journal = journal_at(workspace, database)
    run = f"library-{iso(SYSTEM_CLOCK.now())}"
    line = Line(journal, run, SYSTEM_CLOCK, Retry.of(calls), calls.max_failed_share)
    return line, Gate(Account(limits, SYSTEM_CLOCK))
