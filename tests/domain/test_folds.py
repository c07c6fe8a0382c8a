import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skill_fleet.domain.folds import fold_splits, split_without_test
from skill_fleet.domain.trainset import Trainset, trainset_from, trainset_of
from skill_fleet.foundation.errors import DataError


def items_of(sizes: list[int]) -> Trainset:
    """Groups of the given sizes whose tasks have no word in common."""
    return trainset_of(
        [
            {"task_description": f"w{group}x{member} w{group}y{member}", "group": f"g{group}"}
            for group, size in enumerate(sizes)
            for member in range(size)
        ]
    )


def groups(part) -> set[str]:
    return {item.group for item in part}


sizes = st.lists(st.integers(1, 9), min_size=7, max_size=20)


@settings(deadline=None, max_examples=50)
@given(sizes, st.integers(2, 5), st.integers(1, 3), st.integers(0, 5))
@example([60, 1, 1, 1, 1, 1, 1], 2, 2, 0)
def test_the_laws_of_folds(sizes: list[int], folds: int, repeats: int, seed: int) -> None:
    trainset = items_of(sizes)
    try:
        splits = fold_splits(trainset, folds=folds, repeats=repeats, seed=seed, min_groups=3)
    except DataError:
        assert max(sizes) * 2 >= sum(sizes), "refused only where one unit is most of the data"
        return
    assert len(splits) == folds * repeats
    everything = sorted(item.id for item in trainset.items)
    for number in range(repeats):
        of_repeat = splits[number * folds : (number + 1) * folds]
        assert sorted(item.id for split in of_repeat for item in split.test) == everything
        tested = [len(split.test) for split in of_repeat]
        assert max(tested) - min(tested) <= 2 * max(sizes)
    for split in splits:
        parts = (split.train, split.validation, split.test)
        assert sorted(item.id for part in parts for item in part) == everything
        assert all(parts)
        assert not groups(split.test) & (groups(split.train) | groups(split.validation))
        assert not groups(split.train) & groups(split.validation)


def test_the_order_of_the_file_decides_nothing_and_the_seed_does() -> None:
    trainset = items_of([3, 2, 4, 1, 5, 2, 2, 3, 1, 2, 2, 4])
    backwards = trainset_from(trainset.items[::-1], source="backwards")
    folds = fold_splits(trainset, folds=4, repeats=2, seed=1)
    assert [split.digest for split in fold_splits(backwards, folds=4, repeats=2, seed=1)] == [
        split.digest for split in folds
    ]
    other = fold_splits(trainset, folds=4, seed=2)
    assert [groups(split.test) for split in other] != [groups(split.test) for split in folds[:4]]
    assert [groups(split.test) for split in folds[:4]] != [groups(split.test) for split in folds[4:]]


def test_near_duplicates_are_tested_together() -> None:
    words = [f"alpha{n} beta{n} gamma{n} delta{n} epsilon{n} zeta{n} eta{n} theta{n}" for n in range(12)]
    twins = [{"task_description": text, "group": f"a{n}"} for n, text in enumerate(words)]
    twins += [{"task_description": f"{text} please", "group": f"b{n}"} for n, text in enumerate(words)]
    for split in fold_splits(trainset_of(twins), folds=3, seed=0):
        assert {group[1:] for group in groups(split.test)}.isdisjoint(
            group[1:] for part in (split.train, split.validation) for group in groups(part)
        )


def test_without_a_test_all_examples_are_searched_with() -> None:
    trainset = items_of([2] * 12)
    split = split_without_test(trainset, seed=0)
    assert split.test == ()
    assert len(split.train) + len(split.validation) == 24
    assert len(split.train) == pytest.approx(0.6 * 24, abs=2)


@pytest.mark.parametrize(
    "make",
    [lambda data: fold_splits(data, folds=3, seed=0), lambda data: split_without_test(data, seed=0)],
    ids=["folds", "whole"],
)
def test_too_few_groups_are_refused_unless_told(make) -> None:
    with pytest.raises(DataError, match="has 9 independent groups") as caught:
        make(items_of([2] * 9))
    assert caught.value.code == "too_few_groups"
    assert "--min-groups 9" in caught.value.hint
    assert len(fold_splits(items_of([2] * 9), folds=3, seed=0, min_groups=9)) == 3


def test_more_folds_than_groups_are_refused_whatever_is_told() -> None:
    with pytest.raises(DataError, match="at least 8 are needed"):
        fold_splits(items_of([2] * 7), folds=8, seed=0, min_groups=2)


@pytest.mark.parametrize(
    ("groups", "folds", "min_groups", "needed", "advice"),
    [
        (3, 5, 3, 5, "--folds 3"),
        (3, 5, 10, 10, "--min-groups 3 --folds 3"),
        (6, 5, 10, 10, "--min-groups 6"),
        (1, 5, 3, 5, None),
        (2, 2, 1, 3, None),
    ],
)
def test_too_few_groups_say_how_many_are_needed_and_what_would_do(
    groups: int, folds: int, min_groups: int, needed: int, advice: str | None
) -> None:
    words = "anvil barometer canoe dynamo easel funnel".split()
    trainset = trainset_of([{"task": word, "group": word} for word in words[:groups]])
    with pytest.raises(DataError, match=f"at least {needed} are needed") as refused:
        fold_splits(trainset, folds=folds, seed=0, min_groups=min_groups)
    told = "Add examples of other kinds"
    assert refused.value.hint == (
        f"{told}." if advice is None else f"{told}, or accept less certain results with {advice}."
    )
