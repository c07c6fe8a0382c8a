"""The guard on real skills: it must tell them from what junk, gaming and accidents make of them."""

import bisect
import json
import random
import re
import time
from pathlib import Path

import pytest

from skill_fleet.domain.skill import Skill
from skill_fleet.evaluation.guard import guard

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
SIZE = 80
LATIN = [
    "lorem",
    "ipsum",
    "dolor",
    "sit",
    "amet",
    "consectetur",
    "adipiscing",
    "elit",
    "sed",
    "do",
    "eiusmod",
    "tempor",
    "incididunt",
    "labore",
]
EMPTY = (
    "A comprehensive skill that helps with various tasks in an efficient way.",
    "Provides expert guidance and best practices for getting great results every time.",
    "Use when you need assistance with your everyday activities and want the finest possible outcome.",
    "This powerful assistant makes life easier by taking care of everything needed.",
    "General purpose helper for all kinds of situations, questions and requests.",
)
TITLES = ("Overview", "Prerequisites", "Procedure", "Examples", "Pitfalls")


@pytest.fixture(scope="module")
def sample():
    if not CORPUS.exists():
        pytest.skip("shared corpus absent")
    entries = [json.loads(line) for line in (CORPUS / "MANIFEST.jsonl").read_text().splitlines()]
    drawn = random.Random(2026).sample(entries, SIZE + 20)
    skills = (Skill.parse((CORPUS / entry["file"]).read_bytes()) for entry in drawn)
    return [
        (one.name, one.description, one.body) for one in skills if one.name and one.description and one.body
    ][:SIZE]


def made(name, description, body):
    return Skill.compose({"name": name, "description": description}, body)


def values(skills):
    return [guard(made(*one)).value for one in skills]


@pytest.fixture(scope="module")
def real(sample):
    return values(sample)


def auc(higher, lower):
    """The chance that one of the first scores above one of the second; ties count half."""
    ranked = sorted(lower)
    below = sum(bisect.bisect_left(ranked, x) + bisect.bisect_right(ranked, x) for x in higher)
    return below / 2 / len(higher) / len(lower)


def lorem(draw):
    text = (" ".join(draw.choices(LATIN, k=19)).capitalize() for _ in TITLES)
    return "# Title\n" + "".join(
        f"\n## {title}\n\n{said}.\n" for title, said in zip(TITLES, text, strict=True)
    )


def heap(draw, description):
    words = description.split()
    lines = ("- " + " ".join(draw.choices(words, k=12)) for _ in range(24))
    return "# Title\n\n## Overview\n\n" + "\n".join(lines)


def shuffled(draw, body):
    parts = re.split(r"(\s+)", body)
    words = parts[::2]
    draw.shuffle(words)
    parts[::2] = words
    return "".join(parts)


def mutated(sample, kind):
    draw = random.Random(7)
    for at, (name, description, body) in enumerate(sample):
        other = sample[(at + 7) % len(sample)][2]
        match kind:
            case "headings and lorem":
                yield name, description, lorem(draw)
            case "another skill's body":
                yield name, description, other
            case "another body, description pasted":
                yield name, description, f"{description}\n\n{other}\n\n{description}"
            case "a description that fits all":
                yield name, EMPTY[at % len(EMPTY)], body
            case "words shuffled":
                yield name, description, shuffled(draw, body)
            case "keywords in a heap":
                yield name, description, heap(draw, description)
            case "forty words twelve times":
                yield name, description, "\n\n".join([" ".join(body.split()[:40])] * 12)
            case "the description as body":
                yield name, description, "".join(f"## {title}\n\n{description}\n\n" for title in TITLES)


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("headings and lorem", 0.97),
        ("another skill's body", 0.93),
        ("another body, description pasted", 0.91),
        ("a description that fits all", 0.91),
        ("words shuffled", 0.87),
        ("keywords in a heap", 0.95),
        ("forty words twelve times", 0.97),
        ("the description as body", 0.95),
    ],
)
def test_real_skills_score_above_what_only_looks_like_one(sample, real, kind, least):
    assert auc(real, values(mutated(sample, kind))) >= least


def test_real_skills_are_mostly_good(real):
    ranked = sorted(real)
    assert ranked[len(ranked) // 2] > 0.8
    assert ranked[len(ranked) // 10] > 0.5


def test_junk_pasted_into_real_skills_raises_hardly_any(sample, real):
    junk = lorem(random.Random(1))
    pasted = values((name, description, f"{body}\n\n{junk}") for name, description, body in sample)
    gains = [after - before for before, after in zip(real, pasted, strict=True)]
    assert sum(gains) < 0
    assert max(gains) < 0.1


def test_the_guard_is_fast(sample):
    skills = [made(name, description, body + "\n") for name, description, body in sample]
    started = time.process_time()
    for one in skills:
        guard(one)
    # About 200 a second on an idle core at 6,700 characters a skill; a busy machine may be far slower.
    assert len(skills) / (time.process_time() - started) > 50
