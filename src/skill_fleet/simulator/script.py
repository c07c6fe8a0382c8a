"""A script: what a simulated provider does with prompts that match, for people's own tests."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skill_fleet.foundation.errors import DataError, NotFound
from skill_fleet.simulator.faults import CATALOGUE

_BEGIN = 'A script is a list of rules: [{"match": "…", "answer": "…"}].'
_KEYS = ("match", "answer", "fault", "times")


@dataclass(frozen=True)
class Rule:
    """One step of a script.

    Attributes:
        match: Found anywhere in the prompt: its messages, one under the other.
        answer: The text of the answer; None leaves it to the model.
        fault: Name of the fault that the request meets; None is none, drawn ones neither.
        times: For so many requests, the first that match; None is all.
    """

    match: re.Pattern[str]
    answer: str | None = None
    fault: str | None = None
    times: int | None = None


class Script:
    """Rules at work: the first that matches and is not used up.

    Args:
        rules: In order.
    """

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._left = [rule.times for rule in rules]

    def step(self, prompt: str) -> Rule | None:
        """The rule for a request with this prompt; used up by one."""
        for place, rule in enumerate(self._rules):
            left = self._left[place]
            if left != 0 and rule.match.search(prompt):
                if left is not None:
                    self._left[place] = left - 1
                return rule
        return None


def read_script(path: Path) -> tuple[Rule, ...]:
    """The rules of a file, JSON or YAML.

    Raises:
        NotFound: There is no such file.
        DataError: It is no script: one sentence says what and where.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        written = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"There is no script {path}.", hint="Name a file of JSON or YAML.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The script {path} cannot be read: {error}.") from error
    try:
        value = YAML(typ="safe", pure=True).load(written)
    except (YAMLError, ValueError, RecursionError) as error:
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        place = f"line {mark.line + 1}" if mark else "it"
        why = "has a key twice" if isinstance(error, DuplicateKeyError) else "cannot be read"
        raise DataError(f"The script {path} is neither JSON nor YAML: {place} {why}.", hint=_BEGIN) from error
    return rules_of(value, str(path))


def rules_of(value: Any, where: str) -> tuple[Rule, ...]:
    """The rules of a list of mappings.

    Raises:
        DataError: It is none.
    """
    if not isinstance(value, list):
        raise DataError(f"The script {where} is not a list.", hint=_BEGIN)
    return tuple(_rule(item, f"Rule {number} of the script {where}") for number, item in enumerate(value, 1))


def _rule(item: Any, where: str) -> Rule:
    keys = f"Its keys are {', '.join(_KEYS)}."
    if not isinstance(item, Mapping):
        raise DataError(f"{where} is not a mapping.", hint=keys)
    unknown = [str(key) for key in item if key not in _KEYS]
    if unknown:
        raise DataError(f"{where} has an unknown key '{unknown[0]}'.", hint=keys)
    match, answer, fault, times = (item.get(key) for key in _KEYS)
    if answer is None and fault is None:
        raise DataError(f"{where} has neither an answer nor a fault.", hint="Give one of them.")
    if answer is not None and fault is not None:
        raise DataError(f"{where} has both an answer and a fault.", hint="Give one of them.")
    if answer is not None and not isinstance(answer, str):
        raise DataError(f"{where} has an answer that is no text.", hint="Put it in quotes.")
    if fault is not None and str(fault) not in CATALOGUE:
        raise DataError(f"{where} has an unknown fault '{fault}'.", hint=f"Known: {', '.join(CATALOGUE)}.")
    if times is not None and (not isinstance(times, int) or isinstance(times, bool) or times < 1):
        raise DataError(f"{where} has times that are no whole number above 0.", hint="Without it: always.")
    return Rule(_pattern(match, where), answer, fault, times)


def _pattern(match: Any, where: str) -> re.Pattern[str]:
    if not isinstance(match, str):
        raise DataError(f"{where} has no match.", hint="It is a regular expression; '' matches all.")
    try:
        return re.compile(match)
    except re.error as error:
        said = f"{where} has a match that is no regular expression: {error}."
        raise DataError(said, hint="Try it with Python's re.compile.") from error
