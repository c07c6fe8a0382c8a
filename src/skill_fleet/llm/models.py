"""From settings to language models: a phase names a registered model, and gets a metered LM for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dspy.utils.exceptions import LMConfigurationError

from skill_fleet.config.load import Loaded, model_spec
from skill_fleet.config.settings import PHASES, ModelSpec, Phase
from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.errors import ConfigError, UsageError
from skill_fleet.foundation.redaction import without_keys, without_password
from skill_fleet.llm.budget import Gate, Limits
from skill_fleet.llm.commands import identity_of
from skill_fleet.llm.engine import Inner, Line, MeteredEngine, OnFailure
from skill_fleet.llm.fleet_lm import FleetLM
from skill_fleet.llm.pricing import price_of
from skill_fleet.llm.provider import Awaitable, Provider

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
    shown = [without_keys(argument) for argument in command]
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


def inner_of(spec: ModelSpec, environ: Mapping[str, str]) -> Inner:
    """What answers for a model: the built-in offline model, a program of this machine, or its provider.

    Raises:
        KeyMissing: Its key is not in the environment.
        ProviderError: The program of a command is not there.
        ConfigError: There is no such offline model or command.
    """
    if spec.offline:
        from skill_fleet.llm.offline.model import OfflineModel, seed_in

        return Awaitable(OfflineModel(seed_in(spec.model)))
    if spec.is_command:
        from skill_fleet.llm.command_model import CommandModel

        return CommandModel(spec, environ)
    return Provider(spec, environ)


@dataclass(frozen=True)
class Connections:
    """One provider connection a model, shared by all stages of a process."""

    environ: Mapping[str, str]
    factory: InnerFactory
    open: dict[ModelSpec, Inner]

    @classmethod
    def of(cls, environ: Mapping[str, str], factory: InnerFactory = inner_of) -> "Connections":
        """No connection yet."""
        return cls(environ, factory, {})

    def to(self, spec: ModelSpec) -> Inner:
        """The connection to a model; opened on first use."""
        if spec not in self.open:
            self.open[spec] = self.factory(spec, self.environ)
        return self.open[spec]


def build_lm(
    spec: ModelSpec, phase: Phase, line: Line, gate: Gate, connections: Connections, on_failure: OnFailure
) -> FleetLM:
    """The LM of one phase in one stage.

    Raises:
        KeyMissing: The model's key is not in the environment.
        ConfigError: The model does not take the temperature or `max_tokens` it is given.
    """
    engine = MeteredEngine(connections.to(spec), spec, line, gate, price_of(spec), on_failure)
    try:
        return FleetLM(engine, phase=phase, temperature=spec.temperature, max_tokens=spec.max_tokens)
    except LMConfigurationError as error:
        raise ConfigError(
            f"The model {spec.model} cannot be used as configured: {error.message.rstrip('.')}.",
            hint="Change its temperature or max_tokens under models.registry in config.yaml.",
        ) from error


def build_lms(
    models: PhaseModels, line: Line, gate: Gate, connections: Connections, on_failure: OnFailure = "halt"
) -> dict[Phase, FleetLM]:
    """One LM a phase, for one stage of a run."""
    return {
        phase: build_lm(models.specs[phase], phase, line, gate, connections, on_failure) for phase in PHASES
    }
