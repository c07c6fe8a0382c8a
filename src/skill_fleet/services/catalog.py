"""What there is: optimizers and models."""

from dataclasses import asdict
from typing import Any

from skill_fleet.config.settings import PHASES, ModelSpec
from skill_fleet.foundation.redaction import arguments_without_keys, without_password
from skill_fleet.llm.models import phase_models
from skill_fleet.llm.pricing import price_of
from skill_fleet.optimization.registry import installed_optimizers
from skill_fleet.services.context import Context
from skill_fleet.services.model_access import address_of, key_variables

_PER_MILLION = 1_000_000
_DIGITS = 6


def list_optimizers(context: Context) -> list[dict[str, Any]]:
    """Every optimizer that can be used: what it changes, needs and costs, its parameters, its package."""
    default = context.settings.optimization.optimizer
    return [
        {
            **asdict(one.info),
            "default": one.name == default,
            "package": one.package,
            "version": one.version,
        }
        for one in installed_optimizers()
        if one.info is not None
    ]


def list_broken_optimizers() -> list[dict[str, str]]:
    """Optimizers of other packages that cannot be used, each with the reason in one sentence."""
    return [
        {"name": one.name, "package": one.package, "version": one.version, "problem": one.problem}
        for one in installed_optimizers()
        if one.info is None
    ]


def list_models(context: Context) -> list[dict[str, Any]]:
    """Every registered model, and the phases that use it.

    The price is in dollars per million tokens, null where it is unknown. `address` is where its requests go,
    null where there is none or it cannot be told. `key` says whether a variable that may hold its key, one of
    `key_variables`, is set; null where it wants none. No key is ever shown.
    """
    used = phase_models(context.loaded)
    registry = dict(context.settings.models.registry)
    for phase in PHASES:
        registry.setdefault(used.names[phase], used.specs[phase])
    found = []
    for name, spec in sorted(registry.items()):
        variables = key_variables(spec)
        found.append(
            {
                "name": name,
                **spec.model_dump(mode="json"),
                "api_base": without_password(spec.api_base),
                "command": None if spec.command is None else arguments_without_keys(spec.command),
                "address": address_of(spec),
                "price": price_in_millions(spec),
                "simulated": spec.simulated,
                "default": name == context.settings.models.default,
                "phases": [phase for phase in PHASES if used.names[phase] == name],
                "key_variables": list(variables),
                "key": any(context.loaded.environ.get(one) for one in variables) if variables else None,
            }
        )
    return found


def price_in_millions(spec: ModelSpec) -> dict[str, float] | None:
    """What a model costs, in dollars per million tokens; None where nobody knows."""
    price = price_of(spec)
    if price is None:
        return None
    return {
        "input_per_million": round(price.input * _PER_MILLION, _DIGITS),
        "output_per_million": round(price.output * _PER_MILLION, _DIGITS),
    }
