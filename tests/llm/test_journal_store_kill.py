"""Processes on one database that are killed, stopped and overtaken: every call is made and booked once."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postgres import Postgres

CHILD = Path(__file__).with_name("child_database.py")
ASKED = 150
THREADS = 8


@pytest.fixture(scope="module")
def played(
    postgres: Postgres, prepared: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """What came of all scenarios; a process for all of them."""
    url = postgres.new_database()
    prepared(url).close()
    seed = time.time_ns() % 10_000
    command = [sys.executable, str(CHILD), url, str(tmp_path_factory.mktemp("logs")), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    yield {**json.loads(done.stdout), "seed": seed}
    postgres.drop(url)


def everything(run: str) -> set[str]:
    return {f"{run} {number}" for number in range(ASKED)}


def test_kill_9_in_the_middle_repeats_no_finished_call(played: dict[str, Any]) -> None:
    found, seed = played["killed"], played["seed"]
    first, second = map(set, found["stored"])
    assert first <= second < everything("killed"), f"not in the middle, seed {seed}"
    assert first.isdisjoint(found["paid"][1]), f"a finished call was repeated, seed {seed}"
    assert second.isdisjoint(found["end"]["paid"]), f"a finished call was repeated, seed {seed}"
    assert (found["end"]["right"], found["end"]["halt"]) == (ASKED, None)
    books = found["books"]
    assert books["settled"] == ASKED
    assert set(books) <= {"settled", "lost"}
    paid = sum(map(len, found["paid"])) + len(found["end"]["paid"])
    unmade = sum(books.values()) - paid
    assert 0 <= unmade <= 2 * THREADS, "noted before they are made: at most those in hand were not made"


def test_a_process_that_slept_while_it_was_overtaken_pays_for_nothing_more(played: dict[str, Any]) -> None:
    found = played["overtaken"]
    asleep, awake = found["asleep"], found["awake"]
    assert (awake["right"], awake["halt"]) == (ASKED, None)
    # Where it next asks for what the other has answered, it finds that; else it is refused.
    assert asleep["right"] == ASKED or asleep["halt"] == "lease"
    assert len(asleep["paid"]) - found["begun"] <= THREADS, "only what was noted before it slept"
    lines = [*asleep["paid"], *awake["paid"]]
    assert set(lines) == everything("overtaken")
    assert sum(Counter(lines).values()) - ASKED <= THREADS, "only what was under way was made by both"
    assert found["books"] == {"settled": len(lines)}, "each call is in the books, also what came late"


def test_processes_that_share_keys_and_run_together_agree(played: dict[str, Any]) -> None:
    found = played["together"]
    assert [(end["right"], end["halt"]) for end in found["ends"]] == [(ASKED, None)] * 3
    assert sorted(found["stored"]) == sorted(everything("together")), "one answer a key"
    paid = sum(len(end["paid"]) for end in found["ends"])
    books = found["books"]
    # One that begins late takes what is under way for a dead process's: it is settled in the end.
    assert books == {"settled": paid}
