"""One run of a program: its status, the bounds of what is kept of it, and what the warden is told."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from command_programs import PYTHON
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.llm.commands import process
from skill_fleet.llm.commands.process import MOST_OUTPUT, Program, Ran, run
from skill_fleet.llm.commands.warden import Warden


def ran(*command: str, prompt: bytes = b"p", seconds: float = 60.0) -> Ran:
    program = Program(Path(command[0]), command, {"PATH": os.environ["PATH"]})
    return run(program, prompt, seconds=seconds, stop=threading.Event(), clock=SYSTEM_CLOCK)


def shell(text: str, **more: Any) -> Ran:
    return ran("/bin/sh", "-c", text, **more)


@pytest.mark.parametrize(
    ("text", "status"),
    [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -9 $$", -9), ("kill $$", -15)],
)
def test_its_status_is_told(text: str, status: int) -> None:
    assert shell(f"echo partial; {text}") == Ran("exited", status, b"partial\n", b"")


ASK = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from dspy.lm15 import Message, Request
from skill_fleet.config.settings import ModelSpec
from skill_fleet.llm.commands.model import CommandModel
from skill_fleet.llm.failures import explained, understand

for command in (("/bin/sh", "-c", "echo partial; exit 3"), ("/bin/sh", "-c", "echo whole")):
    model = CommandModel(ModelSpec(model="command/t", command=command), dict(os.environ))
    try:
        print("answered", model.complete(Request(model="m", messages=(Message.user("x"),))).message.text)
    except Exception as error:
        failure = understand(error)
        print(failure.code, failure.remedy, failure.sent, explained(error, failure, "t").hint)
"""


def test_where_the_system_keeps_no_status_nothing_is_taken_for_an_answer() -> None:
    """A process that ignores SIGCHLD, as one may inherit it, never hears how a program ended."""
    done = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, timeout=100, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stdout + done.stderr
    for line in lines:
        assert line.startswith("command_failed retry True ")
        assert "SIGCHLD" in line


def test_one_that_another_part_of_the_process_reaped_has_no_status(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.waitid

    def reaped_first(kind: int, pid: int, options: int) -> Any:
        os.waitpid(pid, 0)
        return real(kind, pid, options)

    monkeypatch.setattr(os, "waitid", reaped_first)
    assert shell("echo partial; exit 3") == Ran("exited", None, b"partial\n", b"")


def test_a_status_that_was_seen_is_kept_whoever_reaps_it_then(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.waitid

    def reaped_after(kind: int, pid: int, options: int) -> Any:
        found = real(kind, pid, options)
        if found is not None:
            os.waitpid(pid, 0)
        return found

    monkeypatch.setattr(os, "waitid", reaped_after)
    assert shell("exit 3").status == 3


def test_of_what_it_says_on_its_standard_error_the_end_is_kept() -> None:
    text = "import sys\nsys.stderr.write('x' * 300_000 + 'the end')"
    words = ran(*PYTHON, "-c", text).words
    assert words.endswith(b"xthe end")
    assert len(words) == 16 * 1024


def test_of_what_it_prints_no_more_is_kept_than_any_answer_is() -> None:
    text = "import sys\nwhile 1: sys.stdout.write('x' * 65536)"
    found = ran(*PYTHON, "-c", text)
    assert found.ended == "printed_too_much"
    assert MOST_OUTPUT < len(found.output) <= MOST_OUTPUT + 64 * 1024


class Told(Warden):
    """A warden that remembers what it was told, and watches nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[bytes, bytes]] = []

    def _tell(self, add: bytes = b"", drop: bytes = b"") -> None:
        self.said.append((add, drop))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    warden = Told()
    monkeypatch.setattr(process, "WARDEN", warden)
    return warden


def test_the_warden_expects_it_before_it_begins_watches_it_and_forgets_it(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: list[int] = []
    real = process._started
    monkeypatch.setattr(process, "_started", lambda *given: before.append(len(told.said)) or real(*given))
    pid, folder = shell("echo $$ $PWD").output.split()
    assert before == [1], "one that is killed in the moment of starting it is expected already"
    assert told.said == [(folder, b""), (pid, folder), (b"", pid)]


def test_one_that_does_not_begin_is_not_expected_any_more(told: Told) -> None:
    with pytest.raises(OSError, match="No such file"):
        ran("/no/such/program")
    (expected, _), (_, dismissed) = told.said
    assert expected == dismissed != b""


def test_one_that_is_late_is_forgotten_too(told: Told) -> None:
    assert shell("exec sleep 60", seconds=0.1).ended == "timed_out"
    assert told.said[-1][1] == told.said[1][0]


def test_one_that_ends_when_it_is_asked_to_is_not_killed() -> None:
    found = shell("trap 'exit 7' TERM; echo on; while :; do sleep 0.02; done", seconds=1.0)
    assert (found.ended, found.status) == ("timed_out", 7)


def test_one_that_ends_by_itself_is_left_alone_by_signals(tmp_path: Path) -> None:
    place = tmp_path / "asked"
    text = f"trap 'touch {place}' TERM; (sleep 0.05; exit 0) ; exit 0"
    assert shell(text).status == 0
    assert not place.exists()
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
