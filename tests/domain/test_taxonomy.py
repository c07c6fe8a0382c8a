"""Paths are strict, trees and paths are two ways to write one thing."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.domain.taxonomy import common_depth, parse_path, paths_of, tree_of, without_leaf
from skill_fleet.foundation.errors import UsageError

PARTS = st.sampled_from(["a", "b", "c1", "two_words", "x"])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


def test_a_path_has_parts():
    assert parse_path("technical_skills/programming/python/async") == (
        "technical_skills",
        "programming",
        "python",
        "async",
    )
    assert parse_path("c3") == ("c3",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "a/./b",
        "../a",
        "A",
        "a/B",
        "a-b",
        "a b",
        "a\\b",
        "C:/a",
        "a\0b",
        "a/b\n",
        "\na",
        "_a",
        "a_",
        "a__b",
        "é",
        "a/.git",
        "~",
        "~root/a",
        "a%2fb",
        "a/" * 20 + "b",
        "a" * 65,
        "ａ",
        "١",
    ],
)
def test_hostile_paths_are_refused_in_one_sentence(text):
    with pytest.raises(UsageError) as caught:
        parse_path(text)
    assert caught.value.message.endswith(".")
    assert "\n" not in caught.value.message
    assert "\0" not in caught.value.message


@settings(deadline=None)
@given(st.text(max_size=30))
def test_what_is_accepted_stays_below_a_folder(text):
    try:
        parts = parse_path(text)
    except UsageError:
        return
    assert "/".join(parts) == text
    assert all(part.isascii() and part not in {"", ".", ".."} for part in parts)


@settings(deadline=None)
@given(st.lists(PATHS, max_size=8))
def test_a_tree_holds_its_paths(paths):
    leaves = paths_of(tree_of(paths))
    assert set(leaves) == {path for path in paths if not any(other.startswith(f"{path}/") for other in paths)}
    assert tree_of(leaves) == tree_of(paths)


def test_a_tree_of_no_paths_is_empty():
    assert tree_of([]) == {}
    assert paths_of({}) == []
    assert paths_of({"a": {"b": None, "c": {}}, "d": "text"}) == ["a/b", "a/c", "d"]


def test_the_folders_above_a_leaf_stay():
    tree = tree_of(["technical_skills/programming/python/async"])
    expected = {"technical_skills": {"programming": {"python": {}}}}
    assert without_leaf(tree, "technical_skills/programming/python/async") == expected


@settings(deadline=None)
@given(st.lists(PATHS, max_size=8), PATHS)
def test_only_that_leaf_goes(paths, path):
    tree = tree_of(paths)
    before = copy.deepcopy(tree)
    left = without_leaf(tree, path)
    assert tree == before
    assert path not in paths_of(left) or path not in paths_of(tree)
    gone = set(paths_of(tree)) - set(paths_of(left))
    assert gone == ({path} if path in paths_of(tree) else set())


def test_a_copy_shares_nothing_with_the_tree():
    tree = tree_of(["a/b/c", "a/d"])
    without_leaf(tree, "a/d")["a"]["b"]["new"] = {}  # type: ignore[index]
    assert paths_of(tree) == ["a/b/c", "a/d"]


@pytest.mark.parametrize(
    ("a", "b", "depth"),
    [("a/b/c", "a/b/d", 2), ("a/b", "a/b", 2), ("a", "b", 0), ("a", "a/b", 1), ("", "", 0), ("ab", "a", 0)],
)
def test_common_depth(a, b, depth):
    assert common_depth(a, b) == common_depth(b, a) == depth
