"""Commands that are forks of a warm interpreter: none of them outlives whoever asked for it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from warm_commands import warm_command

TESTS = Path(__file__).resolve().parents[1]
HANGING = """
import os, subprocess, time

child = subprocess.Popen(["sleep", "1000"])
print("hanging", os.getpid(), child.pid, flush=True)
time.sleep(1000)
"""
COMMAND = ["optimize", "--program", "hanging:Hanging"]
OWNER = f"""
import subprocess, sys, time

sys.path.append({str(TESTS)!r})
from warm_commands import warm_command

program = warm_command()
print(program, subprocess.run([program, "--version"], check=True, capture_output=True).stdout, flush=True)
subprocess.Popen([program, *{COMMAND!r}])
time.sleep(1000)
"""


@pytest.fixture
def hang(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], list[str]]]]:
    """Starts what starts a command that hangs; its process, and what was written until it does."""
    (tmp_path / "hanging.py").write_text(HANGING)
    seen: list[int] = []

    def started(*command: str, **environ: str) -> tuple[subprocess.Popen[str], list[str]]:
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        seen.append(process.pid)
        lines: list[str] = []
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("hanging "):
                seen.extend(int(pid) for pid in line.split()[1:])
                break
        return process, lines

    yield started
    for pid in seen:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_command_ends_when_whoever_asked_is_killed(hang):
    client, lines = hang(warm_command(), *COMMAND)
    assert lines[-1].startswith("hanging "), lines
    client.kill()
    # Whoever still lives of them holds the other end of its output.
    assert client.communicate(timeout=30) == ("", None)
    assert subprocess.run([warm_command(), "--version"], check=False, capture_output=True).returncode == 0


def test_a_command_ends_when_the_tests_are_killed_wherever_they_run(hang, tmp_path):
    place = tmp_path / ("a folder of a long name and with 'blanks' " + "x" * 100)
    place.mkdir()
    (place / "python").symlink_to(sys.prefix)
    python = place / "python" / Path(sys.executable).relative_to(sys.prefix)
    owner, lines = hang(str(python), "-c", OWNER, TMPDIR=str(place))
    assert lines[-1].startswith("hanging "), lines
    assert lines[0].startswith(f"{place}/skill-fleet-warm-")
    assert " b'skill-fleet " in lines[0]
    owner.kill()
    assert owner.communicate(timeout=30) == ("", None)
