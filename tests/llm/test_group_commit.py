"""Group commit under attack: who is told what, when a batch, a commit, an item or a thread goes wrong."""

import contextlib
import gc
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from skill_fleet.llm.journal import group_commit
from skill_fleet.llm.journal.group_commit import GroupCommit


class Store:
    """A store with transactions: what is in `kept` was committed. Its commits wait for `may_commit`."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.batches: list[list[Any]] = []
        self.heavy: list[bool] = []
        self.begin_errors: list[Exception] = []
        self.commit_errors: list[Exception | None] = []
        self.slow = 0.0
        self.hold_back: Any = None
        self.may_commit = threading.Event()
        self.may_commit.set()
        self.one = threading.Lock()
        self.begun = 0
        self.before_commit: Callable[[], None] = lambda: None
        self.after_commit: Callable[[], None] = lambda: None
        self._written: list[Any] = []
        self.commits = GroupCommit(
            self.transaction,
            lambda error: type(error)(*error.args),
            of_all=lambda error: isinstance(error, ConnectionError),
        )

    @contextlib.contextmanager
    def transaction(self, heavy: bool, works: int) -> Iterator[None]:
        assert not self.one.locked(), "only one transaction is ever open"
        with self.one:
            if self.begin_errors:
                raise self.begin_errors.pop()
            self.begun += 1
            self._written = []
            yield
            assert works >= len(self._written)
            if self.hold_back in self._written:
                time.sleep(60)  # until it is interrupted
            self.may_commit.wait(60)
            time.sleep(self.slow)
            self.before_commit()
            error = self.commit_errors.pop(0) if self.commit_errors else None
            if error is not None:
                raise error
            self.batches.append(self._written)
            self.heavy.append(heavy)
            self.kept += [value for value in self._written if value not in self.kept]
            self.after_commit()

    def put(self, value: Any, *, heavy: bool = False, error: Exception | None = None) -> Any:
        def work() -> Any:
            if error is not None:
                raise error
            self._written.append(value)
            return value

        return self.commits.run(work, heavy=heavy)


def held(store: Store, count: int, pool: ThreadPoolExecutor, put: Callable[[int], Any]) -> list[Any]:
    """One commit under way and `count` callers behind it, in the order of their numbers."""
    store.may_commit.clear()
    first = pool.submit(store.put, "first")
    until(store.one.locked)
    waiting = []
    for number in range(count):
        waiting.append(pool.submit(put, number))
        until(lambda n=number: len(store.commits._queue) == n + 1)
    return [first, *waiting]


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it hangs"
        time.sleep(0.0005)


def test_who_waits_while_another_commits_is_committed_together_in_order() -> None:
    store = Store()
    with ThreadPoolExecutor(12) as pool:
        futures = held(store, 10, pool, store.put)
        assert store.kept == [], "nobody is answered before the commit"
        assert not any(future.done() for future in futures)
        store.may_commit.set()
        assert [future.result(60) for future in futures] == ["first", *range(10)]
    assert store.batches == [["first"], list(range(10))]


def test_who_was_written_is_woken_and_does_not_sleep_until_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_commit, "_GLANCE", 30.0)
    store = Store()
    with ThreadPoolExecutor(12) as pool:
        futures = held(store, 10, pool, store.put)
        store.may_commit.set()
        assert [future.result(15) for future in futures] == ["first", *range(10)]


def test_a_thread_alone_has_a_transaction_of_its_own() -> None:
    store = Store()
    assert [store.put(number) for number in range(3)] == [0, 1, 2]
    assert store.batches == [[0], [1], [2]]


def test_one_heavy_work_makes_its_batch_heavy_and_no_other() -> None:
    store = Store()
    with ThreadPoolExecutor(4) as pool:
        futures = held(store, 3, pool, lambda number: store.put(number, heavy=number == 1))
        store.may_commit.set()
        for future in futures:
            future.result(60)
    store.put("after")
    assert store.heavy == [False, True, False]


def test_an_error_in_one_work_of_a_batch_is_its_callers_alone() -> None:
    store = Store()
    with ThreadPoolExecutor(12) as pool:
        futures = held(
            store, 9, pool, lambda n: store.put(n, error=ValueError(f"broken {n}") if n % 4 == 2 else None)
        )
        store.may_commit.set()
        for number, future in enumerate(futures[1:]):
            if number % 4 == 2:
                with pytest.raises(ValueError, match=f"broken {number}"):
                    future.result(60)
            else:
                assert future.result(60) == number
    assert store.kept == ["first", *(n for n in range(9) if n % 4 != 2)], "each once, none of the broken"


@pytest.mark.parametrize("heavy", [False, True])
def test_a_connection_that_breaks_in_one_work_is_not_tried_again_for_each_of_the_others(heavy: bool) -> None:
    """Each alone would wait for the same time-out, one behind the other."""
    store = Store()
    with ThreadPoolExecutor(12) as pool:
        broken = {2: ConnectionError("broken")}
        futures = held(store, 9, pool, lambda n: store.put(n, heavy=heavy, error=broken.get(n)))
        store.may_commit.set()
        assert futures[0].result(60) == "first"
        errors = [future.exception(60) for future in futures[1:]]
    assert all(isinstance(error, ConnectionError) for error in errors)
    assert len(set(map(id, errors))) == 9, "each has an error of its own"
    assert store.begun == 2
    assert store.put("after") == "after"


@pytest.mark.parametrize("again", [False, True], ids=["written", "broken again"])
def test_answers_in_hand_are_tried_once_more_without_who_waits_for_a_lock(again: bool) -> None:
    store = Store()
    with ThreadPoolExecutor(12) as pool:
        broken = {1: ConnectionError("locked"), **({6: ConnectionError("too")} if again else {})}
        futures = held(store, 8, pool, lambda n: store.put(n, heavy=n % 2 == 0, error=broken.get(n)))
        store.may_commit.set()
        for number, future in enumerate(futures[1:]):
            if number % 2 or again:
                with pytest.raises(ConnectionError):
                    future.result(60)
            else:
                assert future.result(60) == number
    assert store.kept == (["first"] if again else ["first", 0, 2, 4, 6])
    assert store.begun == 3


def test_a_commit_that_fails_fails_every_caller_of_the_batch_and_none_else() -> None:
    store = Store()
    store.commit_errors = [None, OSError("disk is full")]
    with ThreadPoolExecutor(12) as pool:
        futures = held(store, 8, pool, store.put)
        store.may_commit.set()
        assert futures[0].result(60) == "first"
        errors = [future.exception(60) for future in futures[1:]]
    assert all(isinstance(error, OSError) for error in errors)
    assert len({id(error) for error in errors}) == 8, "each has an error of its own"
    assert len({id(error.__cause__) for error in errors if error}) == 1
    assert store.put("after") == "after"
    assert store.kept == ["first", "after"]


def test_a_transaction_that_cannot_begin_fails_its_callers_and_is_not_tried_for_each() -> None:
    store = Store()
    with ThreadPoolExecutor(12) as pool:
        futures = held(store, 8, pool, store.put)
        store.begin_errors = [OSError("locked")]
        store.may_commit.set()
        assert futures[0].result(60) == "first"
        assert all(isinstance(future.exception(60), OSError) for future in futures[1:])
    assert store.put("after") == "after"
    assert store.kept == ["first", "after"]


@pytest.mark.parametrize("threads", [2, 8, 32])
def test_whatever_the_threads_do_each_work_is_committed_once_and_in_the_order_of_its_thread(
    threads: int,
) -> None:
    store = Store()
    chance = random.Random(threads)
    broken = {(t, n) for t in range(threads) for n in range(60) if chance.random() < 0.05}

    def thread(number: int) -> None:
        for step in range(60):
            error = ValueError(step) if (number, step) in broken else None
            try:
                assert store.put((number, step), error=error) == (number, step)
                assert (number, step) not in broken
                assert (number, step) in store.kept, "answered only once it is committed"
            except ValueError:
                assert (number, step) in broken

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(thread, number) for number in range(threads)]:
            future.result(60)
    for number in range(threads):
        mine = [step for owner, step in store.kept if owner == number]
        assert mine == [step for step in range(60) if (number, step) not in broken]


def test_a_slow_disk_makes_fewer_commits_not_a_longer_queue() -> None:
    store = Store()
    store.slow = 0.01
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(store.put, range(320)))
    assert sorted(store.kept) == list(range(320))
    assert len(store.batches) <= 160, "a commit for each would be 320"


class Interrupted(BaseException):
    """What an interrupt raises in the main thread of these tests."""


@contextlib.contextmanager
def interrupted_when(true: Callable[[], bool]) -> Iterator[None]:
    """The main thread is interrupted once something is true."""

    def interrupt(_number: int, _frame: Any) -> None:
        raise Interrupted

    def watch() -> None:
        until(true)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        watching.join()
        signal.signal(signal.SIGUSR1, before)


@contextlib.contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    def interrupt(_number: int, _frame: Any) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_interrupt_of_one_who_waits_takes_its_work_away_and_holds_up_nobody() -> None:
    store = Store()
    with ThreadPoolExecutor(12) as pool:
        futures = held(store, 3, pool, store.put)
        with interrupted_when(lambda: len(store.commits._queue) == 4), pytest.raises(Interrupted):
            store.put("interrupted")
        more = [pool.submit(store.put, number) for number in range(3, 6)]
        store.may_commit.set()
        assert [future.result(60) for future in futures] == ["first", 0, 1, 2]
        assert [future.result(60) for future in more] == [3, 4, 5]
    assert "interrupted" not in store.kept


def test_an_interrupt_of_the_one_who_leads_leaves_the_work_of_the_others_to_them() -> None:
    store = Store()
    with ThreadPoolExecutor(12) as pool:
        store.may_commit.clear()
        first = pool.submit(store.put, "first")
        until(store.one.locked)
        behind: list[Any] = []

        def follow() -> None:
            # The main thread stands first in the queue, so it leads all of these.
            until(lambda: len(store.commits._queue) == 1)
            behind.extend(pool.submit(store.put, number) for number in range(5))
            until(lambda: len(store.commits._queue) == 6)
            leads.append(True)
            store.may_commit.set()

        leads: list[bool] = []
        starter = threading.Thread(target=follow)
        starter.start()
        store.hold_back = "interrupted"
        with interrupted_when(lambda: "interrupted" in store._written), pytest.raises(Interrupted):
            store.put("interrupted")
        starter.join()
        assert leads
        assert first.result(60) == "first"
        assert [future.result(60) for future in behind] == list(range(5))
    assert [sorted(batch) for batch in store.batches] == [["first"], list(range(5))], "still together"
    assert store.put("after") == "after"


class Breakable:
    """A lock; whoever wants it may be interrupted on the way in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._victim = 0

    def break_next(self) -> None:
        """Interrupt this very thread when it wants the lock for the next time."""
        self._victim = threading.get_ident()

    def __enter__(self) -> None:
        if self._victim == threading.get_ident():
            self._victim = 0
            raise Interrupted
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_who_leads_and_is_interrupted_before_it_gave_that_up_leads_no_more() -> None:
    store = Store()
    lock = Breakable()
    store.commits._lock = lock  # type: ignore[assignment]
    store.after_commit = lock.break_next
    with pytest.raises(Interrupted):
        store.put("interrupted")
    assert store.kept == ["interrupted"], "that was done"
    store.after_commit = lambda: None
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(store.put, range(8), timeout=60)) == list(range(8))
    assert store.commits._queue == []


def test_work_that_an_interrupted_leader_had_taken_and_not_given_back_is_done_by_its_owners() -> None:
    store = Store()
    lock = Breakable()
    store.commits._lock = lock  # type: ignore[assignment]
    main = threading.get_ident()

    def interrupted() -> None:
        if threading.get_ident() == main:
            lock.break_next()  # and once more, when it gives the works back
            raise Interrupted

    store.may_commit.clear()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(store.put, "first")
        until(store.one.locked)
        behind: list[Any] = []

        def follow() -> None:
            until(lambda: len(store.commits._queue) == 1)  # the main thread, which leads the next batch
            behind.extend(pool.submit(store.put, number) for number in range(4))
            until(lambda: len(store.commits._queue) == 5)
            store.before_commit = interrupted
            store.may_commit.set()

        starter = threading.Thread(target=follow)
        starter.start()
        with pytest.raises(Interrupted):
            store.put("interrupted")
        starter.join()
        assert first.result(60) == "first"
        assert [future.result(60) for future in behind] == list(range(4))
    assert "interrupted" not in store.kept
    assert store.commits._queue == []


@pytest.fixture
def no_collector() -> Iterator[None]:
    """No garbage collection: an interrupt that falls into a callback of it is no failure of anything here."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("seed", range(3))
def test_interrupts_at_any_moment_lose_no_work_of_others_and_hang_nobody(seed: int) -> None:
    store = Store()
    chance = random.Random(seed)
    stop = threading.Event()
    answered: list[list[Any]] = [[] for _ in range(4)]

    def thread(number: int) -> None:
        step = 0
        while not stop.is_set():
            answered[number].append(store.put((number, step)))
            step += 1

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(thread, number) for number in range(4)]
        mine = []
        end = time.monotonic() + 0.5
        step = 0
        while time.monotonic() < end:
            with contextlib.suppress(Interrupted), interrupted_after(chance.uniform(0.00001, 0.002)):
                while time.monotonic() < end:
                    step += 1
                    mine.append(store.put(("main", step)))
        stop.set()
        for future in futures:
            future.result(60)
    kept = [one for one in store.kept if one[0] != "main"]
    assert sorted(kept) == sorted(one for ones in answered for one in ones)
    assert set(mine) <= set(store.kept), "what was answered is there"
    assert store.commits._queue == []
    assert store.put("after") == "after"
