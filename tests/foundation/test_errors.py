"""The error tree is a promise: codes and exit codes are what scripts rely on."""

import inspect
import re

import pytest

from skill_fleet.foundation import errors
from skill_fleet.foundation.errors import SkillFleetError, UnknownName

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, SkillFleetError) and kind is not UnknownName
]
EXITS = {
    "SkillFleetError": 1,
    "UsageError": 2,
    "ConfigError": 2,
    "NotFound": 3,
    "Removed": 3,
    "DataError": 1,
    "StorageError": 1,
    "IntegrityError": 1,
    "NoSignal": 1,
    "MetricError": 1,
    "ProgramError": 1,
    "GateFailed": 4,
    "BudgetExhausted": 5,
    "ProviderError": 6,
    "KeyMissing": 6,
    "StateConflict": 1,
    "IdempotencyConflict": 1,
    "LeaseLost": 1,
    "Interrupted": 130,
}


def test_exit_codes_are_those_of_the_contract() -> None:
    assert {kind.__name__: kind.exit_code for kind in CLASSES} == EXITS


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in (*CLASSES, UnknownName)]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


def test_the_tree_drawn_at_the_top_is_the_tree() -> None:
    drawn = re.findall(r"([A-Z]\w+)\s+(?:exit|[a-zT])", errors.__doc__ or "")
    assert {kind.__name__ for kind in (*CLASSES, UnknownName)} <= set(drawn)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_says_what_and_what_to_do(kind: type[SkillFleetError]) -> None:
    error = kind("It is so.", hint="Do this.", code="special")
    assert (str(error), error.message, error.hint, error.code) == (
        "It is so.",
        "It is so.",
        "Do this.",
        "special",
    )
    assert kind("x").code == kind.code
    assert kind("x").hint == ""


def test_an_unknown_name_is_told_with_the_nearest_or_with_all() -> None:
    assert UnknownName("optimizer", "geppa", ["gepa", "simba"]).hint == "Did you mean 'gepa'?"
    assert UnknownName("optimizer", "xyz", ["simba", "gepa"]).hint == "Known: gepa, simba."
    assert UnknownName("optimizer", "xyz", ["a"]).message == "There is no optimizer named 'xyz'."
