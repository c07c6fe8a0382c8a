import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.domain.trainset import SKILL_INPUTS, dump_trainset, load_trainset, trainset_of
from skill_fleet.foundation.errors import DataError, NotFound, SkillFleetError

SEED_ITEM = {
    "task_description": "Create a Python async/await skill",
    "user_context": {"user_id": "user_1"},
    "taxonomy_structure": {"technical_skills": {"programming": {"python": {}}}},
    "existing_skills": ["technical_skills/programming/python"],
    "expected": {
        "taxonomy_path": "technical_skills/programming/python/async",
        "name": "python-async-await",
        "sections": ["Overview", "Syntax", "Examples"],
    },
}
FLAT_ITEM = {
    "task_description": SEED_ITEM["task_description"],
    "user_context": '{"user_id": "user_1"}',
    "taxonomy_structure": '{"technical_skills": {"programming": {"python": {}}}}',
    "existing_skills": '["technical_skills/programming/python"]',
    "expected_taxonomy_path": "technical_skills/programming/python/async",
    "expected_name": "python-async-await",
    "expected_sections": '["Overview", "Syntax", "Examples"]',
}

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
said = text.filter(lambda value: value.strip().strip("/").strip())
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
expected = st.fixed_dictionaries(
    {},
    optional={
        "taxonomy_path": said,
        "name": said,
        "sections": st.lists(text, max_size=3),
        "difficulty": json_values,
    },
)
skill_items = st.fixed_dictionaries(
    {"task_description": said},
    optional={
        "user_context": text | st.dictionaries(text, json_values, max_size=3),
        "taxonomy_structure": st.dictionaries(text, json_values, max_size=3),
        "existing_skills": st.lists(text, max_size=3),
        "expected": expected,
        "source": text,
        "group": text.filter(str.strip),
    },
)
other_items = st.dictionaries(
    text.filter(
        lambda name: name not in {"id", "group", "task_description", "expected", "expected_taxonomy_path"}
    ),
    json_values,
    min_size=1,
    max_size=4,
)


def write(folder: Path, content: str, name: str = "set.json") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(SkillFleetError) as caught:
        load_trainset(path)
    return caught.value.message


def test_the_documents_item_is_read() -> None:
    item = trainset_of([SEED_ITEM]).items[0]
    assert item.id == "item-0001"
    assert item.group == "technical_skills/programming/python"
    assert item.fields["expected_sections"] == ["Overview", "Syntax", "Examples"]
    assert item.expected["name"] == "python-async-await"
    assert set(SKILL_INPUTS) <= set(item.fields)


def test_both_shapes_are_the_same_set() -> None:
    assert trainset_of([SEED_ITEM]) == trainset_of([FLAT_ITEM])
    assert trainset_of([SEED_ITEM]).digest == trainset_of([FLAT_ITEM]).digest


def test_the_digest_sees_content_and_order_but_not_formatting(tmp_path: Path) -> None:
    other = {**SEED_ITEM, "task_description": "Describe cooking", "id": "b"}
    first = {**SEED_ITEM, "id": "a"}
    plain = load_trainset(write(tmp_path, json.dumps([first, other])))
    pretty = load_trainset(write(tmp_path, "\ufeff" + json.dumps([first, other], indent=4, sort_keys=True)))
    lines = load_trainset(write(tmp_path, f"{json.dumps(first)}\r\n\n{json.dumps(other)}\n", "set.jsonl"))
    assert plain.digest == pretty.digest == lines.digest
    assert plain.digest != trainset_of([other, first]).digest
    for change in ({"existing_skills": ["x"]}, {"id": "c"}, {"group": "d"}):
        assert plain.digest != trainset_of([first, {**other, **change}]).digest


@settings(deadline=None)
@given(st.lists(skill_items, min_size=1, max_size=4) | st.lists(other_items, min_size=1, max_size=4))
def test_dump_and_load_give_the_same_set(values: list[dict[str, object]]) -> None:
    trainset = trainset_of(values)
    dumped = dump_trainset(trainset)
    again = trainset_of(json.loads(json.dumps(dumped, allow_nan=False)))
    assert again == trainset
    assert dump_trainset(again) == dumped


@settings(deadline=None)
@given(st.lists(other_items, min_size=1, max_size=4))
def test_fields_of_other_programs_are_kept_as_given(values: list[dict[str, object]]) -> None:
    trainset = trainset_of(values)
    assert [dict(item.fields) for item in trainset.items] == values
    assert not trainset.is_skill_data


@settings(deadline=None)
@given(st.lists(skill_items, min_size=1, max_size=3))
def test_every_skill_item_has_the_four_inputs(values: list[dict[str, object]]) -> None:
    for item in trainset_of(values).items:
        assert set(SKILL_INPUTS) <= set(item.fields)
        assert not any(name in SKILL_INPUTS for name in item.expected)


def test_a_plain_text_context_stays_text_and_nothing_is_empty() -> None:
    item = trainset_of([{"task_description": "x", "user_context": "a nurse", "existing_skills": " "}]).items[
        0
    ]
    assert item.fields["user_context"] == "a nurse"
    assert item.fields["existing_skills"] == []
    assert item.fields["taxonomy_structure"] == {}
    assert item.group == "item-0001"


def test_unknown_expectations_are_kept() -> None:
    item = trainset_of(
        [{"task_description": "x", "expected": {"tone": ["dry"]}, "expected_output": "..."}]
    ).items[0]
    assert item.fields["expected_tone"] == ["dry"]
    assert item.fields["expected_output"] == "..."


def test_near_duplicates_without_a_group_share_one() -> None:
    questions = [
        "How many grams of sugar does the lemon cake recipe need?",
        "Name the capital of Mongolia and its river",
        "How many grams of sugar would the lemon cake recipe need, please?",
    ]
    first, second, third = trainset_of([{"question": question} for question in questions]).items
    assert first.group == third.group != second.group


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        (" \n ", "is empty"),
        ("\ufeff", "is empty"),
        ("[]", "holds no item"),
        ("{}", "holds an object, not a list"),
        ("null", "holds null"),
        ('[{"task_description": "a"},]', "line 1, column 28"),
        ('[\n{"task_description": "a"}\n', "line 3, column 1"),
        ('[{"a": 1}, 7]', "item 2 is a number, not an object"),
        ("[{}]", "item 1 has no fields"),
        ('[{"a": NaN}]', "item 1.a is nan"),
        ('[{"a": 1e999}]', "item 1.a is inf"),
        ('[{"a": {"b": 1, "b": 2}}]', "item 1.a has the key 'b' twice"),
        ('[{"a": "\\ud800"}]', "surrogate"),
        ('[{"a": ' + "9" * 5000 + "}]", "too many digits"),
        ('[{"a": ' + "[" * 100 + "]" * 100 + "}]", "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        ('[{"task_description": "a"}, {"user_context": {}}]', "item 2: task_description is missing"),
        ('[{"expected": {"taxonomy_path": "a/b"}}]', "item 1: task_description is missing"),
        ('[{"task_description": ""}]', "task_description is blank text"),
        ('[{"task_description": ["a"]}]', "task_description is a list"),
        (
            '[{"task_description": "a", "id": "x"}, {"task_description": "b", "id": "x"}]',
            "item 2 has the id 'x'",
        ),
        ('[{"task_description": "a", "id": "x"}, {"task_description": "b", "id": "x"}]', "which item 1 has"),
        ('[{"task_description": "a", "id": []}]', "id is a list"),
        ('[{"task_description": "a", "group": " "}]', "group is blank"),
        ('[{"task_description": "a", "user_context": 3}]', "user_context is a number"),
        ('[{"task_description": "a", "taxonomy_structure": []}]', "taxonomy_structure is a list"),
        ('[{"task_description": "a", "taxonomy_structure": "{"}]', "taxonomy_structure is not valid JSON"),
        ('[{"task_description": "a", "existing_skills": {}}]', "existing_skills is an object"),
        ('[{"task_description": "a", "existing_skills": ["b", 4]}]', "existing_skills[1] is a number"),
        ('[{"task_description": "a", "expected": [1]}]', "expected is a list"),
        ('[{"task_description": "a", "expected": {"name": 4}}]', "expected_name is a number"),
        ('[{"task_description": "a", "expected": {"taxonomy_path": "/"}}]', "expected_taxonomy_path"),
        (
            '[{"task_description": "a", "expected": {"name": "b"}, "expected_name": "c"}]',
            "expected_name is given twice",
        ),
    ],
)
def test_a_broken_file_is_refused_by_name_and_place(tmp_path: Path, content: str, words: str) -> None:
    path = write(tmp_path, content)
    message = refusal(path)
    assert words in message
    assert str(path) in message


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, '{"a": 1}\n\n{"a": }\n', "set.jsonl")
    assert "line 3 is not valid JSON: line 1, column 7" in refusal(path)
    assert "line 2 is a list" in refusal(write(tmp_path, '{"a": 1}\n[1]\n', "set.jsonl"))


def test_other_failures_have_their_own_exit_codes(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        load_trainset(tmp_path / "none.json")
    assert caught.value.exit_code == 3
    latin = tmp_path / "latin.json"
    latin.write_bytes(b'[{"a": "\xe4"}]')
    assert "UTF-8" in refusal(latin)
    assert "directory" in refusal(tmp_path)


@pytest.mark.parametrize("value", ["[]", {"a": 1}, 7, None])
def test_python_values_that_are_no_list_are_refused(value: object) -> None:
    with pytest.raises(DataError):
        trainset_of(value)  # type: ignore[arg-type]


def test_python_values_that_json_lacks_are_refused_and_cycles_end() -> None:
    with pytest.raises(DataError, match="is a set"):
        trainset_of([{"a": {1, 2}}])
    with pytest.raises(DataError, match="not text"):
        trainset_of([{"a": {1: 2}}])
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(DataError, match="too deeply"):
        trainset_of([{"a": loop}])


def test_the_callers_values_are_copied() -> None:
    value = {"task_description": "a", "existing_skills": ["x"]}
    trainset = trainset_of([value])
    value["existing_skills"].append("y")  # type: ignore[attr-defined]
    assert trainset.items[0].fields["existing_skills"] == ["x"]


def test_a_huge_text_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps([{"task_description": "word " * 1_000_000}, {"task_description": "b"}]))
    assert len(load_trainset(path).items[0].fields["task_description"]) == 5_000_000
