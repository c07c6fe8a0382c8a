"""Does a model work as configured: one real call, through the whole call path, and counted like any other."""

import secrets
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dspy.lm15 import Request, Response

from skill_fleet.config.load import environment, model_spec
from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.clock import Clock
from skill_fleet.foundation.errors import ConfigError, ProviderError
from skill_fleet.llm.billed import billed
from skill_fleet.llm.budget import Gate, Limits
from skill_fleet.llm.calls.engine import Inner
from skill_fleet.llm.failures import explained, understand
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.models import InnerFactory, inner_of, phase_models
from skill_fleet.llm.providers.provider import Provider
from skill_fleet.llm.providers.routes import takes_seed
from skill_fleet.services.catalog import price_in_millions
from skill_fleet.services.context import Context
from skill_fleet.services.metered import metered
from skill_fleet.services.model_access import address_of
from skill_fleet.services.models_diagnosis import Problem, diagnosed

PURPOSE = "models-test"
"""Begins the name under which these calls stand in the ledger."""
_QUESTION = "What colour is a clear sky at noon?"
_LONGEST_SHOWN = 120
_MOST_LIMITS = 20
_SEEDS = 2**31


@dataclass(frozen=True)
class Trial:
    """What came of asking a model once.

    Attributes:
        name: Registered name, or `provider/name`.
        spec: Its entry.
        problem: Why it does not work; None where it does.
        latency_seconds: From sending to the whole answer; None where nothing was sent.
        answer: What stands in that field, else the whole text, shortened; None where nothing came.
        parsed: Whether DSPy's chat adapter found the field it asked for; None where nothing came.
        finish_reason: As the provider said; None where it said none.
        input_tokens: As billed, cached ones among them; None is unknown.
        output_tokens: The same, the thinking among them.
        usd: What it cost; None is unknown.
        limits: What the provider's headers told of limits.
        context_length: Most input tokens by DSPy's list; None where the model is not in it.
    """

    name: str
    spec: ModelSpec
    problem: Problem | None = None
    latency_seconds: float | None = None
    answer: str | None = None
    parsed: bool | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None
    limits: Mapping[str, str] = field(default_factory=dict)
    context_length: int | None = None

    @property
    def seed(self) -> str:
        """Whether the request's `seed` is taken: `sent and taken`, `not sent`; `unknown` after a failure."""
        if not takes_seed(self.spec):
            return "not sent"
        return "sent and taken" if self.problem is None else "unknown"


def models_in_use(context: Context) -> list[str]:
    """The models that phases use, each once."""
    return sorted(set(phase_models(context.loaded).names.values()))


def try_models(context: Context, names: Sequence[str], before: Callable[[str], None]) -> Iterator[Trial]:
    """Ask each model once, one after the other; all names are looked up before the first is asked.

    Args:
        context: Settings and workspace.
        names: Registered names, or `provider/name`.
        before: Told each name before it is asked.

    Raises:
        UnknownName: There is no such model.
        StorageError: The journal cannot be used.
    """
    chosen = dict(model_spec(context.settings, name) for name in names)
    for name, spec in chosen.items():
        before(name)
        yield try_model(context, name, spec)


def try_model(context: Context, name: str, spec: ModelSpec) -> Trial:
    """Ask one model once; nothing is retried, and no stored answer is taken for a real one.

    Raises:
        StorageError: The journal cannot be used.
        Interrupted: The user stopped it.
    """
    environ = context.loaded.environ
    watch = _Watch(context.clock, context.models)
    calls = context.settings.calls.model_copy(update={"attempts": 1})
    loaded = replace(context.loaded, settings=context.settings.model_copy(update={"calls": calls}))
    once = replace(context, loaded=loaded, models=watch.factory)
    trial = Trial(name, spec, context_length=_context_length(spec))
    try:
        with metered(once, PURPOSE, model=name, limits=Limits(calls=1), on_failure="raise") as meter:
            watch.gate, watch.model = meter.lm.engine.gate, spec.model
            answer, problem = _asked(meter.lm, watch, spec, environ)
            usd = meter.costs()["usd"]
    except (ProviderError, ConfigError) as error:  # before anything was sent
        return replace(trial, problem=diagnosed(error, error, spec, environ), usd=0.0)
    trial = _seen(trial, watch, problem)
    return replace(trial, usd=usd) if answer is None else replace(trial, usd=usd, answer=answer, parsed=True)


class _Watch:
    """Looks on while a model is called: how long it takes, what comes back, what the headers tell.

    Attributes:
        response: What came back.
        error: Why nothing did.
        seconds: How long it took.
        limits: What the headers told.
        gate: Closed after a failure: there is no second attempt, whatever the call path would do.
        model: What is said to fail.
    """

    def __init__(self, clock: Clock, factory: InnerFactory | None) -> None:
        self.response: Response | None = None
        self.error: Exception | None = None
        self.seconds: float | None = None
        self.limits: dict[str, str] = {}
        self.gate: Gate | None = None
        self.model = ""
        self._clock = clock
        self._factory = factory

    def factory(self, spec: ModelSpec, environ: Mapping[str, str]) -> Inner:
        """What answers for the model, watched."""
        if self._factory is not None or spec.offline or spec.is_command:
            self._inner = (self._factory or inner_of)(spec, environ)
        else:
            self._inner = Provider(spec, environ, on_headers=self._hear)
        return self

    def complete(self, request: Request) -> Response:
        """One attempt."""
        began = self._clock.monotonic()
        try:
            self.response = self._inner.complete(request)
            return self.response
        except Exception as error:
            self.error = error
            if self.gate is not None:  # what is only waited out is not asked again either
                self.gate.close(Halt("provider", explained(error, understand(error), self.model)))
            raise
        finally:
            self.seconds = self._clock.monotonic() - began

    async def acomplete(self, request: Request) -> Response:
        """One attempt, in the caller's thread: a test asks once, and waits."""
        return self.complete(request)

    def _hear(self, headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            short = name.lower().removeprefix("anthropic-").removeprefix("x-")
            if short.startswith("ratelimit-") and len(self.limits) < _MOST_LIMITS:
                self.limits[line_of(short.removeprefix("ratelimit-"))] = line_of(value)


def line_of(text: str) -> str:
    """A text of a server on one short line."""
    short = " ".join(text.split())
    return short if len(short) <= _LONGEST_SHOWN else f"{short[:_LONGEST_SHOWN]}…"


def _asked(
    lm: Any, watch: _Watch, spec: ModelSpec, environ: Mapping[str, str]
) -> tuple[str | None, Problem | None]:
    """The answer, read from the field that was asked for, or None; and why there is none at all."""
    import dspy
    from dspy.utils.exceptions import AdapterParseError, LMError

    predict = dspy.Predict(dspy.Signature("question -> answer", "Answer the question in one word."))
    adapter = dspy.ChatAdapter(use_json_adapter_fallback=False)  # that would be a second call
    fresh = {"rollout_id": 1 + secrets.randbelow(_SEEDS - 1)}
    try:
        with dspy.context(lm=lm, adapter=adapter), warnings.catch_warnings():
            # A rollout does without a temperature here: it makes the call a new one, and sends a seed.
            warnings.filterwarnings("ignore", message="rollout_id has no effect", category=UserWarning)
            return line_of(str(predict(question=_QUESTION, config=fresh).answer)), None
    except AdapterParseError:
        return None, None
    except LMError as error:
        return None, diagnosed(error, explained(error, understand(error), spec.model), spec, environ)
    except Halt as halt:
        if halt.cause != "provider":
            raise
        return None, diagnosed(watch.error or halt.error, halt.error, spec, environ)


def _seen(trial: Trial, watch: _Watch, problem: Problem | None) -> Trial:
    """A trial with what was seen of the call."""
    seconds = None if watch.seconds is None else round(watch.seconds, 3)
    trial = replace(trial, problem=problem, latency_seconds=seconds, limits=watch.limits)
    if watch.response is None:
        return trial
    used = billed(trial.spec, watch.response)
    text = watch.response.message.text
    return replace(
        trial,
        answer=line_of(text) if text else None,
        parsed=False,
        finish_reason=watch.response.finish_reason,
        input_tokens=None if used is None else used.input,
        output_tokens=None if used is None else used.output,
    )


def _context_length(spec: ModelSpec) -> int | None:
    """Most tokens of a request, by the list that ships with DSPy; a server of one's own is not in it."""
    if spec.offline or spec.is_command or spec.api_base is not None:
        return None
    environment()  # the packaged list, not the network
    from dspy.clients.model_metadata import model_info

    provider, _, name = spec.model.partition("/")
    found = model_info(provider, name)
    length = found.get("max_input_tokens") if found else None
    return length if isinstance(length, int) else None


def trial_json(trial: Trial) -> dict[str, Any]:
    """A trial as a JSON value; what is unknown is null."""
    problem = trial.problem
    return {
        "name": trial.name,
        "model": trial.spec.model,
        "address": address_of(trial.spec),
        "simulated": trial.spec.simulated,
        "ok": problem is None,
        "error": None
        if problem is None
        else {"code": problem.code, "message": problem.message, "hint": problem.hint},
        "answer": trial.answer,
        "parsed": trial.parsed,
        "latency_seconds": trial.latency_seconds,
        "finish_reason": trial.finish_reason,
        "tokens": {"input": trial.input_tokens, "output": trial.output_tokens},
        "usd": trial.usd,
        "price": price_in_millions(trial.spec),
        "seed": trial.seed,
        "limits": dict(trial.limits),
        "context_length": trial.context_length,
    }
