"""What there is: optimizers and models."""

from dataclasses import asdict
from typing import Any

from skill_fleet.config.settings import PHASES
from skill_fleet.llm.models import phase_models
from skill_fleet.llm.pricing import price_of
from skill_fleet.optimization.registry import installed_optimizers
from skill_fleet.services.configuration import without_password
from skill_fleet.services.context import Context

_PER_MILLION = 1_000_000


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

    The price is in dollars per million tokens, null where it is unknown. `key` says whether the environment
    variable that is named for it is set; null where none is named. No key is ever shown.
    """
    used = phase_models(context.loaded).names
    registry = dict(context.settings.models.registry)
    for phase in PHASES:
        registry.setdefault(used[phase], phase_models(context.loaded).specs[phase])
    found = []
    for name, spec in sorted(registry.items()):
        price = price_of(spec)
        found.append(
            {
                "name": name,
                **spec.model_dump(),
                "api_base": without_password(spec.api_base),
                "price": None
                if price is None
                else {
                    "input_per_million": price.input * _PER_MILLION,
                    "output_per_million": price.output * _PER_MILLION,
                },
                "simulated": spec.simulated,
                "default": name == context.settings.models.default,
                "phases": [phase for phase in PHASES if used[phase] == name],
                "key": bool(context.loaded.environ.get(spec.api_key_env)) if spec.api_key_env else None,
            }
        )
    return found
