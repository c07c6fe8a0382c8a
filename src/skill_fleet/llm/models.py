"""From settings to language models: a phase names a registered model, and gets a metered LM for it."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dspy.utils.exceptions import LMConfigurationError

from skill_fleet.config.load import Loaded, model_spec
from skill_fleet.config.settings import PHASES, Calls, ModelSpec, Phase
from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import ConfigError, UsageError
from skill_fleet.foundation.redaction import arguments_without_keys, without_password
from skill_fleet.llm.budget import Gate, Limits
from skill_fleet.llm.calls.engine import Inner, Line, MeteredEngine, OnFailure
from skill_fleet.llm.calls.proposals import Proposals
from skill_fleet.llm.commands.known import identity_of
from skill_fleet.llm.fleet_lm import FleetLM
from skill_fleet.llm.limits.limiter import Limiter
from skill_fleet.llm.limits.limiters import PROCESS_LIMITERS, Limiters
from skill_fleet.llm.pricing import price_of
from skill_fleet.llm.providers.provider import Awaitable, Provider, key_of

_DEFAULTS = Calls()
InnerFactory = Callable[[ModelSpec, Mapping[str, str]], Inner]


@dataclass(frozen=True)
class PhaseModels:
    """Which model each phase uses.

    Attributes:
        names: Phase -> registered name (or `provider/name`).
        specs: Phase -> its entry.
    """

    names: Mapping[Phase, str]
    specs: Mapping[Phase, ModelSpec]

    @property
    def simulated(self) -> bool:
        """Whether any phase rests on the offline model."""
        return any(spec.simulated for spec in self.specs.values())

    def identity(self) -> dict[str, dict[str, object]]:
        """What of the models decides their answers: part of a run's digest. No secrets."""
        return {phase: _identity(spec) for phase, spec in self.specs.items()}


def _identity(spec: ModelSpec) -> dict[str, object]:
    keys = ("model", "api_base", "temperature", "max_tokens")
    told = {key: without_password(getattr(spec, key)) for key in keys}
    command = identity_of(spec)
    if command is None:
        return told
    shown = arguments_without_keys(command)
    # A key does not belong among the arguments; where one does, two commands are still told apart.
    return {**told, "command": shown if shown == command else [*shown, f"sha256:{digest(command)}"]}


def phase_models(loaded: Loaded, overrides: Mapping[Phase, str | None] | None = None) -> PhaseModels:
    """The models of all phases: an override, else the configured one, else the phase's default.

    `evaluation` is the target; a phase without a model of its own uses the target's when that is overridden.

    Raises:
        UnknownName: A model is neither registered nor `provider/name`.
    """
    given = overrides or {}
    configured = loaded.settings.phases.model_dump()
    names: dict[Phase, str] = {}
    specs: dict[Phase, ModelSpec] = {}
    for phase in PHASES:
        wanted = given.get(phase) or configured[phase] or given.get("evaluation")
        names[phase], specs[phase] = model_spec(loaded.settings, wanted)
    return PhaseModels(names, specs)


def check_limits(models: PhaseModels, limits: Limits, phases: tuple[Phase, ...] = PHASES) -> None:
    """Refuse a cap that could not hold.

    Raises:
        UsageError: A cap on dollars without a known price or a longest answer, or on tokens without one.
    """
    for phase in phases:
        spec = models.specs[phase]
        if spec.is_command and (limits.usd is not None or limits.tokens is not None):
            raise UsageError(
                f"A cap on cost or tokens cannot hold for {spec.model}: a command tells nobody what it used.",
                hint="Cap --max-calls or --max-minutes.",
            )
        if limits.usd is not None and price_of(spec) is None:
            raise UsageError(
                f"--max-cost cannot hold: the price of {spec.model} is unknown.",
                hint="Set models.registry.<name>.price in config.yaml, or cap --max-calls.",
            )
        if (limits.usd is not None or limits.tokens is not None) and not spec.offline and not spec.max_tokens:
            raise UsageError(
                f"A cap on cost or tokens needs max_tokens for {spec.model}: an answer has no bound.",
                hint="Set models.registry.<name>.max_tokens in config.yaml.",
            )


def inner_of(
    spec: ModelSpec, environ: Mapping[str, str], on_headers: Callable[[Mapping[str, str]], None] | None = None
) -> Inner:
    """What answers for a model: the built-in offline model, a program of this machine, or its provider.

    Args:
        spec: The model.
        environ: Where keys are read from.
        on_headers: Told the headers of a provider's responses.

    Raises:
        KeyMissing: Its key is not in the environment.
        ProviderError: The program of a command is not there.
        ConfigError: There is no such offline model or command.
    """
    if spec.offline:
        from skill_fleet.llm.offline.model import OfflineModel, seed_in

        return Awaitable(OfflineModel(seed_in(spec.model)))
    if spec.is_command:
        from skill_fleet.llm.commands.model import CommandModel

        return CommandModel(spec, environ)
    return Provider(spec, environ, on_headers)


@dataclass(frozen=True)
class Connections:
    """One provider connection a model, and one limiter an account, shared by all stages of a run.

    Attributes:
        environ: Where keys are read from.
        factory: Makes a connection; None makes the true ones.
        calls: How failures are taken.
        clock: Of the limiters.
        limiters: Of all runs of the process where the connections are true. Made ones have their own.
        open: Those that are open.
    """

    environ: Mapping[str, str]
    factory: InnerFactory | None
    calls: Calls
    clock: Clock
    limiters: Limiters
    open: dict[ModelSpec, Inner]

    @classmethod
    def of(
        cls,
        environ: Mapping[str, str],
        factory: InnerFactory | None = None,
        *,
        calls: Calls = _DEFAULTS,
        clock: Clock = SYSTEM_CLOCK,
        limiters: Limiters | None = None,
    ) -> "Connections":
        """No connection yet."""
        if limiters is None:
            limiters = PROCESS_LIMITERS if factory is None else Limiters()
        return cls(environ, factory, calls, clock, limiters, {})

    def to(self, spec: ModelSpec) -> Inner:
        """The connection to a model; opened on first use."""
        if spec not in self.open:
            self.open[spec] = self._opened(spec)
        return self.open[spec]

    def limiter(self, spec: ModelSpec) -> Limiter | None:
        """What bounds the calls to a model's account; None for the offline model in here, if it has no bound.

        Raises:
            KeyMissing: The model's key is not in the environment.
            ConfigError: There is no route to it.
        """
        if spec.offline and spec.rpm is None and spec.tpm is None and spec.in_flight is None:
            return None
        return self.limiters.of(spec, self._account(spec), self.clock, self.calls)

    def _opened(self, spec: ModelSpec) -> Inner:
        if self.factory is not None:
            return self.factory(spec, self.environ)
        limiter = self.limiter(spec)
        if limiter is None:
            return inner_of(spec, self.environ)
        return inner_of(spec, self.environ, functools.partial(limiter.headers, spec.model))

    def _account(self, spec: ModelSpec) -> str | None:
        """What tells the accounts with one provider apart."""
        keyless = spec.offline or spec.is_command or self.factory is not None
        return None if keyless else key_of(spec, self.environ)


def build_lm(
    spec: ModelSpec,
    phase: Phase,
    line: Line,
    gate: Gate,
    connections: Connections,
    on_failure: OnFailure,
    proposals: Proposals | None = None,
) -> FleetLM:
    """The LM of one phase in one stage.

    Raises:
        KeyMissing: The model's key is not in the environment.
        ConfigError: The model does not take the temperature or `max_tokens` it is given.
    """
    inner, limiter = connections.to(spec), connections.limiter(spec)
    engine = MeteredEngine(
        inner, spec, line, gate, price_of(spec), on_failure, limiter=limiter, proposals=proposals
    )
    try:
        return FleetLM(engine, phase=phase, temperature=spec.temperature, max_tokens=spec.max_tokens)
    except LMConfigurationError as error:
        raise ConfigError(
            f"The model {spec.model} cannot be used as configured: {error.message.rstrip('.')}.",
            hint="Change its temperature or max_tokens under models.registry in config.yaml.",
        ) from error


def build_lms(
    models: PhaseModels,
    line: Line,
    gate: Gate,
    connections: Connections,
    on_failure: OnFailure = "halt",
    proposals: Proposals | None = None,
) -> dict[Phase, FleetLM]:
    """One LM a phase, for one stage of a run; `proposals` are made by that of `optimization`."""
    proposed = {"optimization": proposals}
    return {
        phase: build_lm(models.specs[phase], phase, line, gate, connections, on_failure, proposed.get(phase))
        for phase in PHASES
    }
