from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skill_fleet.domain.split import SHARES, Split, split_trainset, split_with
from skill_fleet.domain.trainset import TrainingItem, Trainset, trainset_from, trainset_of
from skill_fleet.domain.units import units_of
from skill_fleet.foundation.errors import DataError


def items_of(sizes: list[int], prefix: str = "w") -> Trainset:
    """Groups of the given sizes whose tasks have no word in common."""
    return trainset_of(
        [
            {"task_description": f"{prefix}{group}x{member} {prefix}{group}y{member}", "group": f"g{group}"}
            for group, size in enumerate(sizes)
            for member in range(size)
        ]
    )


def parts_of(split: Split) -> tuple[tuple[TrainingItem, ...], ...]:
    return split.train, split.validation, split.test


sizes = st.lists(st.integers(1, 12), min_size=3, max_size=25)


@settings(deadline=None, max_examples=60)
@given(sizes, st.integers(0, 5))
@example([100, 1, 1], 0)
@example([1, 1, 1], 0)
def test_the_laws_of_a_split(sizes: list[int], seed: int) -> None:
    trainset = items_of(sizes)
    split = split_trainset(trainset, seed=seed, min_groups=3)
    parts = parts_of(split)
    assert sorted(item.id for part in parts for item in part) == sorted(item.id for item in trainset.items)
    groups = [{item.group for item in part} for part in parts]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    assert all(parts)
    for part, share in zip(parts, SHARES, strict=True):
        assert abs(len(part) - share * len(trainset.items)) <= max(sizes)


@settings(deadline=None, max_examples=30)
@given(sizes, st.randoms(use_true_random=False))
def test_the_order_of_the_examples_does_not_matter(sizes: list[int], random: object) -> None:
    items = list(items_of(sizes).items)
    first = split_trainset(trainset_from(items, source="a"), seed=3, min_groups=3)
    random.shuffle(items)  # type: ignore[attr-defined]
    again = split_trainset(trainset_from(items, source="b"), seed=3, min_groups=3)
    assert again == first


def test_neither_do_ids_nor_the_names_of_groups() -> None:
    trainset = items_of([2] * 12)
    renamed = [replace(item, id=f"n-{item.id}", group=f"n-{item.group}") for item in trainset.items]
    one = split_trainset(trainset, seed=1)
    two = split_trainset(trainset_from(renamed, source="b"), seed=1)
    assert [item.text for item in one.test] == [item.text for item in two.test]
    assert one.test_digest == two.test_digest
    assert one.digest != two.digest


def test_a_seed_gives_one_split_and_another_seed_another() -> None:
    trainset = items_of([3] * 20)
    assert split_trainset(trainset, seed=1) == split_trainset(trainset, seed=1)
    assert len({split_trainset(trainset, seed=seed).test_digest for seed in range(8)}) == 8


def test_many_small_groups_meet_the_shares_exactly() -> None:
    split = split_trainset(items_of([1] * 100), seed=0)
    assert [len(part) for part in parts_of(split)] == [30, 20, 50]


def test_near_duplicates_and_equal_answers_stay_together() -> None:
    words = ["roast coffee beans slowly", "tune diesel engines outdoors", "bind old leather books"]
    values = [
        {"task_description": f"Write about how people {text}", "group": f"a{n}"}
        for n, text in enumerate(words)
    ]
    values += [
        {"task_description": f"write about how PEOPLE {text}!", "group": f"b{n}"}
        for n, text in enumerate(words)
    ]
    gold = {"taxonomy_path": "x/y", "name": "y"}
    values += [
        {"task_description": text, "group": text, "expected": gold}
        for text in ("climb mountains", "sail ships")
    ]
    units = units_of(trainset_of(values).items)
    assert sorted(len(unit) for unit in units) == [2, 2, 2, 2]
    for seed in range(5):
        parts = parts_of(split_trainset(trainset_of(values), seed=seed, min_groups=3))
        assert all({item.group[-1] for item in part} for part in parts)
        assert all(len(part) % 2 == 0 for part in parts)


def test_too_few_groups_are_refused_with_the_number() -> None:
    with pytest.raises(DataError, match=r"has 9 independent groups .*at least 10") as caught:
        split_trainset(items_of([4] * 9), seed=0)
    assert "--min-groups 9" in caught.value.hint
    with pytest.raises(DataError, match="at least 3") as caught:
        split_trainset(items_of([4] * 2), seed=0, min_groups=1)
    assert "--min-groups" not in caught.value.hint


def test_whole_groups_can_be_held_out_by_prefix() -> None:
    values = [
        {"task_description": f"r{repo}g{group}m{member}", "group": f"repo{repo}/g{group}"}
        for repo in range(3)
        for group in range(5)
        for member in range(2)
    ]
    split = split_trainset(trainset_of(values), seed=0, holdout_groups=["repo1"])
    assert {item.group for item in split.test} == {f"repo1/g{group}" for group in range(5)}
    assert (len(split.train), len(split.validation)) == (12, 8)
    exact = split_trainset(trainset_of(values), seed=0, holdout_groups=["repo1/g0", "repo2/g4"])
    assert {item.group for item in exact.test} == {"repo1/g0", "repo2/g4"}
    with pytest.raises(DataError, match="No group") as caught:
        split_trainset(trainset_of(values), seed=0, holdout_groups=["repo"])
    assert "repo0" in caught.value.hint
    with pytest.raises(DataError, match="too few for train and validation"):
        split_trainset(trainset_of(values), seed=0, holdout_groups=["repo0", "repo1", "repo2"])


def test_given_parts_are_used_as_they_are() -> None:
    train, validation, test = items_of([1] * 12, "a"), items_of([1] * 3, "b"), items_of([1] * 4, "c")
    split = split_with(train, validation, test, seed=0)
    assert split.train == train.items
    assert [item.fields for item in split.validation] == [item.fields for item in validation.items]
    assert split.test[0].id == "test/item-0001"
    assert len({item.id for part in parts_of(split) for item in part}) == 19


def test_missing_parts_are_cut_from_the_train_file() -> None:
    pool = items_of([1] * 80, "a")
    given_test = split_with(pool, test=items_of([1] * 4, "c"), seed=0)
    assert (len(given_test.train), len(given_test.validation), len(given_test.test)) == (48, 32, 4)
    given_validation = split_with(pool, items_of([1] * 4, "c"), seed=0)
    assert (len(given_validation.train), len(given_validation.validation), len(given_validation.test)) == (
        30,
        4,
        50,
    )
    assert split_with(pool, seed=4) == split_trainset(pool, seed=4)
    with pytest.raises(DataError, match=r"1 independent group \("):
        split_with(items_of([9], "a"), test=items_of([1] * 12, "b"), seed=0)


@pytest.mark.parametrize(
    ("twin", "words"),
    [
        ({"task_description": "Explain how bees dance for their hive"}, "is the same as 'item-0003'"),
        (
            {"task_description": "explain how BEES dance, for their hive!"},
            "asks nearly the same as 'item-0003'",
        ),
        (
            {"task_description": "Altogether other words", "expected": {"taxonomy_path": "a/b", "name": "b"}},
            "expects the same skill as 'item-0004'",
        ),
    ],
)
def test_a_leak_between_files_names_both_items(twin: dict[str, object], words: str) -> None:
    train = trainset_of(
        [
            {"task_description": "Sort laundry by colour"},
            {"task_description": "Paint fences in winter"},
            {"task_description": "Explain how bees dance for their hive"},
            {"task_description": "Negotiate rent", "expected": {"taxonomy_path": "a/b", "name": "b"}},
        ]
    )
    test = trainset_of([{"task_description": "Fix bicycles", "id": "one"}, {**twin, "id": "two"}])
    with pytest.raises(DataError, match=words) as caught:
        split_with(train, None, test, seed=0, min_groups=2)
    assert "'two' of the test data" in caught.value.message
    assert caught.value.code == "leak"


def test_a_field_that_is_empty_everywhere_is_named_where_it_joins_all() -> None:
    items = [{"ticket": None, "queue": "billing"} for _ in range(12)]
    with pytest.raises(DataError, match=r"has 1 independent group .12 examples in 1 named group,") as refused:
        split_trainset(trainset_of(items), seed=0)
    assert refused.value.hint.startswith("The field 'ticket' is empty in 12 of 12 examples. Add examples")
