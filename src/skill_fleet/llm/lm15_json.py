"""Requests and answers of lm15 as JSON: what a call's key is made of, and how an answer is stored.

DSPy has functions for it that are not its interface. They are four times as quick as ours, but with any patch
they may write a field more: then every key is another, and a run that goes on pays again for what it has. So
they are used with the versions that were checked. With any other our own words are used: they lean on public
types alone, write the same for all that these can say today, and name a new field only where it is set.
"""

import functools
import importlib
import logging
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import PurePath
from typing import Any, NamedTuple

import dspy
from dspy import lm15
from dspy.lm15 import Request, Response

from skill_fleet.llm.dspy_steps import CHECKED

_SERDE = "dspy._vendor.lm15.serde"
_PARTS: dict[str, Callable[..., Any]] = {
    "text": lm15.TextPart,
    "thinking": lm15.ThinkingPart,
    "refusal": lm15.RefusalPart,
    "citation": lm15.CitationPart,
    "image": lm15.ImagePart,
    "audio": lm15.AudioPart,
    "video": lm15.VideoPart,
    "document": lm15.DocumentPart,
    "binary": lm15.BinaryPart,
    "tool_call": lm15.ToolCallPart,
    "tool_result": lm15.ToolResultPart,
    "data": lm15.DataPart,
}
# What these say is said also where it is empty; in all others what is empty is as good as absent.
_EXACT = (
    *_PARTS.values(),
    lm15.ContinuationState,
    lm15.TokenLogprob,
    lm15.TopLogprob,
    lm15.Adaptation,
)
# Said also where nobody has set them.
_ALWAYS = frozenset({"type", "media_type", "mode", "parameters"})
_logger = logging.getLogger(__name__)


class _Words(NamedTuple):
    request_to_dict: Callable[[Request], dict[str, Any]]
    response_to_dict: Callable[[Response], dict[str, Any]]
    response_from_dict: Callable[[dict[str, Any]], Response]


def request_to_dict(request: Request) -> dict[str, Any]:
    """A request, for its key: what is not set is left out."""
    return _words().request_to_dict(request)


def response_to_dict(response: Response) -> dict[str, Any]:
    """An answer as it is stored, with the provider's own document."""
    return _words().response_to_dict(response)


def response_from_dict(stored: dict[str, Any]) -> Response:
    """The answer that was stored.

    Raises:
        ValueError, TypeError, LookupError, AttributeError: It is none.
    """
    return _words().response_from_dict(stored)


@functools.cache
def _words() -> _Words:
    """DSPy's own; ours, and the reason is logged, where they are not those that were checked."""
    problem = f"DSPy is {dspy.__version__}, its JSON was checked with {', '.join(CHECKED)}"
    if dspy.__version__ in CHECKED:
        try:
            found = importlib.import_module(_SERDE)
            whole = functools.partial(found.response_to_dict, include_provider_data=True)
            return _Words(found.request_to_dict, whole, found.response_from_dict)
        except (ImportError, AttributeError) as error:
            problem = f"{_SERDE} cannot be used ({error})"
    _logger.warning("Requests and answers are written without DSPy's own functions: %s.", problem)
    return _Words(said, said, response_said)


def said(value: Any) -> Any:
    """A request, an answer or a part of one as JSON, in our own words."""
    if isinstance(value, (tuple, list)):
        return [said(one) for one in value]
    if not is_dataclass(value):
        return str(value) if isinstance(value, PurePath) else value
    exact = isinstance(value, _EXACT)
    document = {}
    for field in fields(value):
        found = getattr(value, field.name)
        if not _is_required(field) and found == field.default:
            continue
        words = said(found)
        if exact or field.name in _ALWAYS or words not in (None, "", [], {}):
            document[field.name] = words
    return document


def _is_required(field: "Field[Any]") -> bool:
    return field.default is MISSING or field.name in _ALWAYS


def response_said(stored: dict[str, Any]) -> Response:
    """The answer that was stored, read without DSPy's own functions; see `response_from_dict`."""
    message = stored["message"]
    logprobs = stored.get("logprobs")
    return Response(
        id=stored.get("id"),
        model=stored["model"],
        message=lm15.Message(
            role=message["role"],
            parts=tuple(_part(one) for one in message["parts"]),
            continuation=_states(message),
        ),
        finish_reason=stored["finish_reason"],
        usage=lm15.Usage(**stored.get("usage", {})),
        logprobs=None if logprobs is None else tuple(_logprob(one) for one in logprobs),
        logprobs_complete=stored.get("logprobs_complete", True),
        provider_data=stored.get("provider_data"),
        adaptations=tuple(lm15.Adaptation(**one) for one in stored.get("adaptations", ())),
    )


def _part(stored: dict[str, Any]) -> Any:
    # A tool's result, which has parts of its own, is never in an answer.
    given = {name: value for name, value in stored.items() if name != "type"}
    return _PARTS[stored["type"]](**{**given, "continuation": _states(stored)})


def _states(stored: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(lm15.ContinuationState(**one) for one in stored.get("continuation", ()))


def _logprob(stored: dict[str, Any]) -> Any:
    top = tuple(lm15.TopLogprob(**_bytes(one)) for one in stored.get("top", ()))
    return lm15.TokenLogprob(**{**_bytes(stored), "top": top})


def _bytes(stored: dict[str, Any]) -> dict[str, Any]:
    return {**stored, "bytes": tuple(stored["bytes"])} if stored.get("bytes") is not None else stored
