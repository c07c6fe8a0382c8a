"""The journal's batches under attack: killed, failing, one bad line among good ones, closed meanwhile."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from skill_fleet.foundation.errors import StorageError
from skill_fleet.llm.journal.journal import Journal, Usage

USAGE = Usage(10, 5, 0.25)


def opened(journal: Journal, key: str) -> str:
    return journal.open_attempt("run", key, "evaluation", "m")


def settled(journal: Journal, key: str, attempt: str) -> str:
    return journal.settle(attempt, key, "m", f'"{key}"', USAGE)


def together(journal: Journal, pool: ThreadPoolExecutor, calls: list[Callable[[], Any]]) -> list[Future[Any]]:
    """The calls in one batch: the journal's connection is held until all of them wait."""
    with journal._lock:
        # The first leads alone and waits for the connection; the others queue behind it.
        futures = [pool.submit(opened, journal, "leads")]
        until(lambda: journal._commits._leader is not None and not journal._commits._queue)
        for call in calls:
            futures.append(pool.submit(call))
            until(lambda: len(journal._commits._queue) == len(futures) - 1)
    return futures[1:]


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it hangs"
        time.sleep(0.0005)


def states(journal: Journal) -> dict[str, str]:
    return dict(journal._db.execute("select key, state from ledger.attempt").fetchall())


def test_a_journal_killed_in_the_middle_of_its_batches_loses_nothing_it_answered(tmp_path: Path) -> None:
    child = Path(__file__).resolve().parent / "child_batches.py"
    done = subprocess.run(
        [sys.executable, str(child), str(tmp_path)], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    lost_before = 0
    for one in json.loads(done.stdout):
        assert one["answered"] > 20
        assert one["answered and not stored"] == []
        assert one["sent and not noted"] == [], "an intent is committed before the call may be sent"
        assert one["twice"] == 0
        assert one["settled"] == one["stored"], "a stored answer is in the bill, also of half a commit"
        assert one["calls"] == one["settled"] + one["lost"]
        assert one["lost"] - lost_before <= 32, "at most one open call a thread"
        assert one["usd"] == 0.5 * one["settled"]
        lost_before = one["lost"]


def test_one_answer_that_cannot_be_stored_fails_alone(journal: Journal) -> None:
    journal._db.execute(
        "create trigger full before insert on response when new.key='k3'"
        " begin select raise(fail,'disk is full'); end"
    )
    attempts = {f"k{number}": opened(journal, f"k{number}") for number in range(8)}
    with ThreadPoolExecutor(10) as pool:
        calls = [lambda k=key, a=attempt: settled(journal, k, a) for key, attempt in attempts.items()]
        futures = together(journal, pool, calls)
        for number, future in enumerate(futures):
            if number == 3:
                error = future.exception(60)
                assert isinstance(error, StorageError)
                assert "disk space" in error.hint
            else:
                assert future.result(60) == f'"k{number}"'
    expected = {key: "open" if key == "k3" else "settled" for key in attempts}
    assert states(journal) == {"leads": "open", **expected}
    assert [journal.lookup(key) is None for key in attempts] == [key == "k3" for key in attempts]


def test_a_commit_that_fails_fails_its_whole_batch_and_leaves_nothing_of_it(journal: Journal) -> None:
    """A deferred constraint fails only at commit, as a full disk may."""
    run = journal._db.execute
    run("pragma foreign_keys=on")
    run("create table parent(id integer primary key)")
    run("create table child(id integer references parent(id) deferrable initially deferred)")
    run("create trigger t after insert on response when new.key='k3' begin insert into child values (7); end")
    attempts = {f"k{number}": opened(journal, f"k{number}") for number in range(6)}
    with ThreadPoolExecutor(10) as pool:
        calls = [lambda k=key, a=attempt: settled(journal, k, a) for key, attempt in attempts.items()]
        errors = [future.exception(60) for future in together(journal, pool, calls)]
    assert all(isinstance(error, StorageError) for error in errors)
    assert len({id(error) for error in errors}) == len(errors), "each caller has an error of its own"
    assert all(journal.lookup(key) is None for key in attempts)
    assert set(states(journal).values()) == {"open"}
    assert not journal._db.in_transaction
    run("drop trigger t")
    assert [settled(journal, key, attempt) for key, attempt in attempts.items()] == [
        f'"{k}"' for k in attempts
    ]
    assert journal.spent("run").settled == 6


def test_intents_answers_and_failures_share_a_batch(journal: Journal) -> None:
    paid, refused = opened(journal, "paid"), opened(journal, "refused")
    with ThreadPoolExecutor(5) as pool:
        futures = together(
            journal,
            pool,
            [
                lambda: opened(journal, "new"),
                lambda: settled(journal, "paid", paid),
                lambda: journal.fail(refused, "rate_limit"),
            ],
        )
        for future in futures:
            future.result(60)
    assert states(journal) == {"leads": "open", "new": "open", "paid": "settled", "refused": "failed"}


def test_two_answers_of_one_key_in_one_batch_are_the_first(journal: Journal) -> None:
    first, second = opened(journal, "k"), opened(journal, "k")
    with ThreadPoolExecutor(4) as pool:
        futures = together(
            journal,
            pool,
            [
                lambda: journal.settle(first, "k", "m", '"first"', USAGE),
                lambda: journal.settle(second, "k", "m", '"second"', USAGE),
            ],
        )
        assert [future.result(60) for future in futures] == ['"first"', '"first"']
    assert journal.spent("run").usd == 0.5, "both were paid"


def test_what_is_settled_stays_settled_when_its_caller_was_interrupted(journal: Journal) -> None:
    """An interrupt may come after the commit and before its caller knows, who then books a failure."""
    attempt = opened(journal, "k")
    settled(journal, "k", attempt)
    journal.fail(attempt, "abandoned", billed=True)
    spent = journal.spent("run")
    assert (spent.settled, spent.failed, spent.usd) == (1, 0, 0.25)


def test_closing_waits_for_what_is_being_written_and_later_work_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "l", tmp_path / "r")
    attempts = {f"k{number}": opened(journal, f"k{number}") for number in range(4)}
    with ThreadPoolExecutor(8) as pool:
        with journal._lock:
            leads = pool.submit(opened, journal, "leads")
            until(lambda: journal._commits._leader is not None and not journal._commits._queue)
            futures = [pool.submit(settled, journal, key, attempt) for key, attempt in attempts.items()]
            until(lambda: len(journal._commits._queue) == 4)
            closing = pool.submit(journal.close)
            until(lambda: len(journal._commits._queue) == 5)
        assert leads.result(60)
        assert sorted(future.result(60) for future in futures) == [f'"k{number}"' for number in range(4)]
        closing.result(60)
        for late in [pool.submit(opened, journal, f"late{number}") for number in range(4)]:
            assert isinstance(late.exception(60), StorageError), "refused in one sentence, not left waiting"
    journal.close()
    again = Journal(tmp_path / "l", tmp_path / "r")
    assert again.spent("run").settled == 4
    again.close()


@pytest.mark.parametrize("threads", [8, 32])
def test_whatever_threads_do_the_bill_is_exact(tmp_path: Path, threads: int) -> None:
    journal = Journal(tmp_path / "l", tmp_path / "r")
    before = threading.active_count()

    def work(number: int) -> None:
        for step in range(12):
            key = f"{number % 4}-{step}"  # several threads pay for each
            attempt = journal.open_attempt("run", key, "evaluation", "m", reserved_tokens=100)
            if (number + step) % 5 == 0:
                journal.fail(attempt, "timeout", billed=True)
            else:
                stored = journal.settle(attempt, key, "m", f'"{number}"', USAGE)
                assert journal.lookup(key) == stored

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(work, number) for number in range(threads)]:
            future.result(60)
    assert threading.active_count() <= before, "no thread stays"
    failed = sum((n + s) % 5 == 0 for n in range(threads) for s in range(12))
    spent = journal.spent("run")
    assert (spent.calls, spent.failed, spent.settled) == (threads * 12, failed, threads * 12 - failed)
    assert spent.bound_tokens == failed * 100 + spent.settled * 15
    assert journal.stats()["responses"] == 48
    journal.close()
