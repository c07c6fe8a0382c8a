"""DSPy's progress bars in threads; the first test is the defect as it is in DSPy and tqdm."""

import io
import threading
from weakref import WeakSet

import dspy
import pytest
import tqdm

from skill_fleet.evaluation.progress_bars import steady_progress_bars


@pytest.fixture(autouse=True)
def plain_bars():
    """tqdm's own set before the test, and what was there after it."""
    before = tqdm.tqdm._instances
    tqdm.tqdm._instances = WeakSet(before)
    yield
    tqdm.tqdm._instances = before


def emptied_meanwhile():
    """A bar that is made while DSPy, in another thread, empties the set."""

    class Bar(tqdm.tqdm):
        @classmethod
        def _get_free_pos(cls, instance=None):
            tqdm.tqdm._instances.clear()
            return 0

    return Bar(total=1, disable=True)


def test_a_bar_that_is_off_raises_where_the_set_is_emptied():
    with pytest.raises(KeyError):
        emptied_meanwhile()


def test_it_does_not_once_bars_are_steady():
    shown = tqdm.tqdm(total=1, file=io.StringIO())
    steady_progress_bars()
    steady_progress_bars()
    assert shown in tqdm.tqdm._instances
    emptied_meanwhile()
    shown.close()


def test_programs_that_run_in_parallel_do_not_break_each_other():
    steady_progress_bars()
    errors = []

    def work():
        inner = dspy.Parallel(num_threads=2, disable_progress_bar=True)
        for _ in range(20):
            try:
                inner([(lambda example: example, dspy.Example(x=i).with_inputs("x")) for i in range(2)])
            except KeyError as error:
                errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
