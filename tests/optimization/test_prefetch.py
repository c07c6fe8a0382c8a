"""Ghost = stock: with prefetch an optimizer makes the calls it makes without, and finds the same program."""

import contextlib
import itertools
import logging
import threading
from collections import Counter
from dataclasses import replace

import dspy
import pytest
from dspy.propose import grounded_proposer
from dspy.utils.callback import BaseCallback
from prefetch_problem import HashModel, TwoSteps, ours, right_six_times_of_ten, stock

from skill_fleet.foundation.errors import ProviderError
from skill_fleet.optimization import demo_search
from skill_fleet.optimization.optimizers import miprov2
from skill_fleet.optimization.prefetch import ghosts, guard
from skill_fleet.optimization.prefetch.guard import usable
from skill_fleet.optimization.search import Effort

LATENCY = 0.003
THREADS = 12
SMALL = {
    "bootstrap_random_search": (Effort(None, 4, 3, 3, 1), {"train": 12, "validation": 5}),
    "miprov2": (Effort(None, 6, 2, 2, 1), {"train": 12, "validation": 4}),
}
CASES = {
    **SMALL,
    # MIPROv2 without demonstrations, with none from the data, with minibatches, at its least, at a level.
    "miprov2 zero-shot": (Effort("light", None, 0, 0, 1), {"train": 10, "validation": 3}),
    "miprov2 no labels": (Effort(None, 6, 2, 0, 1), {"train": 10, "validation": 3}),
    "miprov2 minibatch": (Effort(None, 6, 1, 1, 1), {"train": 8, "validation": 51}),
    "miprov2 two candidates": (Effort(None, 2, 2, 2, 1), {"train": 12, "validation": 4}),
    "miprov2 light": (Effort("light", None, 4, 4, 1), {"train": 14, "validation": 4}),
    "bootstrap_few_shot": (Effort(None, 1, 4, 3, 1), {"train": 14, "validation": 2}),
    "bootstrap_few_shot three attempts": (Effort(None, 3, 6, 3, 1), {"train": 14, "validation": 2}),
    "bootstrap_random_search no labels": (Effort(None, 3, 8, 0, 1), {"train": 9, "validation": 6}),
}

SHARES = {"bootstrap_random_search": 0.25, "miprov2 light": 0.1, "bootstrap_few_shot": 0.04}
"""Of the calls, at least made by ghosts: a prefetch that does nothing would change nothing either.

On a machine that is busy ghosts come late: so much in one of five tries.
"""


def name_of(case):
    return case.split()[0]


def searched(case, folder, model, *, threads=THREADS, **options):
    """One search of a case."""
    effort, sizes = CASES[case]
    return ours(name_of(case), folder, model, replace(effort, num_threads=threads), **sizes, **options)


@pytest.fixture(scope="module")
def stock_of(tmp_path_factory):
    """What a case comes to with one thread: no prefetch there."""
    known = {}

    def whole(case):
        if case not in known:
            model = HashModel()
            known[case] = searched(case, tmp_path_factory.mktemp("stock"), model, threads=1)
            assert model.by_ghosts == 0
        return known[case]

    return whole


@contextlib.contextmanager
def another_dspy():
    """As if DSPy were of a version that nobody checked."""
    checked, guard.CHECKED = guard.CHECKED, ("0.0.1",)
    usable.cache_clear()
    try:
        yield
    finally:
        guard.CHECKED = checked
        usable.cache_clear()


def ghosts_alive():
    return [thread for thread in threading.enumerate() if thread.name == "ghost"]


@pytest.mark.parametrize("case", CASES)
def test_ghost_is_stock(case, stock_of, tmp_path):
    whole = stock_of(case)
    model = HashModel(latency=0.02 if case in SHARES else LATENCY)
    ghost = searched(case, tmp_path, model)
    assert ghost.hash == whole.hash
    assert ghost.table == whole.table
    assert ghost.table or name_of(case) == "bootstrap_few_shot"
    assert ghost.by_phase == whole.by_phase, "not one call more, and each booked as before"
    assert ghost.calls == whole.calls
    assert ghost.rollouts == whole.rollouts, "ghosts are no progress"
    assert ghost.best_seen == whole.best_seen
    assert not ghosts_alive()
    shares = [model.by_ghosts / ghost.calls]
    while shares[-1] < SHARES.get(case, 0) and len(shares) < 5:
        model = HashModel(latency=0.02)
        shares.append(model_share(case, tmp_path / str(len(shares)), model))
    assert shares[-1] >= SHARES.get(case, 0), shares


def dropped_at_first(read):
    """A reader of code that fails once. It takes what DSPy's takes, or the guard would keep prefetch out."""
    tries = itertools.count()

    def reader(module):
        if next(tries) == 0:
            raise KeyError("prefetch_problem.py")
        return read(module)

    return reader


def test_code_that_cannot_be_read_at_first_is_in_the_proposals_all_the_same(stock_of, tmp_path, monkeypatch):
    """As when another thread has just dropped it from Python's cache of sources: DSPy would go without it."""
    whole = stock_of("miprov2")
    read = grounded_proposer.get_dspy_source_code
    for threads in (1, THREADS):
        monkeypatch.setattr(grounded_proposer, "get_dspy_source_code", dropped_at_first(read))
        done = searched("miprov2", tmp_path / str(threads), HashModel(latency=LATENCY), threads=threads)
        assert (done.hash, done.calls) == (whole.hash, whole.calls), threads


def test_a_program_without_code_is_proposed_for_without_it_as_dspy_does(stock_of, tmp_path, monkeypatch):
    whole = stock_of("miprov2")  # before it cannot be read: others ask for it, too

    def none(module):
        raise OSError(f"could not get source code of {module}")

    monkeypatch.setattr(grounded_proposer, "get_dspy_source_code", none)
    one = searched("miprov2", tmp_path / "1", HashModel(), threads=1)
    many = searched("miprov2", tmp_path / "many", HashModel(latency=LATENCY))
    assert (one.hash, one.calls) == (many.hash, many.calls)
    assert one.calls < whole.calls, "what describes the program is not asked for"


def model_share(case, folder, model):
    """Of the calls of one more run, how many ghosts made."""
    done = searched(case, folder, model)
    return model.by_ghosts / done.calls


@pytest.mark.parametrize("case", SMALL)
def test_calls_in_flight_never_exceed_the_threads(case, stock_of, tmp_path):
    done = searched(case, tmp_path, HashModel(latency=LATENCY), threads=3)
    assert 1 < done.most_in_flight <= 3
    assert done.hash == stock_of(case).hash


@pytest.mark.parametrize("case", SMALL)
def test_a_replay_wakes_no_ghost(case, stock_of, tmp_path):
    whole = stock_of(case)
    searched(case, tmp_path / "again", HashModel(), threads=1)
    alone = searched(case, tmp_path / "again", HashModel(), threads=1)
    searched(case, tmp_path, HashModel(latency=LATENCY))
    model = HashModel()
    again = searched(case, tmp_path, model)
    assert (again.calls, again.hash) == (0, whole.hash)
    assert again.from_journal == alone.from_journal, "nothing is looked up but by the stock run"


@pytest.mark.parametrize("case", SMALL)
@pytest.mark.parametrize("share", [0.25, 0.75])
def test_a_cap_is_exact_and_what_was_stopped_ends_identical(case, share, stock_of, tmp_path):
    whole = stock_of(case)
    cap = int(share * whole.calls)
    stopped = searched(case, tmp_path, HashModel(latency=LATENCY), calls=cap)
    assert stopped.halt.cause == "budget"
    assert stopped.calls == cap
    assert not ghosts_alive()
    resumed = searched(case, tmp_path, HashModel(latency=LATENCY))
    assert resumed.hash == whole.hash
    assert stopped.calls + resumed.calls == whole.calls, "nothing is paid for twice"


def test_a_stopped_search_has_evaluated_what_comes_first(stock_of, tmp_path):
    """Ghosts work in the stock order, and the stock run follows at once: the best so far is there."""
    case = "bootstrap_random_search"
    cap = int(0.7 * stock_of(case).calls)
    slow = HashModel(latency=0.02)
    seen = searched(case, tmp_path, slow, calls=cap, threads=4)
    alone = searched(case, tmp_path / "alone", HashModel(), calls=cap, threads=1)
    assert seen.rollouts >= 0.25 * alone.rollouts, "a quarter, on however busy a machine"
    assert seen.best_seen is not None


def test_an_interrupt_ends_ghosts_and_stock(stock_of, tmp_path):
    case = "bootstrap_random_search"
    gates = []

    def interrupt(number, request):
        if number == 25:
            gates[0].interrupt()

    stopped = searched(case, tmp_path, HashModel(latency=LATENCY, fault=interrupt), gates=gates)
    assert stopped.halt.cause == "interrupted"
    assert not ghosts_alive()
    resumed = searched(case, tmp_path, HashModel(latency=LATENCY))
    assert resumed.hash == stock_of(case).hash
    assert stopped.calls + resumed.calls == stock_of(case).calls


def test_a_provider_that_fails_for_good_halts_the_search(stock_of, tmp_path):
    case = "miprov2"

    def refuse(number, request):
        if number > 25:
            raise ProviderError("The key was refused.")

    stopped = searched(case, tmp_path, HashModel(latency=LATENCY, fault=refuse))
    assert stopped.halt.cause == "provider"
    assert not ghosts_alive()
    assert searched(case, tmp_path, HashModel(latency=LATENCY)).hash == stock_of(case).hash


class Brittle(TwoSteps):
    """Breaks on some tasks, after the first call."""

    def forward(self, task):
        outline = self.outline(task=task).outline
        if outline[-1] in "048c":
            raise ValueError("an answer it cannot use")
        return self.write(task=task, outline=outline)


@pytest.mark.parametrize("case", SMALL)
def test_a_program_that_breaks_now_and_then(case, tmp_path):
    whole = searched(case, tmp_path / "stock", HashModel(), threads=1, program=Brittle())
    ghost = searched(case, tmp_path / "ghost", HashModel(latency=LATENCY), program=Brittle())
    assert (ghost.hash, ghost.table, ghost.by_phase) == (whole.hash, whole.table, whole.by_phase)


def test_a_metric_that_breaks_halts_as_in_stock(tmp_path):
    case = "bootstrap_random_search"

    def broken(gold, pred, trace=None):
        if gold.task.endswith("3"):
            raise KeyError("nowhere")
        return right_six_times_of_ten(gold, pred).score

    stopped = searched(case, tmp_path, HashModel(latency=LATENCY), metric=broken)
    assert stopped.halt.cause == "metric"
    assert not ghosts_alive()


class Judge(dspy.Signature):
    """Is this a good answer?"""

    answer: str = dspy.InputField()
    verdict: str = dspy.OutputField()


def judged(gold, pred, trace=None):
    verdict = dspy.Predict(Judge)(answer=pred.answer).verdict
    return float(int(verdict[-2:], 16) % 10 < 6)


def test_a_judge_is_asked_once_and_within_the_same_bound(tmp_path):
    case = "bootstrap_random_search"
    whole = searched(case, tmp_path / "stock", HashModel(), threads=1, metric=judged)
    ghost = searched(case, tmp_path / "ghost", HashModel(latency=LATENCY), threads=4, metric=judged)
    assert (ghost.hash, ghost.by_phase) == (whole.hash, whole.by_phase)
    assert ghost.by_phase["judge"] > 0
    assert ghost.most_in_flight <= 4


class Told(BaseCallback):
    """Counts what callbacks are told."""

    def __init__(self):
        self.told = Counter()
        self.lock = threading.Lock()

    def on_module_start(self, call_id, instance, inputs):
        with self.lock:
            self.told[type(instance).__name__] += 1

    def on_lm_start(self, call_id, instance, inputs):
        with self.lock:
            self.told["LM"] += 1


def test_callbacks_hear_of_the_stock_run_only(tmp_path):
    case = "miprov2"
    alone, beside = Told(), Told()
    searched(case, tmp_path / "stock", HashModel(), threads=1, callbacks=(alone,))
    searched(case, tmp_path / "ghost", HashModel(latency=LATENCY), callbacks=(beside,))
    assert beside.told == alone.told


def test_another_dspy_is_run_as_it_is(stock_of, tmp_path, caplog):
    case = "bootstrap_random_search"
    model = HashModel(latency=LATENCY)
    with another_dspy(), caplog.at_level(logging.WARNING, logger=guard.__name__):
        done = searched(case, tmp_path, model)
    assert model.by_ghosts == 0
    assert (done.hash, done.calls) == (stock_of(case).hash, stock_of(case).calls)
    assert [record.name for record in caplog.records].count(guard.__name__) == 1


@pytest.mark.parametrize(
    ("case", "module", "script"),
    [
        ("bootstrap_random_search", demo_search, "prefetch_random_search"),
        ("miprov2", miprov2, "prefetch_miprov2"),
    ],
)
def test_a_script_that_breaks_changes_nothing(case, module, script, stock_of, tmp_path, monkeypatch, caplog):
    def broken(_ghosts, **given):
        raise LookupError("not as it was")

    monkeypatch.setattr(module, script, broken)
    with caplog.at_level(logging.WARNING, logger=ghosts.__name__):
        done = searched(case, tmp_path, HashModel(latency=LATENCY))
    assert (done.hash, done.calls) == (stock_of(case).hash, stock_of(case).calls)
    assert "Prefetch gave up" in caplog.text


NUMBERS = itertools.count()


class Restless(TwoSteps):
    """Never asks the same thing twice."""

    def forward(self, task):
        return super().forward(f"{task}, request {next(NUMBERS)}")


@pytest.mark.parametrize("case", [*SMALL, "bootstrap_few_shot"])
def test_a_program_that_never_asks_the_same_twice_is_left_alone(case, tmp_path, caplog):
    model = HashModel(latency=LATENCY)
    with caplog.at_level(logging.WARNING, logger=ghosts.__name__):
        searched(case, tmp_path, model, program=Restless())
    assert model.by_ghosts <= 4, "two runs of the program to find out"
    assert "does not ask the same thing twice" in caplog.text


class Acting(TwoSteps):
    """Has tools: what they do is in no journal."""

    def __init__(self):
        super().__init__()
        self.agent = dspy.ReAct("task -> answer", tools=[len])


def test_a_program_that_acts_is_left_alone(tmp_path):
    model = HashModel(latency=LATENCY)
    searched("bootstrap_random_search", tmp_path, model, program=Acting())
    assert model.by_ghosts == 0


class Unsaved(dspy.LM):
    """A model whose engine has no state."""

    def dump_state(self):
        return {}


def test_a_program_with_a_model_of_its_own_is_left_alone(tmp_path):
    """What goes past the journal would be paid for twice."""
    case = "miprov2"
    program, own = TwoSteps(), HashModel()
    program.outline.lm = Unsaved("scripted/own", engine=own, cache=False)
    model = HashModel(latency=LATENCY)
    done = searched(case, tmp_path, model, program=program)
    assert done.hash is not None
    assert own.attempts > 0
    assert model.by_ghosts == own.by_ghosts == 0


def test_models_without_a_journal_are_left_alone(tmp_path):
    model = HashModel(latency=LATENCY)
    effort = Effort(None, 1, 1, 1, THREADS)
    assert stock("bootstrap_random_search", tmp_path, model, effort).hash is not None
    assert model.by_ghosts == 0
