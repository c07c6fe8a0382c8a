"""Metered models for a use case that is not a run: journal, budget and control like a run's."""

import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from skill_fleet.config.settings import Phase
from skill_fleet.foundation.clock import timed_name
from skill_fleet.foundation.errors import ProviderError, SkillFleetError
from skill_fleet.llm.budget import Account, Gate, Limits
from skill_fleet.llm.calls.bill import bill, paid
from skill_fleet.llm.calls.engine import Line, OnFailure, Retry
from skill_fleet.llm.fleet_lm import FleetLM
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.journals import open_journal
from skill_fleet.llm.journal.store import KEPT
from skill_fleet.llm.models import Connections, build_lm, check_limits, phase_models
from skill_fleet.optimization.session import Control
from skill_fleet.services.context import Context

_PHASE: Phase = "evaluation"
_RESUME = re.compile(r"\bresume the run\b", re.IGNORECASE)


@dataclass(frozen=True)
class Metered:
    """Models and what is counted of them.

    Attributes:
        lms: The model of each phase that was asked for.
        name: Registered name of that of `evaluation`.
        simulated: Whether the built-in offline model answers in any of them.
        line: Journal and traffic.
    """

    lms: Mapping[Phase, FleetLM]
    name: str
    simulated: bool
    line: Line

    @property
    def lm(self) -> FleetLM:
        """The model of the phase `evaluation`."""
        return self.lms[_PHASE]

    def prices(self) -> dict[str, tuple[float, float] | None]:
        """Model string -> dollars per input and output token, None where unknown."""
        found = {lm.engine.spec.model: lm.engine.price for lm in self.lms.values()}
        return {name: None if one is None else (one.input, one.output) for name, one in found.items()}

    def costs(self) -> dict[str, Any]:
        """Calls so far, and their `bill`."""
        spent = self.line.journal.spent(self.line.run)
        return {
            "calls": {
                "made": spent.calls,
                "from_journal": self.line.traffic.from_journal,
                "possibly_billed": spent.possibly_billed,
                "without_usage": spent.without_usage,
            },
            **bill(spent),
        }


@contextmanager
def metered(
    context: Context,
    purpose: str,
    *,
    model: str | None = None,
    judge: str | None = None,
    phases: tuple[Phase, ...] = (_PHASE,),
    limits: Limits | None = None,
    control: Control | None = None,
    on_failure: OnFailure = "halt",
) -> Iterator[Metered]:
    """The model of the evaluation phase, or another, for as long as a use case takes.

    Where it is a job of the service, calls are booked on the job, and its caps hold over all its processes.

    Args:
        context: Settings and workspace.
        purpose: Begins the name under which calls are booked in the ledger.
        model: In place of the configured one of `evaluation`.
        judge: In place of the configured one of `judge`.
        phases: Whose models are needed.
        limits: Caps on what is done with it.
        control: The user's hand on it.
        on_failure: What a call that failed for good does.

    Raises:
        UnknownName: There is no such model.
        UsageError: A cap could not hold for it.
        KeyMissing: Its key is not in the environment.
        LeaseLost: Another process has taken the job up.
        SkillFleetError: Why a cap, a provider or the user stopped the work.
    """
    caps = limits or Limits()
    models = phase_models(context.loaded, {_PHASE: model, "judge": judge})
    check_limits(models, caps, phases)
    calls = context.settings.calls
    connections = Connections.of(context.loaded.environ, context.models, calls=calls, clock=context.clock)
    journal = open_journal(context.loaded, context.clock, context.lease)
    line = Line(journal, _booked_on(context, purpose), context.clock, Retry.of(calls))
    try:
        hand = control or Control()
        line.patience.listener = hand.on_wait
        gate = hand.watch(Gate(_account(context, line, caps)))
        specs = {phase: models.specs[phase] for phase in phases}
        lms = {
            phase: build_lm(spec, phase, line, gate, connections, on_failure) for phase, spec in specs.items()
        }
        made = Metered(lms, models.names[_PHASE], any(spec.simulated for spec in specs.values()), line)
        try:
            yield made
        except Halt as halt:
            told = halt.error
            raise (with_costs(told, made) if halt.cause == "interrupted" else without_run(told)) from None
        except ProviderError as error:
            raise without_run(error) from None
    except Halt as halt:
        raise without_run(halt.error) from None
    finally:
        line.close()


def _booked_on(context: Context, purpose: str) -> str:
    if context.lease is not None:
        return context.lease.job_id
    return f"{purpose}-{timed_name(context.clock, 6)}"


def _account(context: Context, line: Line, caps: Limits) -> Account:
    """What counts against the caps: of a job also what earlier processes of it have spent."""
    if context.lease is None:
        return Account(caps, context.clock)
    line.journal.reconcile(line.run)
    spent = line.journal.spent(line.run)
    return Account(caps, context.clock, calls=spent.calls, tokens=spent.bound_tokens, usd=spent.bound_usd)


def with_costs(error: SkillFleetError, made: Metered) -> SkillFleetError:
    """An error that ends work before there is a result to show its bill: it says what was paid until then."""
    told = with_bill(error, made)
    if made.costs()["calls"]["made"]:
        told.hint = f"{error.hint} Answers that are there cost nothing: give the command once more.".lstrip()
    return told


def with_bill(error: SkillFleetError, made: Metered) -> SkillFleetError:
    """The error, and what was paid until then."""
    told = copy.copy(error)
    costs = made.costs()
    number = costs["calls"]["made"]
    calls = f"{number:,} {'call' if number == 1 else 'calls'}, {sum(costs['tokens'].values()):,} tokens"
    told.message = f"{error.message} Spent until then: {paid(costs, _dollars, calls)}."
    return told


def _dollars(usd: float) -> str:
    return f"${usd:.4f}" if usd else "$0"


def without_run(error: SkillFleetError) -> SkillFleetError:
    """An error of what is no run, and so cannot be resumed: only said again, with the answers kept."""
    hint = _RESUME.sub(_again, error.hint)
    if hint == error.hint:
        return error
    told = copy.copy(error)  # who has given a provider up tells others of the very same error
    told.hint = hint if KEPT in hint else f"{hint} Answers that are there cost nothing."
    return told


def _again(found: re.Match[str]) -> str:
    return "Give the command once more" if found[0][0].isupper() else "give the command once more"
