"""On a terminal: colours unless NO_COLOR, a moving line on stderr, 80 columns, a question before money."""

import re
from pathlib import Path

import pytest

from terminals import Terminal, bare
from warm_commands import warm_command

GOLD = Path(__file__).resolve().parents[2] / "skills"
PRICED = (
    "models:\n  default: big\n  registry:\n    big:\n      model: openai/gpt-4o-mini\n      max_tokens: 900\n"
    "      price: {input_per_million: 1.0, output_per_million: 2.0}\n"
)


@pytest.fixture
def terminal(ws):
    """Runs a command line on a terminal: its exit code, and all that was written to the terminal."""

    def run(*words, columns=80, typed="", **environ):
        started = Terminal(ws, words, columns, (warm_command(),), **environ)
        started.type(typed)
        return started.ended()

    return run


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
    (ws / "slow").write_text("0.08")
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
