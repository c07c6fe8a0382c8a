"""GEPA learns what the feedback says and nothing else: a random element, named or not."""

import json
import random
import sys
from pathlib import Path

import pytest

from conftest import Place
from skill_fleet.config.paths import shipped_trainset

SYLLABLES = ("zor", "vel", "mun", "tak", "ril", "pog", "den", "fas", "quo", "bim")


def invented_element(seed):
    rng = random.Random(seed)
    return f"{''.join(rng.sample(SYLLABLES, 2)).title()} Notes"


@pytest.fixture
def invented(tmp_path, request):
    """A workspace with the invented metric and 48 tasks of the shipped training set in 16 groups."""
    sys.modules.pop("invented", None)
    place = Place(tmp_path, {})
    (tmp_path / "element.txt").write_text(invented_element(request.node.name))
    items = json.loads(Path(shipped_trainset()).read_text())
    groups = sorted({item["group"] for item in items})[:16]
    few = [item for item in items if item["group"] in groups]
    (tmp_path / "tasks.json").write_text(json.dumps(few))
    sys.path.insert(0, str(tmp_path))
    yield place
    sys.path.remove(str(tmp_path))
    sys.modules.pop("invented", None)


def optimize(place, metric):
    return place.optimize(
        place.request(
            "gepa",
            program="SkillCreationProgram",
            metric=f"invented:{metric}",
            data="tasks.json",
            modules=("plan", "write"),
            trials=6,
            rounds=1,
            num_threads=8,
            output="out.json",
        )
    ).result


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_element_named_in_the_feedback_is_learnt(invented):
    result = optimize(invented, "named")
    assert result.verdict == "better"
    assert result.optimized["test"] > result.baseline["test"] + 0.3


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("metric", ["shuffled", "bare"])
def test_without_the_words_nothing_is_learnt(invented, metric):
    result = optimize(invented, metric)
    assert result.verdict == "not_shown"
    assert result.optimized["test"] < result.baseline["test"] + 0.05
