"""Settings changed while the simulator runs, as JSON."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from skill_fleet.foundation.errors import UnknownName, UsageError
from skill_fleet.simulator.settings import Limits, SimulatorSettings

_OF_FAULTS = ("in_a_row", "hang_seconds", "slow_seconds")
_OF_ALL = ("latency", "latency_sigma", "die_after", "bill_errors")
_CHANGEABLE = ("faults", *_OF_FAULTS, "limits", *_OF_ALL)
_TYPES: Mapping[str, TypeAdapter[Any]] = {
    "faults": TypeAdapter(dict[str, float]),
    "in_a_row": TypeAdapter(int),
    "hang_seconds": TypeAdapter(float),
    "slow_seconds": TypeAdapter(float),
    "limits": TypeAdapter(Limits),
    "latency": TypeAdapter(float),
    "latency_sigma": TypeAdapter(float),
    "die_after": TypeAdapter(int | None),
    "bill_errors": TypeAdapter(bool),
}


def changed(settings: SimulatorSettings, value: Mapping[str, Any]) -> SimulatorSettings:
    """The settings with some of them changed.

    Args:
        settings: As they are.
        value: Any of `faults` (rates, all of them anew), `in_a_row`, `hang_seconds`, `slow_seconds`, `limits`
            (all of them anew), `latency`, `latency_sigma`, `die_after`, `bill_errors`.

    Raises:
        UnknownName: It is none of these.
        UsageError: A value is of another type or out of range.
    """
    read = {name: _read(name, given) for name, given in value.items()}
    faults = {name: read[name] for name in _OF_FAULTS if name in read}
    if "faults" in read:
        faults["rates"] = read["faults"]
    rest = {name: read[name] for name in ("limits", *_OF_ALL) if name in read}
    return dataclasses.replace(settings, faults=dataclasses.replace(settings.faults, **faults), **rest)


def shown(settings: SimulatorSettings) -> dict[str, Any]:
    """What can be changed, as it is now."""
    return {
        "faults": dict(settings.faults.rates),
        **{name: getattr(settings.faults, name) for name in _OF_FAULTS},
        "limits": dataclasses.asdict(settings.limits),
        **{name: getattr(settings, name) for name in _OF_ALL},
    }


def _read(name: str, given: Any) -> Any:
    if name not in _CHANGEABLE:
        raise UnknownName("setting", name, _CHANGEABLE)
    if name == "limits" and isinstance(given, dict):
        known = [field.name for field in dataclasses.fields(Limits)]
        unknown = next((key for key in given if key not in known), None)
        if unknown is not None:
            raise UnknownName("limit", unknown, known)
    try:
        return _TYPES[name].validate_python(given, strict=name != "limits")
    except ValidationError as error:
        found = error.errors()[0]
        place = ".".join(map(str, (name, *found["loc"])))
        raise UsageError(f"{place}: {found['msg']}.") from None
