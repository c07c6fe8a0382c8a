"""Keys are planted everywhere, everything is run, and none of them is found in anything that was written.

What is searched: stdout, stderr, logs at DEBUG, every file of the workspace, every row of the databases,
every answer of the service; each for the secret as it is, percent-encoded, and in base64.
"""

import io
import json
import logging
import os
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import planted
from command_programs import script
from running_service import serving, small_trainset

# The user's own file, in which one login stands; nothing else may have it.
OWN = frozenset({"config/config.yaml"})
SMALL = (
    "--optimizer",
    "gepa",
    "--trials",
    "1",
    "--rounds",
    "1",
    "--num-threads",
    "4",
    "--data",
    "small.json",
)


def prepared(root: Path, echo: planted.Echo) -> None:
    """A workspace whose command tells its standard error what it was given, and fails."""
    (root / "config").mkdir()
    said = (
        'echo "error: bad login $MY_LOGIN $(printf %s "$MY_LOGIN" | base64 -w0) of $HTTPS_PROXY" >&2; exit 1'
    )
    command = script(root / "m", said)
    (root / "config" / "config.yaml").write_text(planted.configuration(echo, command))
    (root / "small.json").write_text(json.dumps(small_trainset()))


@pytest.fixture
def echo():
    with planted.echoing() as echo:
        yield echo


@pytest.fixture
def transcript():
    """All that is logged, at DEBUG."""
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield heard
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.fixture
def told(ws, echo, cli, monkeypatch, transcript):
    """Runs command lines with the secrets around; keeps all that they say."""
    prepared(ws, echo)
    for name, value in {**planted.environ(), "SKILL_FLEET_API_KEY": planted.SERVICE}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SKILL_FLEET_DEBUG", "1")
    heard: list[tuple[str, str]] = []

    def run(*words: str) -> Any:
        ended = cli(*words)
        heard.append((" ".join(words), ended.out + ended.err))
        return ended

    yield run
    found = [leak for words, said in heard for leak in planted.leaks(said, words)]
    found += planted.leaks(transcript.getvalue(), "the log")
    found += planted.leaks_below(ws, OWN)
    assert not found, "\n".join(found)


def test_the_search_finds_what_it_looks_for(tmp_path):
    for secret in planted.ALL:
        for form in planted.forms(secret):
            (tmp_path / "file").write_text(f"before {form} after")
            assert planted.leaks_below(tmp_path), form
    (tmp_path / "file").write_text("nothing")
    assert not planted.leaks_below(tmp_path)


@pytest.mark.parametrize("model", ["keyed", "login"])
def test_runs_that_go_well_and_that_fail_on_their_way(told, echo, model):
    echo.plan = [500, 200, 500, 429, 200, 500]
    assert told("optimize", *SMALL, "--model", model, "--profiling-model", model, "--yes").code == 0
    wanted = planted.KEY if model == "keyed" else planted.LOGIN
    assert wanted in echo.shown  # it did go there
    assert told("evaluate", "--program", "skill_creator.json", "--data", "small.json", "--model", model)
    assert told("runs", "list").code == 0
    assert told("create-skill", "--task", "Write unit tests", "--model", model, "--json").code == 0


@pytest.fixture
def hopeless(monkeypatch):
    """Nobody will ever be answered: that is to be seen soon."""
    monkeypatch.setenv("SKILL_FLEET_CALLS__OUTAGE_SECONDS", "0.5")


@pytest.mark.usefixtures("hopeless")
@pytest.mark.parametrize("status", [401, 400, 500])
def test_runs_that_are_refused(told, echo, status):
    echo.always = status
    for model in ("keyed", "login"):
        assert told("optimize", *SMALL, "--model", model, "--yes", "--json").code != 0
        assert told("create-skill", "--task", "Write unit tests", "--model", model, "--json").code == 6
        assert told("create-skill", "--task", "Write unit tests", "--model", model).code == 6
    assert {planted.KEY, planted.LOGIN} <= echo.shown


@pytest.mark.usefixtures("hopeless")
def test_a_command_that_tells_what_it_was_given(told):
    ended = told("create-skill", "--task", "Write unit tests", "--model", "mine")
    assert ended.code == 6
    assert "bad login" in ended.err
    assert told("optimize", *SMALL, "--model", "mine", "--yes", "--json").code == 6


@pytest.mark.parametrize("status", [200, 401])
def test_what_is_shown_of_the_configuration(told, echo, status):
    echo.always = status
    for words in (
        *("models", "models test --all", "models add more --model openai/m --api-key-env MY_MODEL_KEY"),
        *("config show", "config show --origin", "doctor", "estimate --data small.json"),
    ):
        told(*words.split(), *(("--json",) if status == 401 else ()))
    assert {planted.KEY, planted.LOGIN} <= echo.shown


def test_a_bug_with_a_traceback(told, echo, monkeypatch):
    from skill_fleet.cli import app

    def broken(_words: Any) -> int:
        raise ZeroDivisionError(f"{os.environ['MY_MODEL_KEY']} at {configured()}")

    def configured() -> str:
        return Path("config/config.yaml").read_text()

    monkeypatch.setattr(app, "run", broken)
    ended = told("models", "--json")
    assert ended.code == 1
    assert "Traceback" in ended.err
    assert "ZeroDivisionError" in ended.err


def fetched(url: str, body: Any = None) -> tuple[int, str]:
    """Status and text of an answer, headers included."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})  # noqa: S310 - our own
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status, f"{answer.headers}\n{answer.read().decode()}"
    except urllib.error.HTTPError as error:
        return error.code, f"{error.headers}\n{error.read().decode()}"


def jobs_over_rest(url: str, echo: planted.Echo) -> tuple[str, set[str]]:
    """Everything that jobs say of themselves, one that goes well and some that do not; how they ended."""
    api, said = f"{url}/api/v2", []

    def ask(path: str, body: Any = None) -> str:
        status, text = fetched(f"{api}{path}", body)
        said.append(text)
        assert status < 500, text
        return text.rpartition("\n")[2]

    def finished(started: str) -> str:
        job = json.loads(started)["job_id"]
        until = time.monotonic() + 100
        while (status := json.loads(ask(f"/optimization/status/{job}")))["finished_at"] is None:
            assert time.monotonic() < until, status
            time.sleep(0.1)
        ask(f"/optimization/jobs/{job}/events?after=0")
        said.extend(fetched(f"{api}/optimization/jobs/{job}/{of}")[1] for of in ("result", "report"))
        return str(status["status"])

    def start(model: str) -> str:
        body = {"optimizer": "labeled_few_shot", "rounds": 1, "trainset": small_trainset()}
        return ask(
            "/optimization/start", {**body, "models": dict.fromkeys(("evaluation", "profiling"), model)}
        )

    ends = {finished(start("keyed"))}
    echo.always = 401
    ends |= {finished(start(model)) for model in ("login", "mine")}
    ends.add(finished(ask("/skills", {"task": "Write unit tests", "model": "keyed"})))
    for path in ("/optimization/config", "/optimization/jobs", "/optimization/optimizers"):
        ask(path)
    said.append(fetched(f"{url}/metrics")[1])
    said.append(fetched(f"{url}/readyz")[1])
    return "\n".join(said), ends


@pytest.mark.slow  # a service, its worker and a process for each of four jobs
@pytest.mark.timeout(300)  # a busy machine takes several times as long
@pytest.mark.parametrize("kind", ["files", "database"])
def test_jobs_of_the_service(tmp_path, echo, kind, request):
    prepared(tmp_path, echo)
    environ = {**planted.environ(), "SKILL_FLEET_CALLS__OUTAGE_SECONDS": "0.5"}
    if kind == "database":
        url = request.getfixturevalue("postgres_url")
        environ["SKILL_FLEET_DATABASE_URL"] = with_password(url)
    running = serving(tmp_path, **environ)
    try:
        said, ends = jobs_over_rest(running.url, echo)
    finally:
        running.stop()
    assert "succeeded" in ends
    assert ends & {"failed", "stopped"}
    found = planted.leaks(said, "answers of the service") + planted.leaks_below(tmp_path, OWN)
    if kind == "database":
        found += planted.leaks(everything_in(url), "the database")
    assert not found, "\n".join(found)


def with_password(url: str) -> str:
    """The address with a password in it; this server asks for none."""
    from sqlalchemy.engine import make_url

    return make_url(url).set(password=planted.DATABASE).render_as_string(hide_password=False)


def everything_in(url: str) -> str:
    """Every row of every table of a database."""
    import psycopg

    with psycopg.connect(url) as db:
        tables = db.execute(
            "select table_schema, table_name from information_schema.tables where table_schema not in"
            " ('pg_catalog', 'information_schema')"
        ).fetchall()
        rows = [
            db.execute(f'select t::text from "{schema}"."{name}" t').fetchall()  # noqa: S608
            for schema, name in tables
        ]
    return "\n".join(str(row[0]) for table in rows for row in table)
