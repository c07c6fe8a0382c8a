"""The configuration, proxies of the environment, and optimizers of other packages."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from skill_fleet.services.context import Context
from skill_fleet.services.doctor.check import Check
from skill_fleet.services.proxies import proxies_in


def configuration(context: Context) -> Iterator[Check]:
    """Which files it was read from."""
    files = sorted({origin for origin in context.loaded.origins.values() if origin.endswith(".yaml")})
    own = ", ".join(files) if files else "the defaults only; no config.yaml here"
    yield Check("configuration", "ok", f"{context.workspace.root}: {own}.")


def proxies(context: Context) -> Iterator[Check]:
    """Proxies through which providers are reached; a loopback address never is."""
    for name, address in proxies_in(context.loaded.environ).items():
        try:
            parts = urlsplit(address)
            place = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
        except ValueError:
            parts, place = urlsplit(""), None
        if parts.scheme not in {"http", "https"} or not place:
            hint = f"export {name}=http://HOST:PORT, or unset it."
            yield Check("proxy", "warning", f"{name} is not the address of an HTTP proxy.", hint)
            continue
        bypass = context.loaded.environ.get("NO_PROXY") or context.loaded.environ.get("no_proxy")
        but = f", but for {bypass}" if bypass else ""
        yield Check("proxy", "ok", f"{name}: providers are reached through {place}{but}.")


def plugins(_context: Context) -> Iterator[Check]:
    """Optimizers of other packages."""
    from skill_fleet.optimization.registry import installed_optimizers

    for one in installed_optimizers():
        if one.problem:
            hint = f"Repair, update or uninstall {one.package}; the other optimizers are not touched by it."
            yield Check("optimizer", "warning", one.problem, hint)
        elif one.package != "skill-fleet":
            yield Check("optimizer", "ok", f"{one.name}: of {one.package} {one.version}.")
