"""The journal between processes: killed, raced, out of space, without the right to write."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / program), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> Any:
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    return json.loads(out)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that any user may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_run_killed_five_times_pays_nothing_finished_twice(tmp_path: Path) -> None:
    rounds = result(start("child_kill.py", tmp_path, time.time_ns() % 1000))
    settled_before: set[str] = set()
    lost_before = 0
    for number, one in enumerate(rounds):
        assert one["killed"] == (number < 5), one["status"]
        paid = one["paid"]
        assert len(paid) == len(set(paid)), "single-flight: nothing twice in one run"
        assert not settled_before & set(paid), "a stored answer is never paid again"
        assert settled_before <= set(one["stored"]), "a stored answer stays"
        assert one["open"] - lost_before <= 8, "at most one open call a thread"
        assert one["lost_so_far"] == lost_before + one["lost"]
        assert one["calls"] == one["settled"] + one["lost_so_far"], (
            "every attempt is settled or counted as lost"
        )
        assert one["settled"] == len(one["stored"])
        settled_before, lost_before = set(one["stored"]), one["lost_so_far"]
    attempts = sum(len(one["paid"]) for one in rounds)
    # An attempt noted in the ledger and killed before it was sent is counted, too: never the other way round.
    assert attempts <= rounds[-1]["calls"] <= 150 + 5 * 8
    assert settled_before == {f"item {number}" for number in range(150)}
    assert rounds[0]["stored"] != rounds[-1]["stored"], "the kills came in the middle"


def test_processes_that_pay_one_key_together_agree_on_the_first_answer(tmp_path: Path) -> None:
    begin = time.time() + 0.5
    answers = [result(p) for p in [start("child_journal.py", "race", tmp_path, begin) for _ in range(4)]]
    assert all(one == answers[0] for one in answers)
    from skill_fleet.llm.journal.journal import Journal

    journal = Journal(tmp_path / "state" / "ledger", tmp_path / "cache" / "responses")
    spent = journal.spent("run")
    assert (spent.settled, spent.usd) == (80, 40.0), "everything that was paid is in the bill"
    assert journal.stats()["responses"] == 20
    journal.close()


@pytest.mark.parametrize("room", [70_000, 110_000, 150_000])
def test_out_of_space_nothing_stored_is_lost_and_work_goes_on_after(tmp_path: Path, room: int) -> None:
    seen = result(start("child_journal.py", "full", tmp_path, room))
    assert seen["paid"] > 0
    assert seen["refused"] > 0
    assert seen["kept"] >= seen["paid"], "what was reported as stored is there"
    assert seen["settled"] == seen["kept"] + 1
    assert seen["settled"] + seen["lost"] <= 401


def test_a_journal_that_may_not_be_written_says_so(open_place: Path) -> None:
    said = result(start("child_journal.py", "readonly", open_place))
    assert "Permission denied" in said[0]
    assert "readonly database" in said[1] or "unable to open" in said[1]
    assert all(message.endswith(".") and "\n" not in message for message in said)
