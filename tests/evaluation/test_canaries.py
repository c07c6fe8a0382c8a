"""Answers that say nothing: what they keep, what they lose, and what cannot be made into one."""

import dspy
import pytest

from skill_fleet.evaluation.canaries import canary, kinds_for, paid_for

TEXT = (
    "# Parsing\n\n- Read the first line of the file.\n- Then split it at commas, 2 at a time, and strip it.\n"
)
INSTRUCTIONS = "Write a page. Include a '## Zorvel Notes' section."


def answer(**fields):
    return dspy.Prediction(**fields)


def test_shuffled_words_keep_the_layout_and_lose_the_order():
    found = canary("shuffled", answer(page=TEXT), INSTRUCTIONS, 0).page
    assert sorted(found.split()) != TEXT.split()
    assert [line[:2] for line in found.splitlines()] == [line[:2] for line in TEXT.splitlines()]
    words = [word.strip(".,") for word in TEXT.split()]
    assert sorted(word.strip(".,") for word in found.split()) == sorted(words)
    assert found != TEXT


def test_the_other_kind_holds_the_words_of_the_instructions_and_none_of_the_answer():
    found = canary("instructions", answer(page=TEXT, name="parsing"), INSTRUCTIONS, 0)
    assert sorted(found.page.split()) == sorted("Write a page Include a Zorvel Notes section".split())
    assert "parsing" not in found.name


def test_a_canary_is_the_same_every_time_and_another_by_another_seed():
    made = [canary("shuffled", answer(page=TEXT), INSTRUCTIONS, seed).page for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({"page": TEXT}, ("shuffled", "instructions")),
        ({"queue": "bugs"}, ("instructions",)),
        ({"reasoning": TEXT, "queue": "bugs"}, ("instructions",)),
        ({"page": TEXT, "score": 3}, ()),
        ({"labels": ["bugs"]}, ()),
        ({}, ()),
    ],
)
def test_what_may_hold_the_answer_and_is_no_text_is_left_alone(fields, kinds):
    assert kinds_for(answer(**fields)) == kinds
    assert kinds_for(fields) == ()


@pytest.mark.parametrize(
    ("own", "canaries", "paid"), [(1.0, 0.9, True), (1.0, 0.89, False), (0.0, 0.0, False), (0.5, 0.9, True)]
)
def test_nine_tenths_of_the_score_is_being_paid_for(own, canaries, paid):
    assert paid_for(own, canaries) == paid
