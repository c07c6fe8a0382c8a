"""A skill on a terminal while it is written: what the page shows, on which screens, and what it leaves."""

import io
import os
import pty
import re
import signal
import threading

import pytest
from rich.console import Console
from rich.live import Live

from skill_fleet.cli.page import Page, reading, shows_pages
from skill_fleet.cli.screen import Screen
from skill_fleet.simulator import Faults, SimulatorSettings, running
from skill_fleet.simulator.script import Rule
from terminals import Terminal, bare
from warm_commands import warm_command

TASK = "Help our team roll back a failed Helm release"
STYLE = re.compile(r"\x1b\[[0-9;]*m")


def shown(page, *, columns=60, rows=24):
    console = Console(file=io.StringIO(), width=columns, height=rows, force_terminal=False)
    console.print(page)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.fixture
def page():
    return Page(Live(console=Console(file=io.StringIO())))


def said(page, text, *, thought=False):
    for piece in re.findall(r"\s*\S+|\s+", text):
        page.says(piece, thought=thought)


def test_the_step_the_number_of_words_and_the_last_lines(page):
    page.step("write")
    page.begins()
    said(page, "[[ ## skill_content ## ]]\n" + "\n".join(f"line {number}" for number in range(40)))
    lines = shown(page)
    assert lines[0].endswith("Writing · 80 words")
    assert lines[1:] == [f"│ line {number}" for number in range(32, 40)]


def test_a_new_attempt_takes_back_what_the_one_before_it_said(page):
    page.step("plan")
    page.begins()
    said(page, "half of an ans")
    page.begins()
    lines = shown(page)
    assert len(lines) == 1
    assert lines[0].endswith("Planning · attempt 2")
    said(page, "the whole")
    assert "half" not in "".join(shown(page))
    page.step("write")
    assert shown(page)[0].endswith("Writing"), "a new step is a new page"


def test_thoughts_are_shown_until_there_is_an_answer(page):
    page.step("understand")
    page.begins()
    said(page, "let me see", thought=True)
    assert shown(page)[0].endswith("Understanding the task · thinking, 3 words")
    assert shown(page)[1] == "│ let me see"
    said(page, "done")
    assert shown(page)[0].endswith("Understanding the task · 1 word")
    assert shown(page)[1:] == ["│ done"]


def test_drafts_are_told_apart_where_there_are_several(page):
    page.drafted(0, 1)
    page.step("write")
    assert "raft" not in shown(page)[0]
    page.drafted(1, 3)
    page.step("write")
    assert "Draft 2 of 3 · Writing" in shown(page)[0]
    page.drafted(3, 3)
    assert "Draft 3 of 3" in shown(page)[0]


@pytest.mark.parametrize("cut", range(1, 24))
def test_marks_of_the_form_are_not_read_also_where_they_have_half_arrived(page, cut):
    page.step("write")
    page.begins()
    said(page, "Words.\n\n" + "[[ ## completed ## ]]\n"[:cut])
    assert shown(page)[1:] == ["│ Words."]


@pytest.mark.parametrize("columns", [4, 12, 20, 33, 80, 200])
@pytest.mark.parametrize("rows", [1, 3, 6, 10, 50])
def test_a_page_fits_its_screen(page, columns, rows):
    page.drafted(0, 12)
    page.step("understand")
    page.begins()
    said(page, "Wörter 漢字漢字漢字 " * 200 + "x" * 500)
    lines = shown(page, columns=columns, rows=rows)
    assert len(lines) <= max(1, rows - 2)
    if columns > 4:
        assert all(Console(width=columns).measure(line).maximum <= columns for line in lines)


def test_what_a_model_says_does_not_act_on_the_terminal(page):
    page.step("write")
    page.begins()
    said(page, "a\x1b[2Jb \x9b31m [red]c[/red] \u202ed \ud83d")
    whole = "\n".join(shown(page))
    assert "\x1b" not in whole
    assert "\\x1b[2J" in whole
    assert "[red]c[/red]" in whole


def test_only_who_sits_before_a_terminal_is_shown_pages(monkeypatch):
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, os.fdopen(ours, "rb", 0):
        monkeypatch.setenv("TERM", "xterm")
        assert shows_pages(Screen(err=terminal))
        assert not shows_pages(Screen(err=terminal, as_json=True))
        assert not shows_pages(Screen(err=terminal, quiet=True))
        assert not shows_pages(Screen(err=io.StringIO()))
        monkeypatch.setenv("TERM", "dumb")
        assert not shows_pages(Screen(err=terminal))


def test_a_page_is_gone_when_it_is_read(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen(err=io.StringIO())
    with reading(screen) as page:
        page.step("write")
        page.say("A word that stays.")
    assert "A word that stays." in screen.err.getvalue()


PLAN, TEXT = "titles of the level-2 sections", "the whole text of SKILL.md in Markdown"


def simulated(slowly=None, seconds=0.1):
    """A provider that sends its answers byte by byte: the one to a prompt with these words takes its time."""
    script = () if slowly is None else (Rule(re.compile(re.escape(slowly)), None, "drip", None),)
    return running(SimulatorSettings(faults=Faults(slow_seconds=seconds), script=script))


def terminal(ws, *words, **options):
    """How a command line on a terminal ended, and what it wrote there."""
    return Terminal(ws, words, program=(warm_command(),), **options).ended()


def configure(ws, url):
    (ws / "config").mkdir(exist_ok=True)
    (ws / "config" / "config.yaml").write_text(
        "models:\n  default: sim\n  registry:\n    sim: {model: openai/offline/rules-v1, "
        f"api_base: '{url}', max_tokens: 4000}}\ncalls: {{first_pause: 0.05}}\n"
    )


def test_words_are_on_the_screen_while_they_are_written(ws):
    with simulated(TEXT, 2.0) as server:
        configure(ws, server.url)
        code, all_of_it = terminal(ws, "create-skill", "--task", TASK)
        asked = server.totals().requests
    assert code == 0
    counts = [int(number) for number in re.findall(r"Writing · (\d+) words?", bare(all_of_it))]
    assert len(set(counts)) >= 3, "it grows"
    assert counts == sorted(counts)
    assert "│ ## Overview" in bare(all_of_it)
    left = all_of_it[all_of_it.rindex("\x1b[?25h") :]
    assert "skill" in left
    assert "\x1b[2K" in left, "the page is taken away"
    assert "│" not in left
    assert "SIMULATED" in left
    assert asked == 4


def test_without_colours_the_page_has_none(ws):
    with simulated(TEXT, 0.5) as server:
        configure(ws, server.url)
        code, all_of_it = terminal(ws, "create-skill", "--task", TASK, NO_COLOR="1", columns=40)
    assert code == 0
    assert "Writing ·" in bare(all_of_it)
    assert not STYLE.search(all_of_it)
    assert max(len(line) for line in bare(all_of_it).replace("\r", "\n").splitlines()) <= 40


def test_in_a_pipe_and_as_json_nothing_is_shown_and_the_skill_is_the_same(cli, ws):
    with simulated() as server:
        configure(ws, server.url)
        terminal(ws, "create-skill", "--task", TASK, "--output", "a")
        piped = cli("create-skill", "--task", TASK, "--output", "b")
        code, told = terminal(ws, "create-skill", "--task", TASK, "--output", "c", "--json")
        assert server.totals().requests == 4, "what was streamed is the journal's answer to who asks whole"
    assert piped.err == "Writing …\n"
    assert code == 0
    assert "│" not in told
    first, second, third = (next((ws / name).rglob("SKILL.md")).read_bytes() for name in "abc")
    assert first == second == third


def test_ctrl_c_lets_the_call_end_and_is_told_on_the_page(ws):
    with simulated(PLAN, 5.0) as server:
        configure(ws, server.url)
        started = Terminal(ws, ("create-skill", "--task", TASK))
        while "Planning ·" not in bare(started.said.decode(errors="replace")):
            assert started.reads()
        started.process.send_signal(signal.SIGINT)
        code, everything = started.ended()
        assert server.totals().requests == 2
    assert code == 130
    assert "Stopping: calls under way end first." in bare(everything)
    assert not list(ws.rglob("SKILL.md"))


def test_threads_may_tell_while_it_is_drawn(page):
    stop = threading.Event()

    def tell():
        while not stop.is_set():
            page.begins()
            said(page, "one two three [[ ## x ## ]]\n")

    thread = threading.Thread(target=tell)
    thread.start()
    page.step("write")
    for _ in range(50):
        shown(page)
    stop.set()
    thread.join(5)


def test_a_provider_that_is_waited_for_is_named_until_it_says_something(page):
    page.step("plan")
    page.begins()
    page.waits("No answer from openai (server) for 12 s.")
    assert "No answer from openai" in shown(page, columns=120)[0]
    page.begins()
    assert "No answer from openai" in shown(page, columns=120)[0], "an attempt is no answer"
    said(page, "here")
    assert "No answer" not in "".join(shown(page, columns=120))
