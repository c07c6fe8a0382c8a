"""What there is: optimizers and models."""

from dataclasses import asdict
from typing import Any

from skill_fleet.config.settings import PHASES, ModelSpec
from skill_fleet.foundation.errors import ConfigError
from skill_fleet.llm.models import phase_models
from skill_fleet.llm.pricing import price_of
from skill_fleet.llm.routes import effective_address, route_of
from skill_fleet.optimization.registry import installed_optimizers
from skill_fleet.services.configuration import without_password
from skill_fleet.services.context import Context

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


def key_variables(spec: ModelSpec) -> tuple[str, ...]:
    """The variables that may hold a model's key: the one named for it, else its provider's usual ones.

    A server of one's own, and what is no provider, wants none.
    """
    if spec.api_key_env is not None:
        return (spec.api_key_env,)
    try:
        route = route_of(spec.model)
    except ConfigError:
        return ()
    own_server = route.local or (spec.api_base is not None and route.address is not None)
    return () if own_server else route.keys


def address_of(spec: ModelSpec) -> str | None:
    """Where the requests of a model go, without a password; None where there is no telling."""
    try:
        return effective_address(spec)
    except ConfigError:
        return None
