"""What a command started does not outlive the process that asked it, however that one dies."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from command_programs import alive, script, seen
from skill_fleet.llm.commands.warden import Warden

# Calls the command in a thread, as a run does, while the main thread sleeps or ends.
ASKING = """
import os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is inherited as ignored
from dspy.lm15 import Message, Request
from skill_fleet.config.settings import ModelSpec
from skill_fleet.llm.commands.model import CommandModel

model = CommandModel(ModelSpec(model="command/t", command=(sys.argv[1],)), dict(os.environ))
request = Request(model="m", messages=(Message.user("x"),))
for _ in range(2):
    threading.Thread(target=model.complete, args=(request,), daemon=True).start()
while not os.path.exists(sys.argv[2]) or len(open(sys.argv[2]).read().split()) < 4:
    time.sleep(0.01)
print("under way", flush=True)
if sys.argv[3] == "exit":
    sys.exit(0)
if sys.argv[3] == "leave":
    os._exit(130)
time.sleep(100)
"""


def started(folder: Path, how: str) -> "tuple[subprocess.Popen[str], list[int]]":
    """A process with two commands under way that forked and ignore signals; and the pids of them all."""
    pids = folder / "pids"
    text = f"trap '' TERM INT HUP; (trap '' TERM; sleep 60) & echo $! >> {pids}; echo $$ >> {pids}; sleep 60"
    command = script(folder / "m", text)
    process = subprocess.Popen(
        [sys.executable, "-c", ASKING, command[0], str(pids), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "under way\n"
    return process, [int(word) for word in pids.read_text().split()]


@pytest.mark.parametrize("how", ["kill", "terminate", "interrupt", "exit", "leave"])
def test_nothing_is_left_of_commands_under_way(tmp_path: Path, how: str) -> None:
    process, pids = started(tmp_path, how)
    assert len(pids) == 4
    if how in {"kill", "terminate", "interrupt"}:
        assert all(alive(pid) for pid in pids)
        numbers = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "interrupt": signal.SIGINT}
        process.send_signal(numbers[how])
    process.communicate(timeout=90)
    assert seen(lambda: not any(alive(pid) for pid in pids))


def test_it_is_there_from_the_first_call_on_and_only_then(tmp_path: Path) -> None:
    warden = Warden()
    warden.forget(1)
    warden.dismiss(str(tmp_path))
    assert warden._process is None


def sleeper(**more: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["sleep", "60"], start_new_session=True, **more)


def test_one_that_was_killed_is_replaced_and_told_of_all_that_runs(tmp_path: Path) -> None:
    warden = Warden()
    with sleeper() as one, sleeper() as two:
        warden.watch(one.pid, str(tmp_path))
        assert warden._process is not None
        first = warden._process.pid
        os.kill(first, signal.SIGKILL)
        assert seen(lambda: not alive(first))
        warden.watch(two.pid, str(tmp_path))
        assert warden._process.pid != first
        warden.leave()
        assert [one.wait(60), two.wait(60)] == [-signal.SIGKILL] * 2


def test_who_is_forgotten_lives_on(tmp_path: Path) -> None:
    warden = Warden()
    with sleeper(cwd=tmp_path) as sleeping:
        warden.expect(str(tmp_path))
        warden.watch(sleeping.pid, str(tmp_path))
        warden.forget(sleeping.pid)
        warden.leave()
        assert alive(sleeping.pid)
        sleeping.kill()


def test_what_was_about_to_begin_is_ended_too_even_when_it_begins_later(tmp_path: Path) -> None:
    warden = Warden()
    warden.expect(str(tmp_path))
    with sleeper(cwd=tmp_path) as early:
        leaving = threading.Thread(target=warden.leave)
        leaving.start()
        with sleeper(cwd=tmp_path) as late:
            leaving.join()
            assert [early.wait(60), late.wait(60)] == [-signal.SIGKILL] * 2


def test_nobody_else_is_ended(tmp_path: Path) -> None:
    warden = Warden()
    (tmp_path / "ours").mkdir()
    warden.expect(str(tmp_path / "ours"))
    with sleeper(cwd=tmp_path) as another:
        warden.leave()
        assert alive(another.pid)
        another.kill()
