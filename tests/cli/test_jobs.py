"""`jobs …` against the real service: the output, the exit codes and the sentences of the local commands."""

import io
import json
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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


class Another(BaseHTTPRequestHandler):
    """A server that answers nothing that it is asked."""

    def log_message(self, *_) -> None:
        pass


def started(ended) -> str:
    found = re.search(r"\d{8}-\d{6}-[0-9a-f]{10}", ended.err)
    assert found, ended.err
    return found[0]


def of_its_own(ws, word):
    """Options with tasks and an output of a test's own: nothing of another test was paid for or published."""
    items = [{**item, "task_description": f"{item['task_description']} {word}."} for item in small_trainset()]
    (ws / f"{word}.json").write_text(json.dumps(items))
    return [*SMALL[:-1], f"{word}.json", "--output", f"config/optimized/{word.lower()}.json"]


def watched_by_itself(running: Running, job_id: str) -> tuple[str, set[str]]:
    """What a watcher in a process of its own shows of a job that is over, and which packages it imports."""
    words = ["jobs", "watch", job_id, "--server", running.url]
    run = f"from skill_fleet.cli.main import main; main({words!r})"
    code = f"import sys; {run}; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout, {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}


def test_a_job_that_is_watched_ends_as_optimize_does(jobs, cli, working, ws):
    asked = of_its_own(ws, "Please")
    watched = jobs(working, "start", *asked, "--watch")
    assert watched.code == 0
    job_id = started(watched)
    local = cli("optimize", *asked)
    assert local.code == 0

    def form(text):
        text = re.sub(r"\d{8}-\d{6}-[0-9a-f]+", "RUN", text)
        return [re.sub(r"[\d.,]+ ?s?", "N", line).split("(")[0].strip() for line in text.splitlines()]

    def same(text):
        text = text.replace("--", "")  # a job speaks of fields, not of options
        text = re.sub(r"^(time .*?) (above|below) the estimate$", r"\1", text, flags=re.MULTILINE)
        return [line for line in form(text) if "$N" not in line and not line.startswith("report ")]

    assert same(watched.out) == same(local.out)
    worker = re.search(r"Taken up by worker (\S+)\.", watched.err)[1]
    assert f"; in the workspace of worker {worker})" in watched.out
    assert "in the workspace of" not in local.out
    assert re.search(rf"^report +skill-fleet jobs report {job_id}$", watched.out, re.MULTILINE)
    assert jobs(working, "result", job_id).out == watched.out
    assert jobs(working, "result", job_id, "--json").json["run_id"] == job_id
    beside = cli("--workspace", working.root, "jobs", "result", job_id).out
    assert f".skill-fleet/runs/{job_id}/report.md" in beside
    assert "in the workspace of" not in beside
    shown, loaded = watched_by_itself(working, job_id)
    assert shown.replace(f" --server {working.url}", "") == watched.out
    assert "skill_fleet" in loaded
    assert not loaded & {"dspy", "litellm", "gepa", "numpy", "optuna", "dbos", "sqlalchemy"}
    report = jobs(working, "report", job_id)
    assert report.out.startswith(f"# Run {job_id}\n")
    assert jobs(working, "report", job_id, "--json").json == {"job_id": job_id, "report": report.out}
    over = jobs(working, "watch", job_id).err
    assert over.splitlines()[:2] == ["In the queue.", f"Taken up by worker {worker}."]
    assert " …" not in over
    for said in ("Baseline on validation: ", "Sealed test, baseline: "):
        (line,) = [line for line in local.err.splitlines() if line.startswith(said)]
        assert line in watched.err.splitlines()
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


def test_a_cap_that_is_reached_is_exit_code_5_and_says_how_to_go_on(jobs, working, ws):
    asked = [*of_its_own(ws, "Again"), "--max-calls", "10", "--seed", "3", "--watch"]
    ended = jobs(working, "start", *asked)
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
        assert told == here.err.splitlines()[-1].replace("--", "")  # fields, not options


def test_the_verbs_of_a_job_that_waits(jobs, still):
    job_id = jobs(still, "start", *SMALL, "--metadata", "commit=a=b", "--max-cost", "2", "--json").json[
        "job_id"
    ]
    whole = jobs(still, "status", "--json").json
    assert whole["metadata"] == {"commit": "a=b"}
    place = f"/api/v2/optimization/status/{job_id}"
    assert whole["links"]["self"] == place
    with urllib.request.urlopen(still.url + place, timeout=60) as response:  # noqa: S310 - our own
        assert json.load(response) == whole
    shown = jobs(still, "status", job_id[:19])
    assert f"job        {job_id}" in shown.out
    assert "queued, 0 %" in shown.out
    assert "at most $2.00" in shown.out
    assert re.search(r"^asked for +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$", shown.out, re.MULTILINE)
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  queued", jobs(still, "logs", job_id).out)
    assert jobs(still, "result", job_id).code == 3
    assert jobs(still, "report", job_id).code == 3
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
    said = jobs(still, "watch", job_id).err.splitlines()
    assert said[0] == "In the queue."
    assert said[-2:] == ["It is to be cancelled.", f"error: Job {job_id} is cancelled."]
    assert not any("…" in line for line in said)
    listed = jobs(still, "list", "--status", "cancelled", "--json").lines
    assert [job["job_id"] for job in listed] == [job_id]
    assert jobs(still, "delete", job_id, "--json").json == {"job_id": job_id, "status": "removed"}


def test_a_job_that_is_not_over_is_cancelled_and_then_removed(jobs, still):
    left, gone = (jobs(still, "start", *SMALL, "--seed", seed, "--json").json["job_id"] for seed in "45")
    early = jobs(still, "delete", left, "--no-wait", "--json")
    assert early.code == 1
    assert early.json["error"]["message"] == f"Job {left} is being cancelled."
    assert jobs(still, "status", left, "--json").json["status"] == "cancelled"
    assert jobs(still, "delete", left, "--no-wait").code == 0
    ended = jobs(still, "delete", gone, "--json")
    assert (ended.code, ended.json["status"]) == (0, "removed")
    assert jobs(still, "status", gone).code == 3


def test_a_running_job_is_removed_when_it_has_stopped(jobs, working, ws):
    items = [
        {**item, "task_description": f"{item['task_description']} Soon."} for item in small_trainset()
    ]  # nobody paid for these
    (ws / "others.json").write_text(json.dumps(items))
    words = ("--optimizer", "gepa", "--trials", "400", "--data", "others.json")
    job_id = jobs(working, "start", *words, "--json").json["job_id"]
    while jobs(working, "status", job_id, "--json").json["status"] == "queued":
        time.sleep(0.02)
    ended = jobs(working, "delete", job_id)
    assert (ended.code, ended.out) == (0, f"Job {job_id} is removed.\n")
    assert "being cancelled" in ended.err
    assert jobs(working, "status", job_id).code == 3


def test_a_skill_that_a_job_writes_is_shown_as_create_skill_shows_it(jobs, cli, working):
    task = "Teach how to read a tide table."
    made = jobs(working, "create-skill", "--task", task, "--best-of", "2", "--watch")
    assert made.code == 0, made.err
    job_id = started(made)
    worker = re.search(r"Taken up by worker (\S+)\.", made.err)[1]
    path = re.search(rf"^skill +(\S+) \(in the workspace of worker {worker}\)$", made.out, re.MULTILINE)[1]
    assert path.endswith("/SKILL.md")
    assert (working.root / path).is_file()
    assert "SIMULATED" in made.out
    assert not re.search(r"Written to .* …", made.err)
    assert "skill.md" not in made.err

    def form(text):
        return re.sub(r" \(in the workspace of .*\)$|[\d.,]+", "", text, flags=re.MULTILINE)

    assert form(made.out) == form(cli("create-skill", "--task", task, "--best-of", "2").out)
    beside = cli("--workspace", working.root, "jobs", "result", job_id).out
    assert re.search(rf"^skill +{re.escape(path)}$", beside, re.MULTILINE)
    assert jobs(working, "result", job_id, "--json").json["path"] == path
    listed = jobs(working, "list", "--kind", "creation", "--json").lines
    assert listed[0]["links"]["self"].endswith(job_id)
    assert jobs(working, "report", job_id).out.startswith("# Skill ")
    again = jobs(working, "create-skill", "--task", task, "--watch")
    assert again.code != 0
    assert "error: " in again.err


@pytest.mark.parametrize(
    "words",
    [("--best-of", "0"), ("--program", "../x.json"), ("--model", "nobody/nothing"), ("--metadata", "x")],
)
def test_a_skill_that_cannot_be_asked_for_is_refused(jobs, still, words):
    ended = jobs(still, "create-skill", "--task", "Read a map.", *words)
    assert ended.code == 2
    assert ended.err.startswith("error: ")


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


def test_an_empty_address_is_none(jobs, still):
    for address in ("", " "):
        ended = jobs(still, "list", "--server", address)
        assert ended.code == 2
        assert "The server's address is not of the form" in ended.err


def test_another_server_is_named_and_the_prefix_of_ours_is_no_harm(jobs, still, cli, tmp_path):
    assert jobs(still, "list", "--server", f"{still.url}/api/v2").code == 0
    wrong = jobs(still, "list", "--server", f"{still.url}/fleet")
    assert wrong.code == 6
    assert f"The server {still.url}/fleet knows no such call." in wrong.err
    other = ThreadingHTTPServer(("127.0.0.1", 0), Another)
    threading.Thread(target=other.serve_forever, args=(0.02,), daemon=True).start()
    try:
        address = f"http://127.0.0.1:{other.server_address[1]}"
        for words in (("list",), ("start",), ("watch", "20260101-000000-0123456789")):
            ended = cli("jobs", *words, "--server", address)
            assert ended.code == 6
            assert ended.err == (
                f"error: The server {address} is no skill-fleet server: it answered 501. "
                "The address is that of the server alone, such as http://127.0.0.1:8000.\n"
            )
    finally:
        other.shutdown()
        other.server_close()


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
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"Job {job_id} goes on without being watched." in err
    assert f"skill-fleet jobs watch {job_id} --server {still.url}" in err
    assert jobs(still, "status", job_id, "--json").json["status"] == "queued"


def test_a_watcher_needs_neither_dspy_nor_the_server(still):
    run = f"from skill_fleet.cli.main import main; main(['jobs', 'list', '--server', {still.url!r}])"
    code = f"import sys; {run}; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "httpx2" in loaded
    assert not loaded & {"dspy", "dbos", "fastapi", "sqlalchemy", "uvicorn", "numpy", "optuna"}


def test_the_moving_line_shows_how_far_a_job_is():
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    from skill_fleet.optimization.records.events import Event

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
