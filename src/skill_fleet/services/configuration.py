"""The settings in force, without secrets, and where each is from."""

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from skill_fleet.config.load import DATABASE_URL
from skill_fleet.foundation.redaction import arguments_without_keys, without_password
from skill_fleet.services.context import Context

if TYPE_CHECKING:
    from skill_fleet.jobs.records import ApiKey

__all__ = ["configuration_view", "database_in_words", "show_settings", "without_password"]


def show_settings(context: Context) -> list[dict[str, Any]]:
    """Every setting as `key`, `value`, `origin`. A model's key is the name of a variable, never its value.

    `database` is no setting, but tells whether one is named: `kind`, `place`, as `configuration_view` does.
    """
    flat = dict(_flat(context.settings.model_dump(mode="json"), ""))
    origins = context.loaded.origins
    database = _database(context)
    named = "default" if context.loaded.database is None else f"environment {DATABASE_URL}"
    return [
        *(
            {"key": key, "value": _shown(key, value), "origin": origins.get(key, "default")}
            for key, value in flat.items()
        ),
        {"key": "database", "value": database, "origin": named},
    ]


def configuration_view(context: Context, key: "ApiKey | None") -> dict[str, Any]:
    """The configuration in force as clients see it.

    Addresses and command lines of models, and the database's, are shown to who may see everything only.

    Args:
        context: The settings.
        key: Who asks; None is a service without keys.
    """
    settings: dict[str, Any] = context.settings.model_dump(mode="json")
    all_of_it = key is None or "admin" in key.scopes
    for model in settings["models"]["registry"].values():
        if all_of_it:
            for place in ("api_base", "command"):
                model[place] = _shown(place, model[place])
        else:
            for place in ("api_base", "api_key_env", "command", "command_env"):
                del model[place]
    database = _database(context)
    if not all_of_it:
        del database["place"]
    return {**settings, "database": database}


def _shown(key: str, value: Any) -> Any:
    """A setting without the password of an address, or a key among the arguments of a command."""
    if isinstance(value, list) and key.rpartition(".")[2] == "command":
        return arguments_without_keys(value)
    return without_password(value)


def _database(context: Context) -> dict[str, str | None]:
    """What the service keeps its jobs in, and where: host and name, nothing else of the address."""
    url = context.loaded.database
    return {"kind": "sqlite" if url is None else "postgresql", "place": database_in_words(url)}


def database_in_words(url: str | None) -> str | None:
    """Name and host of a database, nothing else of its address; None where none is named."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        host, name = parts.hostname, unquote(parts.path.lstrip("/"))
    except ValueError:
        return "PostgreSQL"
    return f"PostgreSQL, {name or 'its default'} on {host or 'this machine'}"


def _flat(value: Any, key: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        below = [_flat(inner, f"{key}.{name}" if key else str(name)) for name, inner in value.items()]
        return [pair for pairs in below for pair in pairs]
    return [(key, value)]
