"""The fields of skill data, whichever way they are written: nested or flat, JSON values or JSON strings."""

from collections.abc import Mapping
from typing import Any

from skill_fleet.domain.jsontext import checked, decode, kind
from skill_fleet.foundation.errors import DataError

SKILL_INPUTS = ("task_description", "user_context", "taxonomy_structure", "existing_skills")
EXPECTED = "expected_"

_DEPTH = 2  # of a value inside `expected` inside an item: a string counts as deep as what it stands for
_KNOWN_EXPECTED = ("expected_taxonomy_path", "expected_name", "expected_sections")


def skill_fields(value: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The fields of one item of skill data: all four inputs, what is expected, and other keys as given.

    Args:
        value: The item as read, checked to be JSON.
        place: Where it stands, to begin messages with.

    Raises:
        DataError: `task_description` is missing, or a field is of the wrong type.
    """
    task = value.get("task_description")
    if task is None:
        raise DataError(f"{place}: task_description is missing.", hint="Say there what skill is wanted.")
    if not isinstance(task, str) or not task.strip():
        raise DataError(f"{place}: task_description is {kind(task)}, not a text that says something.")
    inputs = {
        "task_description": task,
        "user_context": _user_context(value.get("user_context"), f"{place}: user_context"),
        "taxonomy_structure": _taxonomy(value.get("taxonomy_structure"), f"{place}: taxonomy_structure"),
        "existing_skills": _text_list(value.get("existing_skills"), f"{place}: existing_skills"),
    }
    nested = _nested_expected(value.get("expected"), f"{place}: expected")
    flat = {name: part for name, part in value.items() if name.startswith(EXPECTED)}
    for name in nested.keys() & flat.keys():
        if nested[name] != flat[name]:
            raise DataError(f"{place}: {name} is given twice, nested and flat, and the two differ.")
    others = {name: part for name, part in value.items() if name not in (*inputs, *flat, "expected")}
    return inputs | _known_expected(nested | flat, place) | others


def _user_context(value: Any, place: str) -> Any:
    """An object, or a text that is no JSON object."""
    if isinstance(value, str):
        if not value.lstrip().startswith("{"):
            return value if value.strip() else {}
        try:
            return checked(decode(value, place), place, depth=_DEPTH)
        except DataError:
            return value
    if value is None or isinstance(value, dict):
        return value or {}
    raise DataError(f"{place} is {kind(value)}, not an object or text.")


def _taxonomy(value: Any, place: str) -> dict[str, Any]:
    parsed = _parsed(value, place)
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        raise DataError(f"{place} is {kind(parsed)}, not an object.", hint="Folders are keys, skills are {}.")
    return parsed


def _text_list(value: Any, place: str) -> list[str]:
    parsed = _parsed(value, place)
    if parsed is None:
        return []
    if not isinstance(parsed, list):
        raise DataError(f"{place} is {kind(parsed)}, not a list of texts.")
    for index, part in enumerate(parsed):
        if not isinstance(part, str):
            raise DataError(f"{place}[{index}] is {kind(part)}, not text.")
    return parsed


def _parsed(value: Any, place: str) -> Any:
    """A JSON value that may be written as a JSON string; a blank string is none."""
    if not isinstance(value, str):
        return value
    return checked(decode(value, place), place, depth=_DEPTH) if value.strip() else None


def _nested_expected(value: Any, place: str) -> dict[str, Any]:
    parsed = _parsed(value, place)
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        raise DataError(f"{place} is {kind(parsed)}, not an object with taxonomy_path, name and sections.")
    return {f"{EXPECTED}{name}": part for name, part in parsed.items()}


def _known_expected(expected: Mapping[str, Any], place: str) -> dict[str, Any]:
    """What is expected, the three known parts of the right type; a null one counts as not given."""
    found = {name: part for name, part in expected.items() if part is not None or name not in _KNOWN_EXPECTED}
    for name in ("expected_taxonomy_path", "expected_name"):
        if name in found:
            found[name] = _said(found[name], f"{place}: {name}")
    if "expected_sections" in found:
        found["expected_sections"] = _text_list(found["expected_sections"], f"{place}: expected_sections")
    return found


def _said(value: Any, place: str) -> str:
    """A path or a name, without the blanks and slashes around it."""
    text = value.strip().strip("/") if isinstance(value, str) else ""
    if not text:
        raise DataError(f"{place} is {kind(value)}, not a text that says something.")
    return text
