"""The offline model reads rules out of prose, and nothing out of what asks for nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.core.dspy import signatures
from skill_fleet.llm.offline import conditions, goals, imitation, merging, reading, terms, text, titles
from skill_fleet.llm.offline.conditions import Scene


def scene(path: str = "", said: str = "") -> Scene:
    return Scene(tuple(path.split("/")) if path else (), text.stems(said), said.lower())


def kinds(sentence: str) -> dict[str, tuple[str, ...]]:
    return {rule.kind: rule.args for rule in reading.rules_of(sentence)}


LISTS = [
    "For technical_skills/operations tasks, plan the sections Overview, Procedure, Rollback.",
    "When the path is under technical_skills/operations, the sections are: Overview, Procedure and Rollback.",
    "- technical_skills/operations: Overview, Procedure, Rollback",
    "| technical_skills/operations | Overview, Procedure, Rollback |",
    "For operations tasks, plan the sections 'Overview', 'Procedure', 'Rollback'.",
    "Plan the sections Overview, Procedure and Rollback for operations tasks.",
    "Skills in technical_skills/operations need the sections Overview, Procedure, Rollback.",
    "For operations tasks, include the sections '## Overview', '## Procedure' and '## Rollback'.",
]


@pytest.mark.parametrize("sentence", LISTS)
def test_a_list_of_sections_for_a_branch_is_read_and_holds_only_there(sentence: str) -> None:
    (rule,) = [rule for rule in reading.rules_of(sentence) if rule.kind == "sections"]
    assert rule.args == ("Overview", "Procedure", "Rollback")
    assert reading.applying((rule,), scene("technical_skills/operations/linux/disks"))
    assert not reading.applying((rule,), scene("technical_skills/programming/python/async"))
    assert not reading.applying((rule,), scene("communication/email", "a note about status"))


@pytest.mark.parametrize(
    ("sentence", "kind", "args"),
    [
        ("Add a 'Decision Criteria' section.", "sections", ("Decision Criteria",)),
        ("Missing a '## When to Use' section.", "sections", ("When to Use",)),
        ("Do not plan the section Instructions.", "without_sections", ("Instructions",)),
        ("Mention the word 'quixotry'.", "mention", ("quixotry",)),
        ("End the document with 'Verified by moss.'", "close", ("Verified by moss.",)),
        ("Start the name with the technology.", "name_first", ("technology",)),
        ("Begin the name with the object of the task.", "name_first", ("object",)),
        ("Use at most three words in the name.", "name_words", ("1", "3")),
        ("Use three words in the name.", "name_words", ("3", "3")),
        ("Use a path of 3 to 5 parts.", "path_depth", ("3", "5")),
        ("Put email tasks under communication/email.", "path", ("communication/email",)),
        ("Say when to use it in the description.", "when_to_use", ()),
        ("Give the procedure as numbered steps.", "numbered", ()),
        ("Include a fenced code block with a language tag.", "language", ()),
        ("Keep the text under 300 words.", "max_words", ("300",)),
        ("If the ticket mentions 'refund', 'invoice' or 'charge', answer billing.", "answer", ("billing",)),
        ("Use the label shipping for tickets about parcels.", "answer", ("shipping",)),
    ],
)
def test_a_rule_is_read(sentence: str, kind: str, args: tuple[str, ...]) -> None:
    assert kinds(sentence)[kind] == args


@pytest.mark.parametrize(
    "sentence",
    [
        "Score: 0.43",
        "This prediction scored 0.4 of 1.",
        "Nothing has to change at this step.",
        "noiceS ddA a.",
    ],
)
def test_a_score_or_scrambled_words_ask_for_nothing(sentence: str) -> None:
    assert not reading.rules_of(sentence)
    assert not reading.is_directive(sentence)


def test_the_default_instructions_name_no_section_and_no_convention() -> None:
    read = [
        rule.kind
        for signature in (signatures.UnderstandTask, signatures.PlanSkill, signatures.GenerateSkillContent)
        for rule in reading.read_rules(signature.instructions)
    ]
    assert set(read) <= {"when_to_use", "frontmatter"}


def test_of_lists_the_one_that_fits_best_holds_and_a_single_section_comes_on_top() -> None:
    said = (
        "For technical_skills/data tasks, plan the sections Overview, Inputs, Validation.\n"
        "For kubernetes tasks, plan the sections Overview, Nodes, Pods.\n"
        "For tasks about latency, plan the section 'Performance'."
    )
    held = reading.applying(
        reading.read_rules(said), scene("technical_skills/data/sql", "kubernetes latency")
    )
    assert [rule.args for rule in held] == [("Overview", "Inputs", "Validation"), ("Performance",)]


def test_quoted_words_match_at_the_beginning_of_a_word() -> None:
    condition, _ = conditions.split_condition("If the ticket mentions 'refund', answer billing.")
    assert condition is not None
    assert condition.match(scene(said="Two refunds are missing"))
    assert not condition.match(scene(said="prerefunded"))


def test_a_rule_for_everything_has_no_condition() -> None:
    assert conditions.split_condition("For every task, give numbered steps.")[0] is None


def test_a_wrapped_docstring_is_read_as_sentences() -> None:
    assert text.sentences("First a\nsecond half. Then\nmore.\n- one\n- two") == (
        "First a second half.",
        "Then more.",
        "- one",
        "- two",
    )


def test_a_title_may_be_of_several_words_and_an_opening_verb_is_none() -> None:
    assert titles.titles_in("Include When to Use and Learning Goals sections.") == (
        "When to Use",
        "Learning Goals",
    )


@pytest.mark.parametrize(
    ("task", "goal"),
    [
        ("Write a skill that helps agents roll back a failed deployment.", "roll back a failed deployment"),
        ("Create a Python decorators skill", "work with Python decorators"),
        ("Nobody knows. We want our team to be able to review pull requests.", "review pull requests"),
        ("Building a skill for handling customer refunds", "handle customer refunds"),
        ("I forget it. How do I clean a messy CSV export?", "clean a messy CSV export"),
        ("", "work with the task"),
    ],
)
def test_the_goal_is_the_request_among_the_sentences(task: str, goal: str) -> None:
    assert goals.goal_of(task) == goal


def test_the_terms_are_phrases_of_the_task() -> None:
    task = (
        "Teach agents to rotate database credentials without downtime: overlapping users, connection pools."
    )
    found = terms.ranked_terms(task, 8)
    assert "database credentials" in found
    assert all(word.lower() in task.lower() for term in found for word in term.split())


def test_equal_demands_are_merged_and_generalised() -> None:
    several = [f"For communication/{leaf} tasks, plan the sections A, B." for leaf in ("email", "talks")]
    assert merging.merged(several) == ["For communication tasks, plan the sections A, B."]
    other = [*several, "For communication/letters tasks, plan the sections C, D."]
    assert (
        merging.merged(other)[0]
        == "For communication/email or communication/talks tasks, plan the sections A, B."
    )


def test_likeness_counts_the_beginning_of_the_path() -> None:
    here = scene("technical_skills/data/sql/joins", "joins in sql")
    near, far = scene("technical_skills/data/pandas", "frames"), scene("business/hiring/adverts", "joins")
    assert imitation.likeness(here, near) > imitation.likeness(here, far)
    assert imitation.likeness(here, here) == pytest.approx(1.0)


@given(st.text(max_size=400))
def test_reading_never_fails(said: str) -> None:
    reading.read_rules(said)
    for sentence in text.sentences(said):
        reading.is_directive(sentence)
    text.as_list(said)
    text.parsed(said)
    goals.goal_of(said)
    terms.ranked_terms(said, 5)


@given(st.lists(st.text(max_size=30), max_size=8))
def test_a_slug_is_valid_or_empty(parts: list[str]) -> None:
    made = text.slug(parts)
    assert len(made) <= 64
    assert not made or all(
        part.isalnum() and part.isascii() and part == part.lower() for part in made.split("-")
    )
