from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.evaluation.pareto import dominates, pareto

cost = st.none() | st.integers(0, 3).map(float)
points = st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), cost), max_size=8)


def test_the_set_of_a_worked_case():
    found = pareto(
        [
            (0.9, 10.0),
            (0.8, 2.0),
            (0.8, 3.0),  # as good as the one before, and dearer
            (0.7, 2.5),  # worse and dearer than the second
            (0.7, 2.0),  # worse at the same cost
            (0.5, 0.0),
        ]
    )
    assert found == [True, True, False, False, False, True]


def test_equal_points_are_all_in_it():
    assert pareto([(0.5, 1.0), (0.5, 1.0)]) == [True, True]
    assert pareto([]) == []


def test_an_unknown_cost_is_neither_zero_nor_infinite():
    assert not dominates((0.9, 0.0), (0.1, None))
    assert not dominates((0.9, None), (0.1, 100.0))
    assert pareto([(0.9, 0.0), (0.1, None), (0.2, 5.0)]) == [True, True, False]


@given(points)
def test_what_is_left_out_is_dominated_by_something_that_is_in(some):
    kept = pareto(some)
    best = [point for point, is_kept in zip(some, kept, strict=True) if is_kept]
    for point, is_kept in zip(some, kept, strict=True):
        assert is_kept != any(dominates(other, point) for other in best)


@given(points, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(some, random):
    order = list(range(len(some)))
    random.shuffle(order)
    kept = pareto(some)
    assert pareto([some[index] for index in order]) == [kept[index] for index in order]


@given(points)
def test_nothing_dominates_itself_and_no_two_each_other(some):
    for a in some:
        assert not dominates(a, a)
        assert not any(dominates(a, b) and dominates(b, a) for b in some)
