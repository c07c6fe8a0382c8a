"""Training items as DSPy examples. What is expected is a label, never an input, whatever a caller says."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dspy

from skill_fleet.domain.trainset import IDENTITY, SKILL_INPUTS, TrainingItem
from skill_fleet.foundation.errors import DataError


def is_label(name: str) -> bool:
    """Whether a field says what is expected: such fields never become inputs."""
    return name.startswith("expected")


def as_text(value: Any) -> str:
    """A value as a prompt shows it: text as it is, anything else as compact JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def to_example(item: TrainingItem, inputs: Sequence[str]) -> dspy.Example:
    """One training item as an example.

    Args:
        item: The item.
        inputs: Which of its fields are inputs of the program; labels among them are ignored.

    Returns:
        An example with the item's fields; of the skill inputs, values that are not text become JSON text, and
        absent ones an empty value of their kind. Id and group are no fields: MIPROv2 shows its proposer whole
        examples, and an id must not become a rule. They are found with `evaluation.measurement.identity_of`.
    """
    fields = dict(item.fields)
    if set(inputs) == set(SKILL_INPUTS):
        fields = _with_skill_inputs(fields)
    names = [name for name in inputs if name in fields and not is_label(name)]
    return identified(dspy.Example(**fields).with_inputs(*names), item.id, item.group)


def identified(example: dspy.Example, item_id: str, group: str) -> dspy.Example:
    """The example, marked with the id and the group of its item."""
    setattr(example, IDENTITY, (item_id, group))
    return example


def to_examples(items: Iterable[TrainingItem], inputs: Sequence[str]) -> list[dspy.Example]:
    """Training items as examples, in order."""
    return [to_example(item, inputs) for item in items]


def coerce_examples(values: Iterable[Any], inputs: Sequence[str] = ()) -> list[dspy.Example]:
    """Plain dicts or DSPy examples, as examples whose inputs are right.

    Args:
        values: What a caller gave as `trainset` or `devset`. Of a plain dict, `id` and `group` become the
            example's identity, as in a training set, and are no fields unless the program takes them.
        inputs: The program's input fields; empty leaves the caller's own declaration, less any label.

    Raises:
        DataError: A value is neither a mapping nor an example.
    """
    return [_coerced(value, inputs) for value in values]


def _coerced(value: Any, inputs: Sequence[str]) -> dspy.Example:
    if not isinstance(value, Mapping | dspy.Example):
        raise DataError(
            f"An example is a dict or a dspy.Example, not a {type(value).__name__}: {str(value)[:60]!r}."
        )
    flat: dict[str, Any] = dict(value.items())  # not toDict(), which takes images and histories apart
    identity = getattr(value, IDENTITY, None)
    if isinstance(value, Mapping) and flat.get("id") is not None and not {"id", "group"} & set(inputs):
        item = str(flat.pop("id"))
        identity = (item, str(flat.pop("group", None) or item))
    nested = flat.pop("expected", None)
    if isinstance(nested, Mapping):
        flat.update({f"expected_{key}": inner for key, inner in nested.items()})
    elif nested is not None:
        flat["expected"] = nested
    if "task_description" in flat and set(inputs) <= set(SKILL_INPUTS):
        flat = _with_skill_inputs(flat)
    declared = getattr(value, "_input_keys", None) or ()
    wanted = list(inputs) or [name for name in declared if not is_label(name)]
    if not wanted:
        wanted = [name for name in flat if not is_label(name)]
    example = dspy.Example(**flat).with_inputs(*(n for n in wanted if n in flat and not is_label(n)))
    return example if identity is None else identified(example, *identity)


def _with_skill_inputs(fields: dict[str, Any]) -> dict[str, Any]:
    blank: dict[str, Any] = {"user_context": {}, "taxonomy_structure": {}, "existing_skills": []}
    text = {name: as_text(fields.get(name, blank.get(name, ""))) for name in SKILL_INPUTS}
    return {**fields, **text}
