"""The typed mirror of `config.yaml`. Unknown keys are refused, so a misspelt one is never ignored."""

import ipaddress
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Phase = Literal["profiling", "optimization", "evaluation", "judge"]
_HOST = re.compile(r"[A-Za-z0-9._-]+")
SIMULATED_NAMES = ("offline/", "simulated/")
"""How the names begin that `skill-fleet simulate-provider` serves."""
COMMAND = "command"
"""The provider of models that are programs: `command/<name>`."""
COMMANDS_AT_ONCE = 4
"""Most runs of a command at once where nothing is configured: each is a process, and often a subscription."""
PHASES: tuple[Phase, ...] = ("profiling", "optimization", "evaluation", "judge")


def _provider_and_name(model: str) -> str:
    provider, slash, name = model.partition("/")
    if not (provider and slash and name) or any(character.isspace() for character in model):
        raise ValueError(f"{model!r} is not of the form provider/name, for example openai/gpt-4o-mini")
    return model


def _host(name: str) -> str:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        plain = _HOST.fullmatch(name) is not None
    else:
        plain = True
    if not plain:
        raise ValueError(f"'{name}' is not the name of a host, such as fleet.example: no pattern and no port")
    return name


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PriceOverride(_Part):
    """What the operator says a model costs, in US dollars per million tokens."""

    input_per_million: Annotated[float, Field(ge=0)]
    output_per_million: Annotated[float, Field(ge=0)]


class ModelSpec(_Part):
    """One entry of the model registry.

    Attributes:
        model: `provider/name` in DSPy's spelling.
        api_base: Address of an OpenAI-compatible server, for a local model.
        api_key_env: Name of the environment variable that holds the key; None uses the provider's usual one.
        temperature: Sampling temperature, 0 to 2; None leaves it to the provider.
        max_tokens: Longest answer. A cost cap needs it to know the worst case of a call.
        timeout: Seconds for one attempt; below the 120 s after which DSPy would send a call again.
        rpm: Most requests a minute to this model.
        tpm: Most tokens a minute, input and output together.
        in_flight: Most calls at once to this model.
        price: Overrides the price known to DSPy.
        send_seed: Whether the rollout is sent as the request's `seed`, so that a server that takes one gives
            different answers to different rollouts and the same to the same; None sends it where the
            provider's protocol has the field.
        command: For `command/<name>`: the program and its arguments; it reads the prompt on stdin and prints
            the answer.
        command_env: Environment variables the command gets besides the few that every program needs.
    """

    model: Annotated[str, AfterValidator(_provider_and_name)]
    api_base: str | None = None
    api_key_env: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Count | None = None
    timeout: Annotated[float, Field(gt=0, lt=120)] = 100.0
    rpm: Count | None = None
    tpm: Count | None = None
    in_flight: Count | None = None
    price: PriceOverride | None = None
    send_seed: bool | None = None
    command: tuple[str, ...] | None = None
    command_env: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        """A command takes no parameters of an HTTP provider, and no provider takes a command."""
        if not self.is_command:
            if self.command is not None or self.command_env:
                raise ValueError("command and command_env are for models named command/<name>")
            return self
        for name in ("api_base", "api_key_env", "temperature", "max_tokens", "send_seed"):
            if getattr(self, name) is not None:
                raise ValueError(f"a command takes no {name}: what it can be told is among its arguments")
        if self.command is not None and (not self.command or not self.command[0].strip()):
            raise ValueError("command names no program, for example [claude, -p]")
        if any("\0" in argument for argument in self.command or ()):
            raise ValueError("an argument of command has a NUL character in it")
        return self

    @property
    def provider(self) -> str:
        """What stands before the first slash of `model`."""
        return self.model.partition("/")[0]

    @property
    def is_command(self) -> bool:
        """Whether a program of this machine answers: `command/<name>`."""
        return self.provider == COMMAND

    @property
    def at_once(self) -> int | None:
        """Most calls at once: as configured, else for a command `COMMANDS_AT_ONCE`, else no limit."""
        return self.in_flight or (COMMANDS_AT_ONCE if self.is_command else None)

    @property
    def offline(self) -> bool:
        """Whether the built-in offline model answers, in this process: no address, no key, no price."""
        return self.provider == "offline"

    @property
    def simulated(self) -> bool:
        """Whether a simulator answers: the offline model, here or behind `skill-fleet simulate-provider`.

        That command serves no model by any other name, so results through it say `simulated` too.
        """
        return self.offline or self.model.partition("/")[2].startswith(SIMULATED_NAMES)


class Models(_Part):
    """The registry of models and the one used where nothing else is said."""

    default: str
    registry: dict[str, ModelSpec]


class Phases(_Part):
    """Which registered model each phase uses; None is the default model."""

    profiling: str | None = None
    optimization: str | None = None
    evaluation: str | None = None
    judge: str | None = None


class OptimizationDefaults(_Part):
    """Defaults of the flags of `optimize`."""

    optimizer: str = "gepa"
    auto: Literal["light", "medium", "heavy"] | None = "light"
    trials: Count | None = None
    rounds: Count = 2
    max_bootstrapped_demos: Annotated[int, Field(ge=0)] | None = None
    max_labeled_demos: Annotated[int, Field(ge=0)] = 4
    num_threads: Annotated[int, Field(ge=1, le=256)] = 8
    min_groups: Count = 10
    seed: int = 0
    prefer: Literal["quality", "cheaper"] = "quality"
    folds: Annotated[int, Field(ge=2)] | None = None
    repeats: Count = 1


class Budget(_Part):
    """Caps over all phases of a run; None is no cap."""

    max_cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    max_calls: Annotated[int, Field(ge=0)] | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    max_minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class Weights(_Part):
    """What the parts of a skill's quality count; they are scaled to sum to 1."""

    path: Annotated[float, Field(ge=0)] = 0.10
    name: Annotated[float, Field(ge=0)] = 0.10
    sections: Annotated[float, Field(ge=0)] = 0.35
    guard: Annotated[float, Field(ge=0)] = 0.45


class Thresholds(_Part):
    """Quality from which a skill is acceptable, on target, excellent."""

    acceptable: Share = 0.6
    target: Share = 0.8
    excellent: Share = 0.9


class Targets(_Part):
    """What a run should reach: share of examples on target, minutes a round."""

    accuracy: Share = 0.9
    round_minutes: Positive = 5.0


class Evaluation(_Part):
    """How quality is weighed and judged."""

    weights: Weights = Weights()
    thresholds: Thresholds = Thresholds()
    targets: Targets = Targets()


class Server(_Part):
    """The service: where it listens, what it takes, how many jobs run.

    Attributes:
        host: Address to listen at; any but a loopback one asks for an API key.
        port: Port to listen at; 0 takes a free one.
        allowed_hosts: Names it may be called by, besides those of its address; each in full, without port.
        max_body_bytes: Longest body of a request, from 1000.
        body_seconds: Longest time for a body to arrive.
        jobs_at_once: Most jobs a worker runs at a time.
        jobs_everywhere: Most jobs over all workers; None is no limit.
        jobs_per_provider: Most jobs with models of one provider over all workers; None is no limit.
        heartbeat_seconds: A worker that was silent for longer is dead, and its jobs go to others.
        grace_seconds: How long a job that is to stop may take before it is killed.
        silent_minutes: A job without a call, an event or progress for longer hangs, and is started again.
        jobs_per_key: Most jobs of one key that are not over.
        keep_days: How long jobs that are over are kept.
        sse_poll_seconds: How often an open stream of events looks for new ones.
        helper_idle_seconds: How long a process that answers questions outlives the last one.
    """

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    allowed_hosts: tuple[Annotated[str, AfterValidator(_host)], ...] = ()
    max_body_bytes: Annotated[int, Field(ge=1000)] = 4 * 1024 * 1024
    body_seconds: Positive = 20.0
    jobs_at_once: Count = 2
    jobs_everywhere: Count | None = None
    jobs_per_provider: Count | None = None
    heartbeat_seconds: Positive = 15.0
    grace_seconds: Annotated[float, Field(ge=0)] = 10.0
    # More than the longest call with its pauses, and the waiting for an earlier process of a job.
    silent_minutes: Annotated[float, Field(ge=5)] = 30.0
    jobs_per_key: Count = 1000
    keep_days: Positive = 90.0
    sse_poll_seconds: Annotated[float, Field(ge=0.05)] = 0.5
    helper_idle_seconds: Positive = 60.0


class Calls(_Part):
    """How failures of providers are taken, over all models.

    Attributes:
        attempts: Attempts at one call, the first included; each is reserved and counted.
        first_pause: Seconds before the second attempt; doubled for each further one, and jittered.
        longest_pause: Most seconds between two attempts, also when the provider asks for more.
        outage_seconds: A provider that has answered nothing for so long, while it was asked, is given up:
            the run stops, resumable.
        max_failed_share: Share of examples that may fail for good before a measurement is given up; of calls
            for proposals, before a search is.
    """

    attempts: Annotated[int, Field(ge=1, le=20)] = 6
    first_pause: Positive = 1.0
    longest_pause: Positive = 60.0
    outage_seconds: Positive = 120.0
    max_failed_share: Share = 0.5


class Settings(_Part):
    """Everything in `config.yaml`."""

    models: Models
    phases: Phases = Phases()
    optimization: OptimizationDefaults = OptimizationDefaults()
    budget: Budget = Budget()
    calls: Calls = Calls()
    evaluation: Evaluation = Evaluation()
    server: Server = Server()
