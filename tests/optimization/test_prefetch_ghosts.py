"""The machinery under prefetch: ghosts, turnstile, guard."""

import logging
import threading
import time
from concurrent.futures import wait

import dspy
import pytest

from skill_fleet.foundation.errors import BudgetExhausted
from skill_fleet.llm.halt import Halt
from skill_fleet.optimization.prefetch import guard
from skill_fleet.optimization.prefetch.ghosts import Ghosts, result_of
from skill_fleet.optimization.prefetch.guard import Name, usable


@pytest.fixture
def ghosts():
    pool = Ghosts(3)
    yield pool
    pool.close()


def test_results_come_in_the_order_asked_for_and_a_failure_is_none(ghosts):
    def thunk(number):
        time.sleep(0.01 * (3 - number % 3))
        return 10 // (number - 4)

    assert ghosts.all((0,), [lambda n=n: thunk(n) for n in (5, 4, 6, 2)]) == [10, None, 5, -5]


def test_never_more_at_a_time_than_there_are_threads(ghosts):
    lock, running, most, met = threading.Lock(), [0], [0], threading.Event()

    def thunk():
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
            if running[0] == 3:
                met.set()
        met.wait(60)
        time.sleep(0.005)
        with lock:
            running[0] -= 1

    ghosts.all((0,), [thunk] * 20)
    assert most[0] == 3


def test_the_lowest_order_goes_first():
    pool, started, done = Ghosts(1), threading.Event(), []
    try:
        first = pool.call((0,), started.wait)
        rest = [pool.call((order,), lambda order=order: done.append(order)) for order in (3, 1, 2, 1)]
        started.set()
        assert first.result(60)
        for future in rest:
            future.result(60)
        assert done == [1, 1, 2, 3]
    finally:
        started.set()
        pool.close()


def test_the_settings_of_the_caller_hold_but_nobody_is_told():
    calls = []

    class Told(dspy.utils.callback.BaseCallback):
        def on_module_start(self, call_id, instance, inputs):
            calls.append(instance)

    trace = []
    with dspy.context(callbacks=[Told()], trace=trace, some_setting=7):
        pool = Ghosts(2)
        try:
            seen = pool.all((0,), [lambda: (dspy.settings.some_setting, dspy.settings.callbacks)] * 3)
            own = pool.all((0,), [lambda: dspy.settings.trace.append(1) or dspy.settings.trace] * 2)
        finally:
            pool.close()
    assert seen == [(7, [])] * 3
    assert own == [[1], [1]]
    assert (trace, calls) == ([], [])


def test_a_halt_ends_all_ghosts(ghosts):
    def refuse():
        raise Halt("budget", BudgetExhausted("enough"))

    with pytest.raises(Halt):
        result_of(ghosts.call((0,), refuse))
    assert ghosts.closed
    assert ghosts.call((0,), lambda: 1).cancelled()
    assert ghosts.script(lambda: 1).cancelled()


def test_an_error_ends_nothing(ghosts):
    assert result_of(ghosts.call((0,), lambda: 1 / 0)) is None
    assert result_of(ghosts.call((0,), lambda: 1)) == 1


def test_close_waits_for_what_runs_and_drops_what_is_queued():
    pool, began, ended, late = Ghosts(1), threading.Event(), [], []

    def slow():
        began.set()
        time.sleep(0.05)
        ended.append(1)

    pool.call((0,), slow)
    waiting = pool.call((0,), lambda: late.append(1))
    script = pool.script(waiting.result)
    began.wait(60)
    pool.close()
    assert ended == [1]
    assert late == []
    assert waiting.cancelled()
    assert script.done()


def test_the_guard_wants_a_version_it_knows(monkeypatch, caplog):
    monkeypatch.setattr(guard, "CHECKED", ("0.0.1",))
    usable.cache_clear()
    with caplog.at_level(logging.WARNING, logger=guard.__name__):
        assert not usable(())
        assert not usable(())
    usable.cache_clear()
    assert len(caplog.records) == 1, "said once"
    assert dspy.__version__ in caplog.text


@pytest.mark.parametrize(
    "name",
    [
        Name("dspy.teleprompt.bootstrap:BootstrapFewShot._gone", ()),
        Name("dspy.teleprompt.nowhere:X", ()),
        Name("dspy.teleprompt.bootstrap:BootstrapFewShot._train", ("extra",)),
        Name("dspy.teleprompt.vanilla:LabeledFewShot.compile", ("student", "trainset")),
    ],
)
def test_the_guard_wants_names_as_they_were(name, caplog):
    usable.cache_clear()
    with caplog.at_level(logging.WARNING, logger=guard.__name__):
        assert not usable((name,))
    assert name.place in caplog.text


def test_the_guard_passes_what_is_as_it_was():
    known = Name("dspy.teleprompt.vanilla:LabeledFewShot.compile", ("student", "trainset", "sample"))
    assert usable((known,))


def test_who_waits_for_what_is_dropped_is_told():
    pool, block = Ghosts(1), threading.Event()
    pool.call((0,), block.wait)
    queued = [pool.call((0,), lambda: 1) for _ in range(2)]
    waiting = pool.script(lambda: wait(queued, timeout=60).not_done)
    pool.stop()
    block.set()
    assert waiting.result(60) == set()
    late = pool.call((0,), lambda: 1)
    assert wait([late], timeout=60).done == {late}
    pool.close()


def test_what_broke_a_script_is_said_once(caplog):
    pool = Ghosts(1)
    with caplog.at_level(logging.WARNING, logger=Ghosts.__module__):
        first = pool.script(lambda: 1 / 0)
        second = pool.script(lambda: first.result() + 1)
        wait([first, second], timeout=60)
        pool.close()
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError]


def test_what_repeats_itself_pays_once(ghosts):
    paid = []

    def steady():
        if not paid:
            paid.append(1)
            ghosts.paid()

    assert ghosts.script(lambda: ghosts.repeats((), steady)).result(60)
    assert not ghosts.script(lambda: ghosts.repeats((), ghosts.paid)).result(60)
