"""Whether the providers of the phases answer, take the key, and have the model; asked for free."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from skill_fleet.config.load import SERVER
from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.clock import Clock
from skill_fleet.foundation.errors import KeyMissing
from skill_fleet.llm.providers.keys import first_key
from skill_fleet.llm.providers.routes import LITELLM, basic_login, list_of_models, route_of
from skill_fleet.services.configuration import without_password
from skill_fleet.services.context import Context
from skill_fleet.services.doctor.check import Check
from skill_fleet.services.doctor.clocks import clock_check, date_in
from skill_fleet.services.doctor.network import Question, Questions, Reply, names_in
from skill_fleet.services.model_access import address_of, key_variables
from skill_fleet.services.models_diagnosis import connection_problem

_SERVICE = "the service"
_ANY_NAME = frozenset({"llama_cpp", "llamafile"})
"""Servers of one model, which answer to any name."""
_FOR_NOW = frozenset({408, 425, 429})
"""Refusals that waiting helps against."""
_LATER = "Wait, and look again; the provider may say more on its status page."
_CALL = "See whether a call does: skill-fleet models test."
_MOST_NAMES = 5
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Reach:
    """Questions that are under way.

    Attributes:
        questions: To the providers.
        specs: The models they are about, by name.
        server: Address of the service that clients talk to, or an empty text.
        environ: For proxies.
        seconds: How long they may take.
    """

    questions: Questions
    specs: Mapping[str, ModelSpec]
    server: str
    environ: Mapping[str, str] = field(repr=False)
    seconds: float

    @classmethod
    def begun(cls, context: Context, models: Mapping[str, ModelSpec], seconds: float) -> Self:
        """Ask the provider of each of these models that has its key, and the service that clients talk to."""
        environ = context.loaded.environ
        specs = {name: spec for name, spec in models.items() if _askable(spec, environ)}
        questions = {name: _question(spec, environ) for name, spec in specs.items()}
        server = environ.get(SERVER, "").strip().rstrip("/")
        if server:
            questions[_SERVICE] = Question(f"{server}/healthz")
        return cls(Questions(questions, environ, seconds, context.clock), specs, server, environ, seconds)

    def checks(self, clock: Clock) -> Iterator[Check]:
        """What came of them; waits for those that are still under way."""
        here = clock.now()
        for name, reply in self.questions.replies().items():
            if name == _SERVICE:
                yield _service(reply, self.server, self.environ, self.seconds)
                continue
            spec = self.specs[name]
            yield _provider(name, spec, reply, self.environ, self.seconds)
            there = date_in(reply.date) if reply.date else None
            skewed = clock_check(f"{name}'s provider", there, here) if there is not None else None
            if skewed is not None:
                yield skewed


def _askable(spec: ModelSpec, environ: Mapping[str, str]) -> bool:
    """Whether there is anybody to ask: a model without a good key is an error already."""
    if address_of(spec) is None or spec.offline or spec.is_command or spec.provider == LITELLM:
        return False
    try:
        return not key_variables(spec) or _key(spec, environ) is not None
    except KeyMissing:
        return False


def _key(spec: ModelSpec, environ: Mapping[str, str]) -> str | None:
    return first_key(key_variables(spec), environ)


def _question(spec: ModelSpec, environ: Mapping[str, str]) -> Question:
    """A provider's list of models: free of cost wherever there is one."""
    key, login, wire = _key(spec, environ), basic_login(spec), route_of(spec.model).wire
    headers: dict[str, str] = {}
    if login is not None:
        headers["authorization"] = login
    if key is not None and wire == "anthropic":
        headers |= {"x-api-key": key, "anthropic-version": "2023-06-01"}
    elif key is not None and wire == "gemini":
        headers["x-goog-api-key"] = key
    elif key is not None:
        headers |= {"authorization": f"Bearer {key}", "api-key": key}
    return Question(list_of_models(spec), headers)


def _provider(name: str, spec: ModelSpec, reply: Reply, environ: Mapping[str, str], seconds: float) -> Check:
    address = address_of(spec) or ""
    if reply.error is not None:
        return _silent(f"{name}: ", address, reply.error, environ, seconds)
    status = reply.status or 0
    if status in {401, 403}:
        variables = " or ".join(key_variables(spec))
        hint = f"Check the key in {variables}." if variables else "Name its key's variable: api_key_env."
        return Check("provider", "error", f"{name}: {address} refuses the key ({status}).", hint)
    if status in {404, 405}:
        said = f"{name}: {address} answers, but has no list of models ({status}); is it the right api_base?"
        return Check("provider", "warning", said, _CALL)
    if 300 <= status < 400:
        said = f"{name}: {address} sends elsewhere ({status}); calls are never redirected."
        return Check("provider", "error", said, "Set api_base to where it sends.")
    if status != 200:
        hint = _LATER if status >= 500 or status in _FOR_NOW else _CALL
        return Check("provider", "warning", f"{name}: {address} answers with status {status}.", hint)
    return _listed(name, spec, address, names_in(reply.value))


def _listed(name: str, spec: ModelSpec, address: str, names: Sequence[str] | None) -> Check:
    if names is None:
        said = f"{name}: {address} answers, but not with a list of models; is it the right api_base?"
        return Check("provider", "warning", said, _CALL)
    model = spec.model.partition("/")[2]
    if not names or spec.provider in _ANY_NAME:
        return Check("provider", "ok", f"{name}: {address} answers.")
    if model in names or f"{model}:latest" in names:
        return Check("provider", "ok", f"{name}: {address} answers, and has {model}.")
    near = difflib.get_close_matches(model, names, n=_MOST_NAMES, cutoff=0.3) or names[:_MOST_NAMES]
    shown = ", ".join(" ".join(one.split())[:_LONGEST_NAME] for one in near)
    said = f"{name}: {address} answers, but does not list {model}."
    return Check("provider", "warning", said, f"It lists {len(names)}, such as {shown}.")


def _silent(whose: str, address: str, error: Exception, environ: Mapping[str, str], seconds: float) -> Check:
    if isinstance(error, TimeoutError):
        hint = "Check the network and any proxy; --offline asks nobody."
        return Check("provider", "error", f"{whose}{address} did not answer within {seconds:g} s.", hint)
    problem = connection_problem(error, address, environ)
    if problem is None:
        hint = "Check api_base, and any proxy."
        kind = type(error).__name__
        return Check("provider", "error", f"{whose}{address} does not answer as a web server ({kind}).", hint)
    return Check("provider", "error", f"{whose}{problem.message}", problem.hint)


def _service(reply: Reply, server: str, environ: Mapping[str, str], seconds: float) -> Check:
    """The server that the commands of jobs talk to."""
    place = without_password(server)
    if reply.error is not None:
        found = _silent(f"{SERVER}: ", place, reply.error, environ, seconds)
        return Check(
            "service", "error", found.message, f"Start it with skill-fleet serve, or unset {SERVER}."
        )
    if reply.status == 200:
        return Check("service", "ok", f"{place} answers.")
    said = f"{place} answers with status {reply.status}, not as a service of skill-fleet."
    return Check("service", "error", said, f"Check {SERVER}.")
