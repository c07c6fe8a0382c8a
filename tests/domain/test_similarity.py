import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.domain.similarity import clusters, cosine, fit, near_duplicates
from skill_fleet.domain.words import contains_run, stem, terms, tokens

sentences = st.lists(
    st.lists(
        st.sampled_from(
            ["red", "green", "blue", "fox", "hound", "runs", "jumps", "over", "under", "river", "bank"]
        ),
        max_size=8,
    ).map(" ".join),
    max_size=12,
)


def test_words_are_folded_and_separated() -> None:
    assert tokens("Python's ASYNC/await_tasks, C++ and C#") == [
        "python",
        "s",
        "async",
        "await",
        "tasks",
        "c++",
        "and",
        "c#",
    ]
    assert tokens("日本語 text") == ["日", "本", "語", "text"]
    assert tokens("ﬁne") == ["fine"]
    assert tokens("") == []


@pytest.mark.parametrize(
    "family",
    [
        ("create", "creates", "creating", "created"),
        ("test", "tests", "testing"),
        ("query", "queries"),
        ("plan", "planning"),
    ],
)
def test_forms_of_a_word_share_a_stem(family: tuple[str, ...]) -> None:
    assert len({stem(word) for word in family}) == 1


def test_stop_words_carry_nothing() -> None:
    assert terms("I want you to help me with the thing") == [stem("thing")]


def test_runs_are_found_only_unbroken() -> None:
    assert contains_run(["a", "b", "c"], ["b", "c"])
    assert not contains_run(["a", "b", "c"], ["a", "c"])
    assert not contains_run(["a"], [])
    assert not contains_run(["a"], ["a", "b"])


@settings(deadline=None)
@given(sentences)
def test_cosine_is_a_likeness(texts: list[str]) -> None:
    model = fit(texts)
    vectors = [model.vector(text) for text in texts]
    for a in vectors:
        assert cosine(a, a) == pytest.approx(1.0 if a else 0.0)
        for b in vectors:
            assert 0.0 <= cosine(a, b) <= 1.0
            assert cosine(a, b) == pytest.approx(cosine(b, a))


@settings(deadline=None)
@given(sentences, st.sampled_from([0.1, 0.3, 0.5, 0.8, 1.0]))
def test_no_near_pair_is_missed_and_none_is_made_up(texts: list[str], threshold: float) -> None:
    exact = set()
    for model in (fit(texts), fit(texts, neighbours=False)):
        vectors = [model.vector(text) for text in texts]
        exact |= {
            (i, j)
            for j in range(len(texts))
            for i in range(j)
            if vectors[i] and cosine(vectors[i], vectors[j]) >= threshold - 1e-9
        }
    assert {(i, j) for i, j, _ in near_duplicates(texts, threshold)} == exact


def test_the_same_words_in_another_order_are_the_same_text() -> None:
    texts = [
        "review the slow query and add an index",
        "an index add and query slow the review",
        "write a letter to the board",
    ]
    assert [(i, j) for i, j, _ in near_duplicates(texts, 0.9)] == [(0, 1)]


def test_what_is_rare_weighs_more() -> None:
    model = fit(["common word alpha", "common word beta", "common word gamma"])
    query = model.vector("common alpha")
    assert cosine(query, model.vector("alpha")) > cosine(query, model.vector("common"))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=15))
def test_clusters_are_the_connected_parts(pairs: list[tuple[int, int]]) -> None:
    first = clusters(10, pairs)
    assert all(first[left] == first[right] for left, right in pairs)
    assert all(first[root] == root <= index for index, root in enumerate(first))
    together = {frozenset({index}) for index in range(10)}
    for left, right in pairs:
        joined = frozenset().union(*(part for part in together if part & {left, right}))
        together = {part for part in together if not part & joined} | {joined}
    assert len(set(first)) == len(together)


def test_seven_hundred_texts_take_less_than_two_seconds() -> None:
    draw = random.Random(1)
    words = [f"word{int(draw.paretovariate(0.7))}" for _ in range(70_000)]
    texts = [" ".join(words[start : start + 100]) for start in range(0, 70_000, 100)]
    texts[500] = texts[3] + " more"
    started = time.process_time()
    pairs = near_duplicates(texts, 0.8)
    assert time.process_time() - started < 2
    assert (3, 500) in {(i, j) for i, j, _ in pairs}
