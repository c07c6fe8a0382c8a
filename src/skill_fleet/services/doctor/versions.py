"""Versions of what is installed, against what this package was made for."""

import importlib.metadata
import platform
import re
import sqlite3
from collections.abc import Iterator

from skill_fleet import __version__
from skill_fleet.services.doctor.check import Check

_NAMED = ("dspy", "gepa", "optuna")
_ANEW = "Install skill-fleet anew."
_OLDEST_SQLITE = (3, 35)
# Two releases of litellm sent what they found in the environment to strangers.
_POISONED = {"litellm": frozenset({"1.82.7", "1.82.8"})}
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([^;]*)(;.*)?")
_BOUND = re.compile(r"(>=|<=|==|!=|<|>)\s*([0-9][0-9.]*)\s*$")


def versions() -> Iterator[Check]:
    """The versions in use; and each package that is missing, unfit, or known to be harmful."""
    found = {name: _installed(name) for name in _NAMED}
    named = ", ".join(f"{name} {version or 'missing'}" for name, version in found.items())
    python = platform.python_version()
    said = f"skill-fleet {__version__}, {named}, Python {python}, SQLite {sqlite3.sqlite_version}."
    whole = None not in found.values()
    yield Check("versions", "ok" if whole else "error", said, "" if whole else _ANEW)
    yield from unfit(importlib.metadata.requires("skill-fleet") or [])
    yield from _poisoned()
    yield from _fallback()
    if numbers(sqlite3.sqlite_version) < _OLDEST_SQLITE:
        hint = "Use a Python that comes with a newer one."
        yield Check("versions", "error", f"SQLite {sqlite3.sqlite_version} is older than 3.35.", hint)


def _installed(name: str) -> str | None:
    """The version of a package; None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def unfit(requirements: list[str]) -> Iterator[Check]:
    """Each requirement that what is installed does not meet.

    Args:
        requirements: As packages state them: `name>=1,<2`; those with a marker are left to the installer.
    """
    for requirement in requirements:
        parts = _REQUIREMENT.match(requirement)
        if parts is None or parts[3]:
            continue
        name, bounds = parts[1], parts[2].strip()
        installed = _installed(name)
        if installed is None:
            yield Check("versions", "error", f"{name} is not installed.", _ANEW)
        elif not fits(installed, bounds):
            said = f"{name} {installed} is installed, and {bounds} is needed."
            yield Check("versions", "error", said, f"Install {name}{bounds}.")


def fits(version: str, bounds: str) -> bool:
    """Whether a version is within bounds such as `>=3.4.1,<3.5`; a bound of another form bounds nothing."""
    have = numbers(version)
    for bound in bounds.split(","):
        parts = _BOUND.match(bound.strip())
        if parts is None:
            continue
        wanted = numbers(parts[2])
        length = max(len(have), len(wanted))
        left, right = (one + (0,) * (length - len(one)) for one in (have, wanted))
        holds = {
            ">=": left >= right,
            "<=": left <= right,
            "==": left == right,
            "!=": left != right,
            "<": left < right,
            ">": left > right,
        }
        if not holds[parts[1]]:
            return False
    return True


def numbers(version: str) -> tuple[int, ...]:
    """The numbers a version begins with: `3.4.1rc2` is (3, 4, 1)."""
    begin = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in begin.group().split(".")) if begin else ()


def _fallback() -> Iterator[Check]:
    """Whether providers are asked by the client that the limits were proven with."""
    from skill_fleet.llm.providers.provider import has_native_client

    if not has_native_client():
        found = _installed("dspy") or "(missing)"
        yield Check(
            "versions",
            "warning",
            f"dspy {found} is none that skill-fleet's transport knows: providers are asked by dspy.LM, "
            "without answers as they come, a bound on a whole attempt, and rate limits from headers.",
            "Install the version of dspy that skill-fleet names.",
        )


def _poisoned() -> Iterator[Check]:
    for name, releases in _POISONED.items():
        installed = _installed(name)
        if installed in releases:
            yield Check(
                "versions",
                "error",
                f"{name} {installed} is a release that steals credentials.",
                "Uninstall it now, and replace every key this machine had in its environment.",
            )
