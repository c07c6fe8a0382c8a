"""What every refusal looks like: a problem document (RFC 9457), one form for all of them.

`type` is `urn:skill-fleet:problem:CODE`; `code`, `hint` and `retryable` are ours. An answer of 500 says
nothing about the inside of the server: that is in its log, under the same request id.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from starlette.responses import Response

from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.services.asking import HelperUnavailable
from skill_fleet.services.job_words import in_fields, without_root
from skill_fleet.services.keys import KeyBudgetSpent

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2
"""What `Retry-After` says where nothing better is known."""


@dataclass(frozen=True)
class Kind:
    """What a code means over HTTP.

    Attributes:
        status: The status of the answer.
        title: The kind of problem in a few words; the same for every problem of the code.
        retryable: Whether the same request may succeed later.
    """

    status: int
    title: str
    retryable: bool = False


KINDS: Mapping[str, Kind] = {
    # the request itself
    "invalid_json": Kind(400, "The body is not JSON"),
    "bad_request": Kind(400, "The request cannot be read"),
    "unauthorized": Kind(401, "A valid key is needed"),
    "forbidden": Kind(403, "The key does not allow this"),
    "cross_site": Kind(403, "Requests of other sites are refused"),
    "no_route": Kind(404, "There is nothing at this address"),
    "method_not_allowed": Kind(405, "The address does not know this method"),
    "not_acceptable": Kind(406, "The answer does not come in the form asked for"),
    "slow_body": Kind(408, "The body took too long", retryable=True),
    "slow_header": Kind(408, "The header took too long", retryable=True),
    "body_too_large": Kind(413, "The body is too large"),
    "unsupported_media_type": Kind(415, "The body is not application/json"),
    "wrong_host": Kind(421, "The Host header names another server"),
    "invalid_request": Kind(422, "The request is not valid"),
    "too_many_failures": Kind(429, "Too many refused keys", retryable=True),
    "headers_too_large": Kind(431, "The header is too large"),
    "bug": Kind(500, "The server failed"),
    "starting": Kind(503, "The server is not ready", retryable=True),
    # what a use case says
    "usage": Kind(422, "The request is not valid"),
    "unknown_name": Kind(422, "There is no such name"),
    "config": Kind(422, "A setting is wrong"),
    "data": Kind(422, "The data cannot be used"),
    "no_signal": Kind(422, "The metric says the same of everything"),
    "metric": Kind(422, "The metric failed"),
    "program": Kind(422, "The program failed"),
    "key_missing": Kind(422, "The model's key is not set"),
    "not_found": Kind(404, "Not found"),
    "no_result": Kind(404, "There is no result"),
    "removed": Kind(410, "It was removed"),
    "state_conflict": Kind(409, "Its state does not allow this"),
    "idempotency_conflict": Kind(409, "The idempotency key was used for another request"),
    "lease_lost": Kind(409, "Somebody else works on it"),
    "integrity": Kind(409, "What is there is not what was recorded"),
    "gate_failed": Kind(409, "The gate was not passed"),
    "budget": Kind(409, "A cap was reached"),
    "key_budget": Kind(429, "The key's budget of the day is used up", retryable=True),
    "too_many_jobs": Kind(429, "The key has too many unfinished jobs", retryable=True),
    "provider": Kind(502, "The model's provider failed", retryable=True),
    "storage": Kind(503, "The storage failed", retryable=True),
    "unavailable": Kind(503, "The storage does not answer", retryable=True),
    "interrupted": Kind(503, "The server is stopping", retryable=True),
    "helper_busy": Kind(503, "Too many questions are waiting", retryable=True),
    "helper_timeout": Kind(503, "The answer took too long", retryable=True),
    "helper_crashed": Kind(503, "The answer failed", retryable=True),
    "error": Kind(500, "The server failed"),
}
"""Code -> what it means over HTTP. A code that is not here is its error class's, else 500."""

_INSIDE = frozenset({"storage", "unavailable"})
"""What these say is about the machine: files, hosts, disks. It goes to the log."""

_BY_STATUS: Mapping[int, str] = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "no_route",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "slow_body",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    429: "too_many_failures",
    503: "starting",
}


class Refused(SkillFleetError):
    """A request refused for a reason that only exists over HTTP.

    Args:
        code: One of `KINDS`.
        message: One sentence.
        hint: What to do about it.
        headers: Further headers of the answer, for example `Retry-After`.
    """

    def __init__(
        self, code: str, message: str, *, hint: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.headers = dict(headers or {})


def kind_of(error: SkillFleetError) -> tuple[str, Kind]:
    """The code of an error and what it means: by its code, else by its class, else 500."""
    if error.code in KINDS:
        return error.code, KINDS[error.code]
    inherited = (str(base.__dict__.get("code", "")) for base in type(error).__mro__)
    known = next((code for code in inherited if code in KINDS), "error")
    return error.code, KINDS[known]


def problem(
    code: str,
    detail: str,
    *,
    hint: str = "",
    instance: str = "",
    kind: Kind | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """A problem document as an answer.

    Args:
        code: What is wrong, for programs.
        detail: What is wrong, one sentence.
        hint: What to do about it.
        instance: The path that was asked for.
        kind: What the code means, where it is not in `KINDS`.
        headers: Further headers; `Retry-After` is added where a retry makes sense.
        more: Further members of the document.
    """
    kind = kind or KINDS[code]
    document = {
        "type": f"urn:skill-fleet:problem:{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": code,
        "hint": hint,
        "retryable": kind.retryable,
        "instance": instance,
        **more,
    }
    sent = {"Retry-After": str(RETRY_SECONDS)} if kind.retryable else {}
    sent.update(headers or {})
    body = json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    return Response(body, kind.status, sent, MEDIA_TYPE)


def problem_of(error: SkillFleetError, *, instance: str = "", root: str = "", **more: Any) -> Response:
    """The problem document of an error of ours.

    Args:
        error: What a use case raised.
        instance: The path that was asked for.
        root: The workspace's directory, cut out of the sentence: clients need not know where it lies.
        more: Further members of the document.
    """
    code, kind = kind_of(error)
    detail, hint = error.message, error.hint
    if kind.status == 500 or code in _INSIDE:
        detail, hint = f"{kind.title}; the log of the server says why.", ""
    if root:
        detail, hint = without_root(detail, root), without_root(hint, root)
    detail, hint = in_fields(detail), in_fields(hint)
    headers = dict(error.headers) if isinstance(error, Refused) else {}
    if isinstance(error, KeyBudgetSpent | HelperUnavailable) and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if (family := _family(error)) != SkillFleetError.code:
        more["family"] = family
    return problem(code, detail, hint=hint, instance=instance, kind=kind, headers=headers, **more)


def _family(error: SkillFleetError) -> str:
    """The code of the error's class, of which its own code may be a finer one: clients go by it."""
    own = (base for base in type(error).__mro__ if base.__module__ == SkillFleetError.__module__)
    return next(str(base.__dict__["code"]) for base in own if "code" in base.__dict__)


def code_of_status(status: int) -> str:
    """The code of an answer that a library refused by its status alone."""
    return _BY_STATUS.get(status, "bad_request" if status < 500 else "bug")


Answered = Literal[400, 401, 403, 404, 405, 406, 408, 409, 410, 413, 415, 421, 422, 429, 431, 500, 502, 503]
ALWAYS: tuple[Answered, ...] = (400, 401, 403, 408, 413, 415, 421, 429, 431, 500, 503)
"""What any request may be answered with, whatever it asks for."""


def errors(*statuses: Answered) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for its `responses=`; the app adds those of `ALWAYS`."""
    return {status: _documented(status) for status in statuses}


def _documented(status: int) -> dict[str, Any]:
    kinds = {code: kind for code, kind in KINDS.items() if kind.status == status}
    code, kind = next(iter(kinds.items()))
    example = {
        "type": f"urn:skill-fleet:problem:{code}",
        "title": kind.title,
        "status": status,
        "detail": f"{kind.title}.",
        "code": code,
        "hint": "",
        "retryable": kind.retryable,
        "instance": "/api/v2/…",
    }
    answer: dict[str, Any] = {
        "description": "; ".join(f"`{code}`: {kind.title}" for code, kind in kinds.items()),
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example},
        },
    }
    if any(kind.retryable for kind in kinds.values()):
        seconds = {"type": "string", "pattern": "^[0-9]+$"}
        answer["headers"] = {"Retry-After": {"description": "Seconds.", "schema": seconds}}
    return answer


PROBLEM_SCHEMA: Mapping[str, Any] = {
    "title": "Problem",
    "description": "A problem document (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "hint", "retryable", "instance"],
    "properties": {
        "type": {"type": "string", "description": "`urn:skill-fleet:problem:CODE`."},
        "title": {"type": "string", "description": "The kind of problem in a few words."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What is wrong, one sentence."},
        "code": {"type": "string", "description": "What is wrong, for programs."},
        "family": {
            "type": "string",
            "description": "The code of its class, of which `code` may be a finer one.",
        },
        "hint": {"type": "string", "description": "What to do about it; may be empty."},
        "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
        "instance": {"type": "string", "description": "The path that was asked for."},
        "request_id": {"type": "string", "description": "The request's name in the server's log."},
        "errors": {
            "type": "array",
            "description": "Every field that is wrong.",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                "required": ["field", "message"],
            },
        },
    },
}
