import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.domain.lint import DataFinding, lint_trainset
from skill_fleet.domain.trainset import load_trainset, trainset_of
from skill_fleet.foundation.errors import SkillFleetError

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "training" / "trainset.json"

CLEAN: dict[str, Any] = {
    "id": "one",
    "group": "baking",
    "task_description": "Show beginners how to keep a sourdough starter alive through a hot summer",
    "user_context": {"role": "baker"},
    "taxonomy_structure": {"education": {"cooking": {"roasting": {}}}},
    "existing_skills": ["education/cooking/roasting"],
    "expected": {
        "taxonomy_path": "education/cooking/sourdough_care",
        "name": "starter-feeding-plan",
        "sections": ["Overview", "Exercises"],
    },
}


def changed(**changes: Any) -> dict[str, Any]:
    item = copy.deepcopy(CLEAN)
    item["expected"] |= changes.pop("expected", {})
    return item | changes


def second(**changes: Any) -> dict[str, Any]:
    other = {
        "id": "two",
        "group": "sewing",
        "task_description": "Repair torn raincoats without a machine",
        "expected": {"taxonomy_path": "education/textiles/raincoats", "name": "hand-stitching"},
    }
    return changed(**other) | changes


def found(*items: dict[str, Any]) -> dict[str, DataFinding]:
    return {finding.code: finding for finding in lint_trainset(trainset_of(items))}


def severities(*items: dict[str, Any]) -> dict[str, str]:
    size = {"too_few_groups", "small_test_set", "unbalanced_group"}
    return {code: finding.severity for code, finding in found(*items).items() if code not in size}


def test_a_clean_set_has_only_remarks_on_its_size() -> None:
    assert severities(CLEAN, second()) == {}


@pytest.mark.parametrize(
    ("changes", "code", "severity"),
    [
        ({"task_description": "Make starter-feeding-plan for hot summers"}, "gold_in_inputs", "error"),
        ({"task_description": "Put education/cooking/sourdough_care in place"}, "gold_in_inputs", "error"),
        ({"user_context": {"wanted": ["starter-feeding-plan"]}}, "gold_in_inputs", "error"),
        ({"user_context": "it is the Starter-Feeding-Plan we want"}, "gold_in_inputs", "error"),
        ({"task_description": "A starter feeding plan for hot summers"}, "name_in_task", "error"),
        ({"task_description": "A Starter_Feeding Plan for hot summers"}, "name_in_task", "error"),
        ({"task_description": "A starter/feeding plan for hot summers"}, "name_words_in_task", "warning"),
        ({"expected": {"name": "summer"}}, "name_words_in_task", "warning"),
        (
            {"taxonomy_structure": {"education": {"cooking": {"sourdough_care": {}}}}},
            "gold_in_taxonomy",
            "error",
        ),
        (
            {
                "taxonomy_structure": {
                    "education": {"cooking": {"sourdough_care": {"starter-feeding-plan": {}}}}
                }
            },
            "gold_in_taxonomy",
            "error",
        ),
        ({"existing_skills": ["education/cooking/sourdough_care"]}, "gold_in_existing_skills", "error"),
        ({"existing_skills": ["a/starter_feeding_plan/"]}, "gold_in_existing_skills", "error"),
        ({"existing_skills": ["starter-feeding-plan"]}, "gold_in_existing_skills", "error"),
        ({"expected": {"sections": []}}, "expected_missing", "warning"),
        ({"expected": {"name": None}}, "expected_missing", "warning"),
        ({"task_description": "Create a skill"}, "placeholder", "error"),
        ({"task_description": "Create a new Python agent skill, please"}, "placeholder", "error"),
        ({"task_description": "..."}, "placeholder", "error"),
        ({"task_description": "Lorem ipsum dolor sit amet"}, "placeholder", "error"),
        ({"task_description": "Skill for bakers, details TBD"}, "placeholder", "error"),
        ({"task_description": "Describe the thing with bread and ..."}, "placeholder", "error"),
        ({"expected": {"sections": ["Overview", "..."]}}, "placeholder", "warning"),
        ({"source": "somewhere/SKILL.md"}, "licence_missing", "warning"),
    ],
)
def test_each_flaw_is_found(changes: dict[str, Any], code: str, severity: str) -> None:
    assert severities(changed(**changes), second()) == {code: severity}


@pytest.mark.parametrize(
    "changes",
    [
        {"taxonomy_structure": {"education": {"cooking": {"sourdough_care": {"rye_bread": {}}}}}},
        {"existing_skills": ["education/cooking"]},
        {"task_description": "A plan for feeding the starter"},
        {"source": "somewhere", "licence": "MIT"},
        {"source": "somewhere", "license": "MIT"},
        {"task_description": "Explain what an ellipsis ... does in a sentence"},
        {"task_description": "Explain how {{ variables }} work in page templates"},
        {"task_description": "Read a sk-learn pipeline of the task-2024-planning-overview-report"},
    ],
)
def test_what_is_no_flaw_is_not_found(changes: dict[str, Any]) -> None:
    assert severities(changed(**changes), second()) == {}


SECRETS = {
    "model provider": "sk-" + "proj4abcdefghijklmnop",
    "aws": "AK" + "IA" + "ABCDEFGHIJKLMNOP",
    "github": "gh" + "p_" + "a1B2" * 9,
    "private key": "-----BEGIN " + "PRIVATE KEY-----",
    "address": "postgres://" + "admin:hunter22@" + "db.example",
    "assignment": "api_" + 'key="' + 'Zx81kkq09aaB"',
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
def test_a_secret_is_found_anywhere_and_not_repeated(secret: str) -> None:
    for item in (
        changed(user_context={"notes": [f"log in with {secret} ok"]}),
        changed(task_description=f"Bake bread. {secret}"),
        {"id": "one", "question": "What is it?", "answer": secret},
    ):
        others = (second(),) if "task_description" in item else ({"question": "Who?", "answer": "me"},)
        finding = found(item, *others)["secret"]
        assert finding.severity == "error"
        assert finding.items == ("one",)
        assert secret not in finding.message + finding.hint


def test_duplicates_weigh_by_where_they_are() -> None:
    assert severities(CLEAN, changed(id="b")) == {"duplicate": "warning"}
    assert severities(CLEAN, changed(id="b", group="other")) == {"duplicate": "error"}
    louder = str(CLEAN["task_description"]).upper() + "!"
    assert severities(CLEAN, changed(id="b", group="other", task_description=louder)) == {
        "duplicate": "error"
    }
    longer = f"{CLEAN['task_description']}, briefly"
    assert severities(CLEAN, changed(id="b", task_description=longer), second()) == {}
    near = found(CLEAN, changed(id="b", group="other", task_description=longer), second())["near_duplicate"]
    assert (near.severity, near.items) == ("warning", ("one", "b"))
    same_skill = second(expected=CLEAN["expected"])
    assert severities(CLEAN, same_skill) == {"near_duplicate": "warning"}


def test_one_question_with_two_answers_is_a_contradiction() -> None:
    other = {"name": "bread-rescue"}
    assert severities(CLEAN, changed(id="b", expected=other)) == {"contradiction": "error"}
    longer = f"{CLEAN['task_description']}, briefly"
    assert severities(CLEAN, changed(id="b", expected=other, task_description=longer), second()) == {
        "contradiction": "warning"
    }


def test_size_and_balance_are_told_with_numbers() -> None:
    items = [
        {"task_description": f"alpha{n} beta{n}", "group": "big" if n < 5 else f"g{n}"} for n in range(14)
    ]
    findings = found(*items)
    assert "5 of 14" in findings["unbalanced_group"].message
    assert len(findings["unbalanced_group"].items) == 5
    assert "about 7" in findings["small_test_set"].message
    assert findings["small_test_set"].severity == "info"
    assert "too_few_groups" not in findings
    assert "There are 9 independent groups" in found(*items[:13])["too_few_groups"].message
    many = [{"task_description": f"alpha{n} beta{n}", "group": f"g{n}"} for n in range(140)]
    assert not {"too_few_groups", "small_test_set", "unbalanced_group"} & found(*many).keys()


def test_errors_come_first() -> None:
    ranks = ["error", "warning", "info"]
    order = [
        ranks.index(finding.severity)
        for finding in lint_trainset(trainset_of([changed(source="x"), changed(id="b", group="c")]))
    ]
    assert order == sorted(order)
    assert len(set(order)) == 3


@settings(deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"task_description": st.text(min_size=1, max_size=30)},
            optional={
                "user_context": st.text(max_size=20),
                "taxonomy_structure": st.dictionaries(
                    st.text(max_size=3), st.none() | st.integers(), max_size=2
                ),
                "existing_skills": st.lists(st.text(max_size=5), max_size=3),
                "expected": st.fixed_dictionaries(
                    {}, optional={"taxonomy_path": st.text(), "name": st.text()}
                ),
            },
        ),
        min_size=1,
        max_size=5,
    )
)
def test_nothing_that_can_be_read_makes_it_fall(values: list[dict[str, Any]]) -> None:
    try:
        trainset = trainset_of(values)
    except SkillFleetError:
        return
    ids = {item.id for item in trainset.items}
    for finding in lint_trainset(trainset):
        assert set(finding.items) <= ids
        assert finding.message.endswith(".")


def test_the_shipped_set_is_clean() -> None:
    findings = lint_trainset(load_trainset(SHIPPED))
    assert [finding for finding in findings if finding.severity == "error"] == []


@pytest.mark.parametrize("empty", [None, "", " \n"])
def test_a_field_that_says_nothing_is_named_with_its_examples(empty: object) -> None:
    tickets = ["The invoice is late", empty, "Where is my parcel", empty]
    items = [{"ticket": text, "queue": f"queue {number}"} for number, text in enumerate(tickets)]
    found = [one for one in lint_trainset(trainset_of(items)) if one.code == "empty_field"]
    [finding] = found
    assert finding.items == ("item-0002", "item-0004")
    assert finding.message == "The field 'ticket' is empty in 2 of 4 examples."
    assert not [
        one for one in lint_trainset(trainset_of([CLEAN | {"note": ""}])) if one.code == "empty_field"
    ]
