"""What a program has seen: on examples that it was made with, it is better than it will be on new ones."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skill_fleet.core.programs.catalog import program_hash
from skill_fleet.core.programs.recipes.recipe import Recipe, members_of
from skill_fleet.domain.trainset import TrainingItem
from skill_fleet.domain.units import units_of
from skill_fleet.foundation.errors import DataError
from skill_fleet.foundation.files import read_json
from skill_fleet.optimization.planning.parts import split_from_json
from skill_fleet.services.programs import NamedProgram

_SKILL_INPUTS = ("task_description",)  # the others are often empty, and say little of what is asked


@dataclass(frozen=True)
class New:
    """Examples that are new to some programs.

    Attributes:
        items: Those of independent units of which no program has seen an example.
        warnings: `trained_on`, where any was left out.
    """

    items: tuple[TrainingItem, ...]
    warnings: tuple[dict[str, Any], ...]


def new_to_all(programs: Sequence[NamedProgram], items: Sequence[TrainingItem], source: str) -> New:
    """The examples on which programs can be compared.

    With an example that a program has seen goes all that a split keeps together with it (`units_of`).

    Args:
        programs: Of one kind.
        items: Examples with ids that differ.
        source: Where they are from, for messages.

    Raises:
        DataError: None is new to all.
    """
    by = {named.label: seen_by(named, items) for named in programs}
    seen = frozenset[str]().union(*by.values())
    if not seen:
        return New(tuple(items), ())
    new = [unit for unit in units_of(items) if seen.isdisjoint(item.id for item in unit)]
    kept = {item.id for unit in new for item in unit}
    who = " and ".join(label for label, ids in by.items() if ids)
    made_with = f"{len(seen)} of {len(items)} examples of {source} were used to make {who}"
    if not kept:
        raise DataError(
            f"{made_with}, and no other is independent of these: nothing can be shown on them.",
            hint="Name examples that no program has seen: --data FILE.",
            code="trained_on",
        )
    left_out = len(items) - len(kept)
    also = "" if left_out == len(seen) else f", {left_out} with the rest of their groups"
    message = f"{made_with}: they are left out{also}. {len(kept)} examples are compared."
    return New(tuple(item for item in items if item.id in kept), (_warning(message, seen),))


def warnings_of_seen(named: NamedProgram, items: Sequence[TrainingItem]) -> list[dict[str, Any]]:
    """`trained_on`, where a program is measured on examples that it has seen."""
    seen = seen_by(named, items)
    if not seen:
        return []
    message = (
        f"{len(seen)} of {len(items)} examples were used to make {named.label}: on new ones it may be worse."
    )
    return [_warning(message, seen)]


def seen_by(named: NamedProgram, items: Sequence[TrainingItem]) -> frozenset[str]:
    """Ids of the examples that a program has seen, told by their inputs.

    Those its run trained on or chose by, as far as the run is here; its demonstrations; the examples of its
    recipe.
    """
    names = _inputs(named, items)
    known = {_asked(fields, names) for fields in _sources(named)} - {None}
    return frozenset(item.id for item in items if _asked(item.fields, names) in known)


def _inputs(named: NamedProgram, items: Sequence[TrainingItem]) -> tuple[str, ...]:
    if named.entry.makes_skills:
        return _SKILL_INPUTS
    return named.entry.inputs or tuple(dict.fromkeys(name for item in items for name in item.fields))


def _sources(named: NamedProgram) -> Iterator[Mapping[str, Any]]:
    """The fields of all examples that went into a program."""
    optimized = named.hash != program_hash(named.entry.build())
    if optimized and named.run is not None and named.run.data.exists():
        split = split_from_json(read_json(named.run.data, what="run data"))
        yield from (item.fields for item in (*split.train, *split.validation))
    if isinstance(named.program, Recipe):
        yield from named.program.recipe.get("examples", ())
    for member in members_of(named.program):
        for predictor in member.predictors():
            yield from (dict(demo) for demo in predictor.demos)


def _asked(fields: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...] | None:
    """The inputs as plain text; None where there is none."""
    texts = tuple(_text(fields.get(name)) for name in names)
    return texts if any(texts) else None


def _text(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return " ".join(text.split())


def _warning(message: str, seen: frozenset[str]) -> dict[str, Any]:
    return {"code": "trained_on", "message": message, "examples": len(seen)}
