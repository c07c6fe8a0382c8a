"""On a terminal: colours unless NO_COLOR, a moving line on stderr, 80 columns, a question before money."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

GOLD = Path(__file__).resolve().parents[2] / "skills"
PRICED = (
    "models:\n  default: big\n  registry:\n    big:\n      model: openai/gpt-4o-mini\n      max_tokens: 900\n"
    "      price: {input_per_million: 1.0, output_per_million: 2.0}\n"
)


@pytest.fixture
def terminal(ws):
    """Runs a command line on a terminal: its exit code, and all that was written to the terminal."""

    def run(*words, columns=80, typed="", **environ):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        inherited = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
        with subprocess.Popen(
            [sys.executable, "-m", "skill_fleet", *map(str, words)],
            cwd=ws,
            env={**inherited, "TERM": "xterm-256color", **environ},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            os.write(ours, typed.encode())
            said = b""
            while select.select([ours], [], [], 20)[0]:
                try:
                    part = os.read(ours, 65536)
                except OSError:
                    break
                if not part:
                    break
                said += part
            else:
                process.kill()
        os.close(ours)
        return process.returncode, said.decode()

    return run


def bare(text):
    """What a terminal shows, without its commands."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_colours_unless_they_are_unwanted(terminal):
    code, said = terminal("doctor")
    assert code == 0
    assert "\x1b[" in said
    assert "\x1b" not in terminal("doctor", NO_COLOR="1")[1]


@pytest.mark.parametrize(
    "words", [("evaluate", GOLD), ("optimizers",), ("dataset", "show"), ("config", "show")]
)
def test_eighty_columns_are_enough(terminal, words):
    _, said = terminal(*words, NO_COLOR="1")
    assert max(len(line) for line in said.splitlines()) <= 80


def test_a_run_moves_and_leaves_a_clean_screen(terminal, ws, own):
    (ws / "slow").touch()
    code, said = terminal("optimize", *own)
    assert code == 0
    assert "Baseline" in said
    assert "calls ·" in bare(said)
    assert said.index("\x1b[?25l") < said.rindex("\x1b[?25h")
    assert "SIMULATED" in said[said.rindex("\x1b[?25h") :]
    assert "INFO" not in said


def test_money_is_asked_for_and_no_is_no(terminal, ws):
    (ws / "config").mkdir()
    (ws / "config" / "config.yaml").write_text(PRICED)
    code, said = terminal("optimize", typed="n\n")
    assert code == 0
    assert re.search(r"This takes about [\d,]+ to [\d,]+ calls and \$[\d.]+ to \$[\d.]+\.", said)
    assert "Start? [y/N]" in said
    assert "Nothing was started." in said
    assert not (ws / ".skill-fleet").exists()
    code, said = terminal("optimize", typed="\x04")
    assert code == 130
    assert "Traceback" not in said
    code, said = terminal("optimize", "--no-input", "--max-calls", 1)
    assert "Start?" not in said
    assert code == 6
