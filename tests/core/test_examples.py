"""What a program is given: inputs are inputs, and what is expected never is."""

import json

import dspy
import pytest

from skill_fleet.core.dspy.examples import coerce_examples, to_examples
from skill_fleet.domain.trainset import SKILL_INPUTS, trainset_of
from skill_fleet.evaluation.measurement import identity_of
from skill_fleet.foundation.errors import DataError

EXPECTED = {"taxonomy_path": "a/b", "name": "n", "sections": ["Overview"]}
FLAT = {f"expected_{name}": value for name, value in EXPECTED.items()}
TASK = {"task_description": "Write tests"}
TREE = {"technical_skills": {"programming": {}}}


@pytest.mark.parametrize(
    "value",
    [
        {**TASK, "expected": EXPECTED},
        {**TASK, **FLAT},
        dspy.Example(**TASK, **FLAT),
        dspy.Example(**TASK, expected=EXPECTED).with_inputs("task_description", "expected"),
        dspy.Example(**TASK, **FLAT).with_inputs(*FLAT),
    ],
    ids=["nested", "flat", "example", "declared", "all declared"],
)
@pytest.mark.parametrize("inputs", [SKILL_INPUTS, ()], ids=["of the program", "unknown"])
def test_labels_are_labels_however_they_are_written(value, inputs):
    (example,) = coerce_examples([value], inputs)
    assert not any(name.startswith("expected") for name in example.inputs())
    assert example.expected_taxonomy_path == "a/b"
    assert example.expected_sections == ["Overview"]
    assert "task_description" in example.inputs()


def test_skill_inputs_become_json_text_and_absent_ones_empty_values():
    given = {**TASK, "user_context": {"user_id": "ü"}, "taxonomy_structure": json.dumps(TREE)}
    (example,) = coerce_examples([given], SKILL_INPUTS)
    assert example.inputs().toDict() == {
        "task_description": "Write tests",
        "user_context": '{"user_id": "ü"}',
        "taxonomy_structure": json.dumps(TREE),
        "existing_skills": "[]",
    }


def test_the_inputs_of_a_program_of_ones_own_are_its_fields():
    (example,) = coerce_examples([{"question": "q", "answer": 5, "note": None}], ("question",))
    assert example.inputs().toDict() == {"question": "q"}
    assert example.labels().toDict() == {"answer": 5, "note": None}


def test_without_a_program_the_callers_own_inputs_stand():
    value = dspy.Example(question="q", answer="a").with_inputs("question")
    assert coerce_examples([value])[0].inputs().toDict() == {"question": "q"}


def test_a_program_that_asks_for_a_label_does_not_get_it():
    (example,) = coerce_examples([{"question": "q", "expected_answer": "a"}], ("question", "expected_answer"))
    assert example.inputs().toDict() == {"question": "q"}
    assert example.labels().toDict() == {"expected_answer": "a"}


def test_values_keep_their_types_and_the_callers_object_its_fields():
    history = dspy.History(messages=[{"question": "q", "answer": "a"}])
    value = dspy.Example(question="q", history=history, expected={"name": "n"}).with_inputs(
        "question", "history"
    )
    (example,) = coerce_examples([value], ("question", "history"))
    assert example.history is history
    assert value.keys() == ["question", "history", "expected"]
    given = {**TASK, "expected": dict(EXPECTED)}
    coerce_examples([given], SKILL_INPUTS)
    assert given == {**TASK, "expected": EXPECTED}


def test_an_id_is_who_an_example_is_and_no_field_of_it():
    (example,) = coerce_examples([{**TASK, "id": 7, "group": "g"}], SKILL_INPUTS)
    assert identity_of(example) == ("7", "g")
    assert not {"id", "group"} & set(example.keys())
    (alone,) = coerce_examples([{**TASK, "id": "x"}], SKILL_INPUTS)
    assert identity_of(alone) == ("x", "x")
    (again,) = coerce_examples([example], SKILL_INPUTS)
    assert identity_of(again) == ("7", "g")


def test_a_program_that_takes_an_id_gets_it():
    (example,) = coerce_examples([{"id": "x", "question": "q"}], ("id", "question"))
    assert example.inputs().toDict() == {"id": "x", "question": "q"}


@pytest.mark.parametrize("value", ["text", 5, None, ["task_description"]], ids=str)
def test_what_is_no_example_is_named(value):
    with pytest.raises(DataError, match=f"not a {type(value).__name__}"):
        coerce_examples([value], SKILL_INPUTS)


def test_items_of_a_training_set_become_the_same_examples_as_their_dicts():
    raw = [{**TASK, "user_context": {"a": 1}, "expected": EXPECTED, "id": "one", "group": "g"}]
    (item,) = to_examples(trainset_of(raw).items, SKILL_INPUTS)
    (given,) = coerce_examples(raw, SKILL_INPUTS)
    assert item.inputs().toDict() == given.inputs().toDict()
    assert item.labels().toDict() == given.labels().toDict()
    assert identity_of(item) == identity_of(given) == ("one", "g")
