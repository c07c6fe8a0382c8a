"""The settings in force, without secrets, and where each is from."""

import re
from typing import Any

from skill_fleet.services.context import Context

_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")


def show_settings(context: Context) -> list[dict[str, Any]]:
    """Every setting as `key`, `value`, `origin`. A model's key is the name of a variable, never its value."""
    flat = dict(_flat(context.settings.model_dump(), ""))
    origins = context.loaded.origins
    return [
        {"key": key, "value": without_password(value), "origin": origins.get(key, "default")}
        for key, value in flat.items()
    ]


def _flat(value: Any, key: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        below = [_flat(inner, f"{key}.{name}" if key else str(name)) for name, inner in value.items()]
        return [pair for pairs in below for pair in pairs]
    return [(key, value)]


def without_password(value: Any) -> Any:
    """A value as it may be shown: an address without the password in it."""
    return _USERINFO.sub("[key]@", value) if isinstance(value, str) else value
