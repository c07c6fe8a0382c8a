"""The guard on a skill written for this test, and on what one might do to please it."""

import os
import random
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.domain.skill import Skill
from skill_fleet.evaluation.guard import ESSENTIAL, WEIGHTS, guard

DESCRIPTION = (
    "Tunes PostgreSQL indexes for slow queries: reads EXPLAIN plans, finds missing and unused indexes, "
    "builds them with CREATE INDEX CONCURRENTLY. For sequential scans on large tables, for bloated indexes."
)
BODY = """# Index tuning

## Overview

A slow query on a large table often lacks an index, or has one that the planner cannot use. Measure
first: an index costs disk and slows every write to the table.

## Inputs

- The query, with its real parameters.
- The plan of `EXPLAIN (ANALYZE, BUFFERS)`, not the estimate alone.
- Row counts of the tables involved, from `pg_class.reltuples`.

## Procedure

1. Find the node of the plan that takes most of the time. A sequential scan that filters out more than
   nine rows of ten is a candidate for an index.
2. List the columns of the filter, equality first and ranges last. A composite index serves a prefix of
   its columns.
3. Build the index without blocking writes:

```sql
CREATE INDEX CONCURRENTLY orders_customer_day ON orders (customer_id, created_at);
```

4. Run the query again and compare the plan. Drop the index when the planner ignores it.
5. Look for unused indexes in `pg_stat_user_indexes`; an `idx_scan` of zero over a month of normal load
   is a reason to drop one, unless it enforces a constraint.

## Validation

| Check | Expect |
|---|---|
| Plan | an index scan in place of the sequential scan |
| Time | at most a tenth, measured three times on a warm cache |
| Writes | insert latency within five percent |

A failed concurrent build leaves an invalid index behind: find it with `\\d orders`, drop it, and build
it again. For bloated indexes use `REINDEX INDEX CONCURRENTLY`."""
OTHER_BODY = """# Interview notes

## Audience

Candidates and the hiring panel read these notes. Each reader wants to know within a minute what was
asked, what was answered, and what the interviewer concluded from the answer.

## Structure

1. Begin with the role, the date and the people in the room.
2. Quote the candidate where the wording matters, and paraphrase everything else.
3. Separate observation from judgement: a strong answer is evidence, a good feeling is not.

## Checklist

- Every competence of the scorecard has at least one observation.
- No remark about age, family, origin or appearance.
- The recommendation follows from the observations above it."""


def skill(description=DESCRIPTION, body=BODY, name="postgres-index-tuning"):
    return Skill.compose({"name": name, "description": description}, body)


def value(**changes):
    return guard(skill(**changes)).value


def test_a_sound_skill_scores_high_and_its_parts_make_its_value():
    score = guard(skill())
    mean = sum(WEIGHTS[part] * score.parts[part] for part in WEIGHTS)
    weakest = min(score.parts[part] for part in ESSENTIAL)
    assert score.value > 0.9
    assert score.value == pytest.approx(0.7 * mean + 0.3 * weakest)
    assert sum(WEIGHTS.values()) == pytest.approx(1.0)


def lorem(words):
    draw = random.Random(4)
    latin = "lorem ipsum dolor sit amet consectetur elit sed tempor labore magna aliqua".split()
    titles = ("Overview", "Inputs", "Procedure", "Examples", "Validation")
    text = (" ".join(draw.choices(latin, k=words // 5)).capitalize() for _ in titles)
    return "# Title\n\n" + "\n\n".join(
        f"## {title}\n\n{said}." for title, said in zip(titles, text, strict=True)
    )


def shuffled(body):
    lines, draw, code = [], random.Random(5), False
    for line in body.split("\n"):
        code ^= line.startswith("```")
        if not code and not line.startswith(("#", "|", "`")):
            words = line.split(" ")
            draw.shuffle(words)
            lines.append(" ".join(words))
        else:
            lines.append(line)
    return "\n".join(lines)


def stuffed(description):
    draw, words = random.Random(6), description.split()
    lines = ("- " + " ".join(draw.choices(words, k=12)) for _ in range(24))
    return "# Title\n\n## Overview\n\n" + "\n".join(lines) + "\n\n## Procedure\n\n" + description


SECTIONS = ("Overview", "Inputs", "Procedure", "Validation")


VAGUE = "A powerful skill that helps people do their work better, faster and with more joy every single day."
ECHO = "\n\n".join(f"## {title}\n\n{DESCRIPTION}" for title in SECTIONS)
BARE = "\n\n".join(f"## {title}" for title in SECTIONS)
AGAIN = "## Overview\n\n" + "\n\n".join([BODY[:400].replace("#", "")] * 12)


@pytest.mark.parametrize(
    ("what", "broken", "part"),
    [
        ("headings and lorem", {"body": lorem(95)}, "substance"),
        ("a thousand words of lorem", {"body": lorem(1000)}, "grounding"),
        ("another skill's body", {"body": OTHER_BODY}, "grounding"),
        ("another body between descriptions", {"body": DESCRIPTION + OTHER_BODY + DESCRIPTION}, "grounding"),
        ("a description that fits everything", {"description": VAGUE}, "trigger"),
        ("no description", {"description": " "}, "trigger"),
        ("words in no order", {"body": shuffled(BODY)}, "coherence"),
        ("keywords in a heap", {"body": stuffed(DESCRIPTION)}, "substance"),
        ("the description under every heading", {"body": ECHO}, "substance"),
        ("one paragraph twelve times", {"body": AGAIN}, "substance"),
        ("headings alone", {"body": BARE}, "substance"),
        ("nothing", {"body": ""}, "grounding"),
    ],
)
def test_what_is_no_skill_scores_low_in_the_part_that_sees_it(what, broken, part):
    score = guard(skill(**broken))
    assert score.value < 0.6 * value(), what
    assert score.parts[part] < 0.35, what
    assert score.by_part[part], what


def test_pasting_junk_into_a_skill_does_not_raise_it():
    assert value(body=BODY + "\n\n" + lorem(300)) <= value()
    assert value(body=BODY + "\n\n" + stuffed(DESCRIPTION)) <= value()
    assert value(body=BODY + BODY) <= value()


@pytest.mark.parametrize(
    "phrase", ["Use when", "Use this skill when", "MUST", "This skill should be used when"]
)
def test_no_phrase_is_rewarded(phrase):
    assert guard(skill(description=f"{phrase} {DESCRIPTION}")).value == pytest.approx(value(), abs=0.02)


def test_the_body_must_speak_of_the_task():
    asked = guard(skill(), "Speed up a slow query in PostgreSQL: read the plan and build the missing index.")
    other = guard(skill(), "Draft an apology to customers after the payment outage, with amounts and dates.")
    assert asked.value > 0.9
    assert other.value < asked.value - 0.1
    assert other.by_part["terms"].startswith("Mention the terms of the task in the text; ")
    assert "apology" in other.by_part["terms"]
    assert "terms" not in asked.by_part


def test_feedback_names_what_to_do_and_stops_when_it_is_done():
    thin = guard(skill(body="## Overview\n\nIndexes make slow queries fast.\n\n## Inputs\n"))
    assert "Include a fenced code block with a language tag." in thin.feedback
    assert "Give the procedure as numbered steps." in thin.feedback
    assert "under Inputs there is none" in thin.feedback
    assert "sequential" in thin.by_part["grounding"]
    done = guard(skill())
    assert "fenced" not in done.feedback
    assert "numbered" not in done.feedback


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        (BODY + "\nTODO: write about vacuum\n", "placeholder"),
        (BODY + "\n```sql\nSELECT 1;\n", "Close every fence"),
        (BODY + "\n<<<<<<< HEAD\n", "conflict"),
    ],
)
def test_integrity_sees_what_was_left_open(flaw, words):
    score = guard(skill(body=flaw))
    assert score.parts["integrity"] < 1.0
    assert words in score.by_part["integrity"]


def test_a_specification_error_costs_integrity_and_is_told():
    score = guard(Skill.parse(f"---\nname: Postgres Index\ndescription: {DESCRIPTION}\n---\n{BODY}"))
    assert score.parts["integrity"] <= 0.4
    assert "name" in score.by_part["integrity"]


def test_a_text_too_long_to_load_costs():
    assert guard(skill(body=BODY * 30)).parts["cost"] < 0.5
    assert guard(skill()).parts["cost"] == 1.0


def test_another_language_is_given_the_benefit_of_doubt():
    german = (
        "# Indizes\n\n## Ablauf\n\nDer Planer liest die ganze Tabelle, wenn kein Index passt. Miss zuerst.\n"
    )
    assert guard(skill(body=german)).parts["coherence"] > 0.7


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400) | st.binary(max_size=400), st.text(max_size=60))
def test_anything_at_all_gets_a_score(source, task):
    score = guard(Skill.parse(source), task)
    assert 0.0 <= score.value <= 1.0
    assert score == guard(Skill.parse(source), task)


@pytest.mark.parametrize(
    "hostile",
    [
        "\n" * 60_000,
        "a" * 60_000,
        "word " * 12_000,
        "`" * 20_000,
        "| " * 20_000,
        "- " * 3_000,
        "the of " * 9_000,
    ],
    ids=["newlines", "one word", "words", "backticks", "bars", "dashes", "articles"],
)
def test_hostile_text_takes_no_quadratic_time(hostile):
    started = time.process_time()
    guard(skill(body=hostile))
    assert time.process_time() - started < 2.0


def test_a_score_does_not_depend_on_the_order_of_sets(tmp_path):
    """Strings are hashed anew in every process; a run that is gone on with must find the same scores."""
    text = (
        "---\nname: bisect-git\ndescription: Finds the commit that broke a build with git bisect, run, skip. "
        "Use when a regression appeared between two known revisions of a repository.\n---\n\n# Bisect\n"
        "\n## Overview\n\nMark a good and a bad revision, then let git bisect run a script over commits.\n"
        "\n## Pitfalls\n\nSkip commits that do not build; a flaky script names an innocent commit.\n"
    )
    (tmp_path / "SKILL.md").write_text(text)
    program = (
        "import sys; from pathlib import Path; from skill_fleet.domain.skill import Skill; "
        "from skill_fleet.evaluation.guard import guard; "
        "score = guard(Skill.read(Path(sys.argv[1])), 'Find the revision that broke a build'); "
        "print(score.value, score.parts)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(6)
    }
    assert len(said) == 1
