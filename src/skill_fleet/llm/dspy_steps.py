"""The steps of a DSPy call: prepare, execute, finalize.

`dspy.LM.__call__` takes the three in a row. `FleetLM` takes them itself, so that a call it remembers goes
through the first and the last, and only the second is left out: callbacks, warnings, usage tracker and
history are DSPy's own. With a DSPy that was not checked the steps are not there, and `FleetLM` calls
`dspy.LM` as anybody does: slower where a call is remembered, and the same in all else.

Other modules of the call path that lean on names of DSPy that are not its interface: `lm15_json`, which has
its own words where these were not checked, and without another way `pricing` (the price list), `providers`
(the transports of lm15) and `offline.model` (an answer as a stream). Tests of each find out what has changed.
"""

import functools
import importlib
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import dspy

CHECKED = ("3.4.1",)
"""Versions of DSPy that the contract tests of the steps passed with."""

_EXECUTION = "dspy.clients.execution"
_PARAMETERS = {
    (_EXECUTION, "prepare"): ("lm", "prompt", "messages", "kwargs", "asynchronous", "direct"),
    (_EXECUTION, "execute"): ("lm", "call"),
    (_EXECUTION, "aexecute"): ("lm", "call"),
    (_EXECUTION, "finalize"): ("lm", "call", "result"),
    (_EXECUTION, "_result"): ("lm", "response", "call", "provider", "request", "estimate"),
    (_EXECUTION, "combine"): ("results", "model_type"),
    ("dspy.clients._deprecation", "warn_openai_messages"): ("lm", "messages"),
}
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Steps:
    """What a call of `dspy.LM` is made of.

    Attributes:
        prepare: (lm, prompt, messages, kwargs) -> the call, checked and merged with the LM's defaults.
        execute: (lm, call) -> its result, by the engine.
        aexecute: The same, awaited.
        finalize: (lm, call, result) -> what the caller gets, told to the usage tracker and the history.
        result: (lm, response, call, provider, request) -> the result of one response.
        combine: (results, model_type=) -> the result of several completions.
        warn: (lm, messages): DSPy's warning for a way of calling that it gives up.
    """

    prepare: Callable[..., Any]
    execute: Callable[..., Any]
    aexecute: Callable[..., Awaitable[Any]]
    finalize: Callable[..., Any]
    result: Callable[..., Any]
    combine: Callable[..., Any]
    warn: Callable[..., None]


@functools.cache
def steps() -> Steps | None:
    """The steps of this process's DSPy; None, and logged, where they are not those that were checked."""
    problem = _problem(dspy.__version__)
    if problem is not None:
        _logger.warning("Answers are not remembered above the journal: %s.", problem)
        return None
    return Steps(*(_found(module, name) for module, name in _PARAMETERS))


def _problem(version: str) -> str | None:
    if version not in CHECKED:
        return f"DSPy is {version}, the steps of a call were checked with {', '.join(CHECKED)}"
    for (module, name), known in _PARAMETERS.items():
        try:
            parameters = tuple(inspect.signature(_found(module, name)).parameters)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            return f"{module}.{name} cannot be used ({error})"
        if parameters != known:
            return f"{module}.{name} takes {', '.join(parameters)}"
    return None


def _found(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)
