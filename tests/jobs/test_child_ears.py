"""A child whose parent is killed ends, by either of two ways, each by itself."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.workers_help import LONGEST, gone, within

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")

# A child that says how it heard, started by a parent that is to be killed. It is told to ask for the signal
# or not, and `keeper` holds the other end of its standard input open or not.
CHILD = """
import os, sys, time
from pathlib import Path
from skill_fleet.jobs.child_ears import die_with_parent, listen
if sys.argv[1] == "signal":
    die_with_parent()
def heard(how):
    Path("heard").write_text(how)
    os._exit(0)
listen(heard)
Path("child.new").write_text(str(os.getpid()))
os.rename("child.new", "child")
time.sleep(200)
"""
PARENT = """
import os, subprocess, sys, time
read, write = os.pipe()
if sys.argv[3] == "kept":
    keeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(200)"], pass_fds=[write])
    with open("keeper", "w") as file:
        file.write(str(keeper.pid))
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], stdin=read)
os.close(read)
time.sleep(200)
"""


def heard(folder: Path, asks: str, input_is: str) -> str | None:
    """How a child hears that its parent was killed; None where it does not, within some time."""
    with subprocess.Popen([sys.executable, "-c", PARENT, CHILD, asks, input_is], cwd=folder) as parent:
        within((folder / "child").exists, "the child")
        parent.kill()
    child = int((folder / "child").read_text())
    keeper = int((folder / "keeper").read_text()) if input_is == "kept" else None
    try:
        until = time.monotonic() + (LONGEST if asks == "signal" or keeper is None else 1)
        while not gone(child) and time.monotonic() < until:
            time.sleep(0.02)
        return (folder / "heard").read_text() if gone(child) else None
    finally:
        for pid in (child, keeper):
            if pid is not None and not gone(pid):
                os.kill(pid, 9)


@LINUX
def test_the_kernel_tells_it_although_somebody_else_holds_its_input_open(tmp_path: Path) -> None:
    assert heard(tmp_path, "signal", "kept") == "signal"


@LINUX
def test_without_that_signal_it_would_not_hear(tmp_path: Path) -> None:
    assert heard(tmp_path, "nothing", "kept") is None


def test_its_input_ends_with_its_parent(tmp_path: Path) -> None:
    assert heard(tmp_path, "nothing", "its parent's") == "orphaned"
