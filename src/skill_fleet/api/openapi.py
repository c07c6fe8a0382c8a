"""The description of the API: what FastAPI derives, and what holds for every operation."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from skill_fleet.api.problems import ALWAYS, PROBLEM_SCHEMA, errors
from skill_fleet.api.security import scope_needed

_DESCRIPTION = """\
Write, measure and optimize agent skills.

Every refusal is a problem document (RFC 9457) with `code`, `hint` and `retryable`. Where a key exists, each
request needs one: `Authorization: Bearer KEY`. Scopes: `read`, `run` (starts jobs, with all of `read`),
`admin` (everybody's jobs, with all of `run`).
"""


def describe(app: FastAPI) -> None:
    """Let `/openapi.json` tell the whole: the refusals of every operation, problem documents, and keys."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(app)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # the documented way to change it


def _completed(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = dict(PROBLEM_SCHEMA)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "Made by `skill-fleet keys create`."}
    }
    for method, path, operation in _operations(document):
        _complete(operation, method, path)
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in ("get", "head", "post", "put", "patch", "delete"):
            if method in item:
                yield method.upper(), path, item[method]


def _complete(operation: dict[str, Any], method: str, path: str) -> None:
    answers = operation.setdefault("responses", {})
    for status, answer in errors(*ALWAYS, 422).items():
        if status == 422 and "422" not in answers:
            continue  # it takes nothing that could be wrong
        known = answers.get(str(status), {})
        if "application/problem+json" not in known.get("content", {}):
            answers[str(status)] = answer
    operation["responses"] = {status: answers[status] for status in sorted(answers)}
    needed = scope_needed(method, path)
    # One of two: where no key exists, none is needed.
    operation["security"] = [] if needed is None else [{"key": []}, {}]
    if needed is not None:
        operation["x-scope"] = needed
