"""What it takes to reach a model: its address and the variables of its key; nothing heavy is imported."""

from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.errors import ConfigError
from skill_fleet.llm.providers.routes import effective_address, route_of


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
