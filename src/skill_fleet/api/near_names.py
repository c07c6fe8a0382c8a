"""For a field that there is not: the field that was probably meant."""

import difflib
from collections.abc import Sequence
from typing import Any, get_args

from fastapi import Request
from pydantic import BaseModel

_LONGEST = 80
"""Characters of a name that are looked at: it may be as long as a body."""


def near_field(request: Request, place: Sequence[Any]) -> str:
    """A hint for an unknown field of the body of a request.

    Args:
        request: What was asked; its route knows the body.
        place: Where the field is: `body`, then the names from the outside in.

    Returns:
        The nearest name, or all there are; empty where the field is of no body of ours.
    """
    field = getattr(request.scope.get("route"), "body_field", None)
    model = _model(getattr(getattr(field, "field_info", None), "annotation", None))
    for part in place[1:-1]:
        inner = model.model_fields.get(str(part)) if model is not None else None
        model = None if inner is None else _model(inner.annotation)
    if model is None or not place:
        return ""
    near = difflib.get_close_matches(str(place[-1])[:_LONGEST], model.model_fields, n=1, cutoff=0.6)
    return f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(model.model_fields)}."


def _model(annotation: Any) -> type[BaseModel] | None:
    """The model in an annotation that may be a union with None."""
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
