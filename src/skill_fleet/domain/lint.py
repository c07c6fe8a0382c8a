"""What is wrong with a training set, before anything is spent on it.

Errors make a measurement worthless (the answer stands in the question, examples contradict each other, a
key is about to be sent to a provider); warnings make it weak; infos are numbers worth knowing. Examples
that are not skill data get the checks that need no knowledge of their fields: duplicates, secrets,
licences, groups.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from skill_fleet.domain import leaks
from skill_fleet.domain.blemishes import placeholder_in, secret_in
from skill_fleet.domain.finding import Severity
from skill_fleet.domain.jsontext import texts_in
from skill_fleet.domain.split import MIN_GROUPS, SHARES
from skill_fleet.domain.trainset import TrainingItem, Trainset, blank_fields
from skill_fleet.domain.units import Twins, twins_of, units_of
from skill_fleet.domain.words import terms

SEALED_TEST = 70
"""Examples a sealed test needs to show a gain of five points (80 % power, differences with deviation .15)."""

_LARGEST_SHARE = 0.25
_EXPECTED = ("expected_taxonomy_path", "expected_name", "expected_sections")
_RANK: dict[Severity, int] = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True)
class DataFinding:
    """One thing to know about a training set.

    Args:
        code: Stable machine-readable name, for example `gold_in_taxonomy`.
        severity: `error`, `warning` or `info`.
        items: Ids of the examples it is about; empty when it is about the set.
        message: One sentence: what is wrong. A secret is never repeated in it.
        hint: What to do about it, or an empty string.
    """

    code: str
    severity: Severity
    items: tuple[str, ...]
    message: str
    hint: str = ""


@lru_cache(maxsize=4)
def lint_trainset(trainset: Trainset) -> tuple[DataFinding, ...]:
    """Everything there is to say, errors first, then by code, then in the order of the examples."""
    twins = twins_of(trainset.items)
    findings = [finding for item in trainset.items for finding in _of_item(item)]
    findings += [finding for pair in twins for finding in _of_twins(pair)]
    findings += _of_licences(trainset.items)
    findings += _of_blanks(trainset.items)
    findings += _of_groups(trainset)
    return tuple(sorted(findings, key=lambda finding: (_RANK[finding.severity], finding.code)))


def _of_item(item: TrainingItem) -> Iterator[DataFinding]:
    if item.is_skill:
        yield from _of_skill(item)
    for place, text in texts_in(dict(item.fields)):
        what = secret_in(text)
        if what:
            yield DataFinding(
                "secret",
                "error",
                (item.id,),
                f"{place} of '{item.id}' holds what looks like {what}.",
                "Take it out, and revoke it where it is from: examples are sent to model providers.",
            )


def _of_skill(item: TrainingItem) -> Iterator[DataFinding]:
    for leak in leaks.leaks_of(item):
        yield DataFinding(leak.code, leak.severity, (item.id,), leak.message, leak.hint)
    missing = [name for name in _EXPECTED if not item.fields.get(name)]
    if missing:
        yield DataFinding(
            "expected_missing",
            "warning",
            (item.id,),
            f"'{item.id}' does not say its {', '.join(missing)}.",
            "What is not expected cannot be scored.",
        )
    wording = placeholder_in(item.text)
    if wording:
        yield DataFinding(
            "placeholder",
            "error",
            (item.id,),
            f"The task of '{item.id}' {wording}.",
            "Write what a person who needs this skill would ask for.",
        )
    for name, value in item.expected.items():
        for place, text in texts_in({name: value}):
            wording = placeholder_in(text, whole_task=False)
            if wording:
                message = f"expected {place} of '{item.id}' {wording}."
                yield DataFinding("placeholder", "warning", (item.id,), message, "Write the real answer.")


def _of_twins(twins: Twins) -> Iterator[DataFinding]:
    left, right = twins.left, twins.right
    ids = (left.id, right.id)
    across = left.group != right.group
    names = f"'{left.id}' and '{right.id}'"
    same_words = terms(left.text) == terms(right.text)
    if twins.reason == "identical" or (same_words and across and not _contradict(twins)):
        severity: Severity = "error" if across else "warning"
        where = " though their groups differ" if across else ""
        yield DataFinding("duplicate", severity, ids, f"{names} are the same{where}.", "Keep one of them.")
    elif _contradict(twins):
        how = "the same" if same_words else f"nearly the same (likeness {twins.likeness:.2f})"
        yield DataFinding(
            "contradiction",
            "error" if same_words else "warning",
            ids,
            f"{names} ask {how} but expect different skills.",
            "Say in the tasks what tells the two apart, or correct what is expected.",
        )
    elif across:
        how = "expect the same skill"
        if twins.reason == "near":
            how = f"ask nearly the same (likeness {twins.likeness:.2f})"
        yield DataFinding(
            "near_duplicate",
            "warning",
            ids,
            f"{names} {how} though their groups differ.",
            "Give them one group; a split keeps them together anyway.",
        )


def _contradict(twins: Twins) -> bool:
    """Whether the same question gets two answers."""
    if twins.reason != "near":
        return False
    answers = [
        (twins.left.fields.get(name), twins.right.fields.get(name))
        for name in ("expected_taxonomy_path", "expected_name")
    ]
    return any(left and right and left != right for left, right in answers)


def _of_licences(items: Sequence[TrainingItem]) -> Iterator[DataFinding]:
    without = [
        item.id
        for item in items
        if item.fields.get("source") and not (item.fields.get("licence") or item.fields.get("license"))
    ]
    if without:
        yield DataFinding(
            "licence_missing",
            "warning",
            tuple(without),
            f"{len(without)} examples name a source but no licence.",
            "Add `licence` to them before the set is passed on.",
        )


def _of_blanks(items: Sequence[TrainingItem]) -> Iterator[DataFinding]:
    for name, ids in blank_fields(items).items():
        yield DataFinding(
            "empty_field",
            "warning",
            ids,
            f"The field '{name}' is empty in {len(ids)} of {len(items)} examples.",
            "Fill it in, or take these examples out: what says nothing cannot be told apart.",
        )


def _of_groups(trainset: Trainset) -> Iterator[DataFinding]:
    items, count = trainset.items, len(units_of(trainset.items))
    if count < MIN_GROUPS:
        have = "is 1 independent group" if count == 1 else f"are {count} independent groups"
        yield DataFinding(
            "too_few_groups",
            "warning",
            (),
            f"There {have}; a split asks for {MIN_GROUPS}.",
            "Add examples of other kinds.",
        )
    test = int(len(items) * SHARES[-1])
    if test < SEALED_TEST:
        yield DataFinding(
            "small_test_set",
            "info",
            (),
            f"Of {len(items)} examples about {test} make the sealed test; "
            f"{SEALED_TEST} are needed to show a gain of five points.",
            f"With {SEALED_TEST * 2} examples the test is large enough.",
        )
    for group, size in Counter(item.group for item in items).most_common():
        if size > _LARGEST_SHARE * len(items) and size > 1:
            yield DataFinding(
                "unbalanced_group",
                "warning",
                tuple(item.id for item in items if item.group == group),
                f"The group '{group}' holds {size} of {len(items)} examples.",
                "Divide it by topic, or add examples of other groups.",
            )
