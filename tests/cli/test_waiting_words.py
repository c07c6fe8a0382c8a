"""That calls wait for a provider: a line now and then in a pipe, in the moving line of a terminal."""

import io

import pytest

from skill_fleet.cli.progress import counting, watching
from skill_fleet.cli.screen import Screen
from skill_fleet.optimization.records.events import Event

AWAY = "No answer from openai (server) for 12 s; given up after 120 s."


class Tty(io.StringIO):
    def isatty(self):
        return True


def screen(err, *, quiet=False):
    return Screen(as_json=False, quiet=quiet, out=io.StringIO(), err=err)


def waiting(number):
    data = {"message": AWAY, "provider": "openai", "elapsed": 1.0}
    return Event(number, "2026-01-01T00:00:00Z", "waiting", data)


def test_in_a_pipe_a_measurement_says_it_once_in_a_while():
    err = io.StringIO()
    with counting(screen(err), "Measuring") as done:
        done(0, 3)
        for _ in range(5):
            done.waits(AWAY)
        done(1, 3)
    assert err.getvalue().splitlines() == ["Measuring …", AWAY]


def test_in_a_pipe_a_run_says_what_its_events_keep():
    err = io.StringIO()
    with watching(screen(err)) as watcher:
        for number in (7, 0, 0, 0, 8):
            watcher(waiting(number))
    assert err.getvalue().splitlines() == [AWAY, AWAY]


@pytest.mark.parametrize("kind", ["measurement", "run"])
def test_on_a_terminal_it_stands_in_the_moving_line(kind, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    err = Tty()
    if kind == "run":
        with watching(screen(err)) as watcher:
            watcher(waiting(0))
    else:
        with counting(screen(err), "Measuring") as done:
            done.waits(AWAY)
    assert AWAY in err.getvalue()


def test_quiet_is_quiet():
    err = Tty()
    with counting(screen(err, quiet=True), "Measuring") as done:
        done.waits(AWAY)
    with watching(screen(err, quiet=True)) as watcher:
        watcher(waiting(3))
    assert err.getvalue() == ""
