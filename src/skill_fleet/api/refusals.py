"""What the web framework refuses by itself, told as a problem document."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from skill_fleet.api.near_names import near_field
from skill_fleet.api.problems import KINDS, code_of_status, problem

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_MOST_ERRORS = 20


def tell_in_our_words(app: FastAPI) -> None:
    """Let an app answer what its framework refuses in the form of all our refusals."""

    async def refused(request: Request, error: Exception) -> Response:
        return _refused(app, request, error)

    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, _invalid)


def _refused(app: FastAPI, request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    code = code_of_status(status)
    said = getattr(error, "detail", "")
    usual = not isinstance(said, str) or said == HTTPStatus(status).phrase
    headers = dict(getattr(error, "headers", None) or {})
    detail, hint = f"{KINDS[code].title}." if usual else said, ""
    if status == 404 and usual:
        detail, hint = "There is nothing at this address.", "GET /openapi.json lists what there is."
    if status == 405:
        allowed = ", ".join(_allowed(app, request))
        headers = {"Allow": allowed}
        detail, hint = f"This address does not know {request.method[:16]}.", f"It knows: {allowed}."
    return problem(
        code,
        detail,
        hint=hint,
        instance=request.url.path[:200],
        headers=headers,
        request_id=request.scope.get("request_id", ""),
    )


def _allowed(app: FastAPI, request: Request) -> list[str]:
    """Every method that some route of this path knows."""
    return [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in app.routes)
    ]


async def _invalid(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    told = [_field(one) for one in found[:_MOST_ERRORS]]
    first = told[0] if told else {"field": "the request", "message": "It is not valid."}
    unknown = next((one["loc"] for one in found if one.get("type") == "extra_forbidden"), None)
    hint = "" if unknown is None else near_field(request, unknown)
    more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
    return problem(
        "invalid_request",
        f"{first['field']}: {first['message']}{more}.",
        hint=hint,
        instance=request.url.path[:200],
        request_id=request.scope.get("request_id", ""),
        errors=told,
    )


def _field(error: dict[str, Any]) -> dict[str, str]:
    """Where and what is wrong, without what was given: that may be long, or a secret in the wrong place."""
    message = str(error.get("msg", "not valid")).removeprefix("Value error, ").rstrip(".")
    if error.get("type") == "extra_forbidden":
        message = "There is no such field"
    return {"field": _dotted(error.get("loc", ())), "message": message[:300]}


def _dotted(place: Sequence[Any]) -> str:
    return ".".join(str(part)[:80] for part in place) or "the request"
