"""Gold skills as training examples: which, what is borrowed for the test, and that no path leads outside."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.config.load import load
from skill_fleet.config.paths import shipped_trainset
from skill_fleet.domain.borrow import borrowing_split
from skill_fleet.domain.trainset import Trainset, load_trainset, trainset_from, trainset_of
from skill_fleet.domain.units import units_of
from skill_fleet.foundation.errors import DataError, NotFound, SkillFleetError, UsageError
from skill_fleet.optimization.advice.small_data import data_warnings
from skill_fleet.optimization.planning.parts import chosen_skills, parts_from_json, parts_to_json, read_parts
from skill_fleet.optimization.planning.plan import make_plan
from skill_fleet.optimization.records.request import OptimizationRequest

REPOSITORY = Path(__file__).parents[2]
FASTAPI = "technical_skills/programming/web_frameworks/python/fastapi"


@pytest.fixture
def library(workspace: Path) -> Path:
    shutil.copytree(REPOSITORY / "skills", workspace / "skills")
    return workspace


def _request(*paths: str, **more: Any) -> OptimizationRequest:
    return OptimizationRequest(training_paths=paths, **more)


def test_one_skill_is_learnt_from_and_the_rest_is_borrowed(library: Path) -> None:
    plan = make_plan(_request(FASTAPI, optimizer="labeled_few_shot"), load(library, environ={}))
    assert [item.id for item in plan.split.train] == [FASTAPI]
    assert plan.borrowed
    sizes = plan.sizes
    assert sizes["borrowed"] == sizes["validation"] + sizes["test"] > 100
    codes = [code for code, _ in data_warnings(plan)]
    assert "borrowed_test_data" in codes


def test_a_folder_is_every_skill_below_it_and_enough_skills_are_split(library: Path) -> None:
    below = chosen_skills(library / "skills", ["technical_skills/programming"])
    assert len(below.items) == len(list((library / "skills/technical_skills/programming").rglob("SKILL.md")))
    tops = [folder.name for folder in sorted((library / "skills").iterdir())]
    parts = read_parts(_request(*tops), load(library, environ={}))
    assert not parts.borrowed
    assert len(parts.trainset.items) == len(list((library / "skills").rglob("SKILL.md")))


def test_named_twice_a_skill_is_one_example(library: Path) -> None:
    found = chosen_skills(
        library / "skills", [FASTAPI, "technical_skills/programming/web_frameworks", FASTAPI]
    )
    assert [item.id for item in found.items] == [FASTAPI]


def test_what_is_kin_of_the_named_skills_is_in_no_part(library: Path) -> None:
    chosen = chosen_skills(library / "skills", [FASTAPI]).items[0]
    task = {"task_description": chosen.text}
    same = {"expected": {"taxonomy_path": FASTAPI, "name": "fastapi", "sections": ["Overview"]}}
    asked = json.loads(shipped_trainset().read_text())
    kin = [
        {"id": "the same words", "group": "x", **task},
        {"id": "kin by its group", "group": "x", "task_description": "Explain how glaciers move downhill."},
        {"id": "the same skill", "group": "y", "task_description": "Serve web pages, quickly.", **same},
        {"id": "its folder", "group": chosen.group, "task_description": "Bake bread in a cold oven."},
    ]
    own = library / "config" / "training" / "trainset.json"
    own.parent.mkdir(parents=True)
    own.write_text(json.dumps([*kin, *asked]))
    parts = read_parts(_request(FASTAPI), load(library, environ={}))
    held = {item.id for item in (*parts.split.validation, *parts.split.test)}
    assert held == {item["id"] for item in asked}


_WORDS = st.sampled_from(
    ["bake", "bread", "tune", "engines", "paint", "walls", "grow", "roses", "sort", "mail"]
)
_TASKS = st.lists(st.lists(_WORDS, min_size=3, max_size=6).map(" ".join), min_size=4, max_size=14)


@given(_TASKS, st.integers(1, 3), st.integers(0, 5))
def test_nothing_borrowed_hangs_together_with_what_was_chosen(tasks: list[str], few: int, seed: int) -> None:
    def items(some: list[str], first: int) -> Trainset:
        values = [
            {"task_description": task, "group": f"g{(first + index) % 7}"} for index, task in enumerate(some)
        ]
        return trainset_of(values)

    chosen, pool = items(tasks[:few], 0), items(tasks[few:], few)
    try:
        found = borrowing_split(chosen, pool, seed=seed, min_groups=2)
    except DataError:
        return  # too few are left
    split = found.split
    held = (*split.validation, *split.test)
    assert split.train == chosen.items
    assert len(held) + found.left_out == len(pool.items)
    assert len({item.id for item in (*split.train, *held)}) == len(split.train) + len(held)
    contents = {item.content_digest for item in held}
    for unit in units_of((*chosen.items, *(replace(item, id=f"pool/{item.id}") for item in pool.items))):
        if any(item in chosen.items for item in unit):
            assert not any(item.content_digest in contents for item in unit)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc",
        "..",
        "../../etc",
        "technical_skills/../../..",
        "technical_skills//programming",
        "technical_skills/programming/",
        "technical_skills\\programming",
        "\\\\server\\share",
        "technical_skills%2fprogramming",
        "%2e%2e/%2e%2e",
        "technical_skills/programming\0",
        "file:///etc",
        "~",
        "Technical_Skills",
        "a/" * 40 + "a",
    ],
)
def test_a_path_that_is_none_of_the_library_is_refused_with_a_sentence(library: Path, path: str) -> None:
    with pytest.raises(SkillFleetError) as caught:
        read_parts(_request(path), load(library, environ={}))
    assert isinstance(caught.value, UsageError | NotFound)
    assert "root:" not in caught.value.message
    assert "\n" not in caught.value.message


def test_a_link_out_of_the_library_leads_nowhere(library: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside" / "secret_skill"
    shutil.copytree(library / "skills" / FASTAPI, outside)
    (library / "skills" / "linked").symlink_to(tmp_path / "outside")
    (library / "skills" / "link_file").mkdir()
    (library / "skills" / "link_file" / "SKILL.md").symlink_to(outside / "SKILL.md")
    for path in ("linked", "linked/secret_skill", "link_file"):
        with pytest.raises(NotFound):
            read_parts(_request(path), load(library, environ={}))


def test_a_skill_that_gives_no_example_is_said_to(library: Path) -> None:
    bare = library / "skills" / "business" / "bare" / "SKILL.md"
    bare.parent.mkdir(parents=True)
    bare.write_text("---\nname: bare\ndescription: Does things.\n---\nNo sections.\n")
    with pytest.raises(DataError, match="No training example can be made of 'business/bare', because"):
        read_parts(_request("business/bare"), load(library, environ={}))


def test_there_is_one_training_set() -> None:
    with pytest.raises(UsageError, match="training_paths and trainset exclude each other"):
        OptimizationRequest(training_paths=("a",), trainset=({"task_description": "x"},))
    with pytest.raises(UsageError, match="--data and training_paths exclude each other"):
        OptimizationRequest(data="a.json", training_paths=("a",))


def test_a_training_set_in_the_request_is_used_as_a_file_would_be(workspace: Path) -> None:
    items = tuple(json.loads(shipped_trainset().read_text())[:60])
    loaded = load(workspace, environ={})
    given_items = read_parts(OptimizationRequest(trainset=items), loaded)
    file = workspace / "own.json"
    file.write_text(json.dumps(items))
    assert given_items.split.digest == read_parts(OptimizationRequest(data=str(file)), loaded).split.digest


def test_both_are_kept_with_a_run_and_come_back(library: Path) -> None:
    paths = _request(FASTAPI)
    assert OptimizationRequest.from_json(json.loads(json.dumps(paths.to_json()))) == paths
    items = tuple(load_trainset(shipped_trainset()).items[:3])
    inline = OptimizationRequest(trainset=tuple({"task_description": item.text} for item in items))
    assert OptimizationRequest.from_json(json.loads(json.dumps(inline.to_json()))) == inline
    parts = read_parts(paths, load(library, environ={}))
    kept = {**json.loads(json.dumps(parts_to_json(parts.split))), "borrowed": True}
    again = parts_from_json(kept, paths)
    assert (again.split, again.borrowed) == (parts.split, True)


def test_ids_that_stand_in_both_sets_are_told_apart() -> None:
    chosen = trainset_of([{"id": "same", "group": "a", "task_description": "Bake bread in a cold oven."}])
    words = ["glaciers move", "parcels arrive", "engines rattle", "lawyers argue"]
    items = trainset_of(
        [
            {"id": "same" if not n else f"i{n}", "group": w, "task_description": f"Tell why {w}."}
            for n, w in enumerate(words)
        ]
    )
    found = borrowing_split(chosen, trainset_from(items.items, source="pool"), seed=0, min_groups=2)
    held = {item.id for item in (*found.split.validation, *found.split.test)}
    assert held == {"borrowed/same", "i1", "i2", "i3"}
