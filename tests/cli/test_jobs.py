"""`jobs …` against the real service: the output, the exit codes and the sentences of the local commands."""

import io
import json
import re
import shlex
import signal
import sys

import pytest

from running_service import Running, serving, small_trainset
from skill_fleet.cli.progress import _Moving
from skill_fleet.cli.show_jobs import logged

SMALL = ("--optimizer", "labeled_few_shot", "--rounds", "1", "--num-threads", "2", "--data", "small.json")


@pytest.fixture(scope="module")
def working(tmp_path_factory):
    """A service with a worker."""
    running = serving(tmp_path_factory.mktemp("working"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """A service whose jobs stay in the queue."""
    running = serving(tmp_path_factory.mktemp("still"), "--no-worker")
    yield running
    running.stop()


@pytest.fixture
def jobs(cli, ws, monkeypatch):
    """Runs a `jobs` command against a service."""
    (ws / "small.json").write_text(json.dumps(small_trainset()))

    def run(running: Running, *words):
        monkeypatch.setenv("SKILL_FLEET_SERVER", running.url)
        return cli("jobs", *words)

    return run


def started(ended) -> str:
    found = re.search(r"\d{8}-\d{6}-[0-9a-f]{10}", ended.err)
    assert found, ended.err
    return found[0]


def test_a_job_that_is_watched_ends_as_optimize_does(jobs, cli, working, ws):
    watched = jobs(working, "start", *SMALL, "--watch")
    assert watched.code == 0
    job_id = started(watched)
    local = cli("optimize", *SMALL)
    assert local.code == 0

    def form(text):
        text = re.sub(r"\d{8}-\d{6}-[0-9a-f]+", "RUN", text)
        return [re.sub(r"[\d.,]+ ?s?", "N", line).split("(")[0].strip() for line in text.splitlines()]

    assert [line for line in form(watched.out) if "$N" not in line] == [
        line for line in form(local.out) if "$N" not in line
    ]
    for said in ("Baseline on validation: 0.652 (2 examples).", "Sealed test, baseline: 0.566."):
        assert said in watched.err
        assert said in local.err
    assert "Taken up by worker " in watched.err
    again = jobs(working, "watch", job_id, "--json", "--quiet")
    assert (again.code, again.err) == (0, "")
    assert again.json["run_id"] == job_id
    assert again.json["verdict"] == "not_shown"
    log = jobs(working, "logs", job_id)
    assert [line.split()[2] for line in log.out.splitlines()][:2] == ["queued", "taken_up"]
    lines = jobs(working, "logs", job_id, "--json", "--follow", "--after", "2").lines
    assert [line["number"] for line in lines] == list(range(3, 3 + len(lines)))
    assert lines[-1]["data"]["status"] == "succeeded"
    assert jobs(working, "delete", job_id).out == f"Job {job_id} is removed.\n"
    assert jobs(working, "status", job_id).code == 3


def test_a_cap_that_is_reached_is_exit_code_5_and_says_how_to_go_on(jobs, working):
    ended = jobs(working, "start", *SMALL, "--max-calls", "10", "--seed", "3", "--watch")
    assert ended.code == 5
    job_id = started(ended)
    said = re.search(rf"To go on: skill-fleet (jobs resume {job_id} --max-calls \d+)", ended.err)
    assert said, ended.err
    resumed = jobs(working, *shlex.split(said[1])[1:], "--watch", "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.json["status"] == "succeeded"


def test_what_is_wrong_is_said_in_the_words_of_optimize(jobs, cli, working):
    for words in (
        ("--optimizer", "gepal"),
        ("--auto", "light", "--trials", "3"),
        ("--folds", "99", "--data", "small.json"),
    ):
        here, there = cli("optimize", *words), jobs(working, "start", *words)
        assert there.code == here.code, words
        told = there.err.splitlines()[-1].replace("as given in the request", "small.json")
        assert told == here.err.splitlines()[-1]


def test_the_verbs_of_a_job_that_waits(jobs, still):
    job_id = jobs(still, "start", *SMALL, "--metadata", "commit=a=b", "--max-cost", "2", "--json").json[
        "job_id"
    ]
    assert (
        jobs(still, "status").json
        if False
        else jobs(still, "status", "--json").json["metadata"] == {"commit": "a=b"}
    )
    shown = jobs(still, "status", job_id[:19])
    assert f"job        {job_id}" in shown.out
    assert "queued, 0 %" in shown.out
    assert "at most $2.00" in shown.out
    assert jobs(still, "pause", job_id, "--json").json["status"] == "paused"
    watched = jobs(still, "watch", job_id)
    assert watched.code == 130
    assert f"To go on: skill-fleet jobs resume {job_id}" in watched.err
    resumed = jobs(still, "resume", job_id, "--max-cost", "3")
    assert "at most $3.00" in resumed.out
    assert "2 times" in resumed.out
    assert jobs(still, "resume", job_id).code == 1
    cancelled = jobs(still, "cancel", job_id, "--watch", "--json")
    assert cancelled.code == 130
    assert cancelled.json["status"] == "cancelled"
    listed = jobs(still, "list", "--status", "cancelled", "--json").lines
    assert [job["job_id"] for job in listed] == [job_id]
    assert jobs(still, "delete", job_id, "--json").json == {"job_id": job_id, "status": "removed"}


def test_lists_and_names(jobs, still):
    for seed in (1, 2, 3):
        jobs(still, "start", *SMALL, "--seed", str(seed))
    assert len(jobs(still, "list", "--limit", "2", "--json").lines) == 2
    newest = jobs(still, "list", "--json").lines[0]["job_id"]
    assert jobs(still, "status", "latest", "--json").json["job_id"] == newest
    assert jobs(still, "status", "2", "--json").code == 2
    assert jobs(still, "status", "1999").code == 3
    assert jobs(still, "status", "../../x").code == 3
    table = jobs(still, "list").out
    assert table.splitlines()[0].split()[:2] == ["job", "kind"]
    assert jobs(still, "list", "--kind", "creation").out == ""


def test_one_key_is_one_job(jobs, still):
    first = jobs(still, "start", *SMALL, "--idempotency-key", "x7", "--json").json["job_id"]
    assert jobs(still, "start", *SMALL, "--idempotency-key", "x7", "--json").json["job_id"] == first
    other = jobs(still, "start", *SMALL, "--seed", "9", "--idempotency-key", "x7")
    assert other.code == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("start", "--data", "absent.json"), 3),
        (("start", "--data", "wrong.json"), 1),
        (("start", "--metadata", "noequals"), 2),
        (("start", "--model", "nobody/nothing"), 2),
        (("start", "--output", "../outside.json"), 2),
        (("start", "--training-path", "../../etc"), None),
        (("list", "--status", "unheard"), 2),
    ],
)
def test_what_cannot_be_asked_for_is_refused(jobs, still, ws, words, code):
    (ws / "wrong.json").write_text('{"a": 1}')
    ended = jobs(still, *words)
    assert ended.code == code or (code is None and ended.code in {1, 2, 3})
    assert len(ended.err.splitlines()) == 1
    assert ended.err.startswith("error: ")


def test_a_server_that_is_away_is_one_sentence_and_exit_code_6(cli):
    for words in (("list",), ("start",), ("watch", "20260101-000000-0123456789", "--json")):
        ended = cli("jobs", *words[:1], "--server", "http://127.0.0.1:1", *words[1:])
        assert ended.code == 6
        assert ended.err.startswith(
            "error: The server http://127.0.0.1:1 does not answer: connection refused."
        )
    assert ended.json["error"]["code"] == "server_away"


def test_a_key_in_the_environment_is_refused_in_the_clear_and_not_shown(cli, monkeypatch):
    monkeypatch.setenv("SKILL_FLEET_API_KEY", "sf_abc_" + "d" * 64)
    ended = cli("jobs", "list", "--server", "http://service.example")
    assert ended.code == 2
    assert "d" * 64 not in ended.err + ended.out


def test_ctrl_c_ends_the_watching_and_not_the_job(jobs, still, start, monkeypatch):
    job_id = jobs(still, "start", *SMALL, "--json").json["job_id"]
    process = start("jobs", "watch", job_id, "--server", still.url)
    assert process.stderr is not None
    while "In the queue." not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert f"Job {job_id} goes on without being watched." in err
    assert f"skill-fleet jobs watch {job_id} --server {still.url}" in err
    assert jobs(still, "status", job_id, "--json").json["status"] == "queued"


def test_a_watcher_needs_neither_dspy_nor_the_server(still):
    import subprocess

    run = f"from skill_fleet.cli.main import main; main(['jobs', 'list', '--server', {still.url!r}])"
    code = f"import sys; {run}; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "httpx2" in loaded
    assert not loaded & {"dspy", "dbos", "fastapi", "sqlalchemy", "uvicorn", "numpy", "optuna"}


def test_the_moving_line_shows_how_far_a_job_is():
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    from skill_fleet.optimization.events import Event

    columns = (TextColumn("{task.description} {task.percentage:.0f} {task.fields[detail]}"),)
    with Progress(*columns, console=Console(file=io.StringIO()), auto_refresh=False) as progress:
        moving = _Moving(progress)
        for share, calls in ((0.25, 10), (0.5, 20)):
            data = {"stage": "Round 1 of 2: searching", "share": share, "calls": calls}
            moving(Event(0, "2026-01-01T00:00:00Z", "progress", data))
        (task,) = progress.tasks
        assert (task.description, task.percentage) == ("Round 1 of 2: searching", 50.0)
        assert task.fields["detail"] == "50 % · 20 calls"


def test_a_log_line_cannot_move_the_cursor():
    shown = logged("2026-01-01T00:00:00Z", "round\x1b[2J", {"message": "a\x1b]0;x\x07\nb"})
    assert "\x1b" not in shown
    assert "\n" not in shown
