"""The pages about the service: their commands, run against a service as they say it is started."""

import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from docs_pages import ROOT, Block, Session, blocks_of, commands_of, same_form

HOW_TO = ROOT / "docs" / "how-to"
ONE, SEVERAL = HOW_TO / "run-the-service.md", HOW_TO / "several-workers.md"
SHOWN = "http://127.0.0.1:8000"
NAMES = {
    r"\b[\w.-]+-\d+-[0-9a-f]{8}\b": "WORKER",
    r"\bsf_[0-9a-f]+\S*": "SECRET",
    r"\bKey [0-9a-f]{12}\b": "Key ID",
    r"\bPostgreSQL [\w.:]+/\w+": "PostgreSQL PLACE",
}


@pytest.fixture
def session(tmp_path) -> Iterator[Session]:
    made = Session(tmp_path)
    yield made
    made.close()


def consoles(path) -> list[str]:
    """The console blocks of a page, all of which need the service."""
    return [block.text for block in blocks_of(path.read_text()) if block.language == "console"]


def known(text: str) -> str:
    """A text without the names that are others each time."""
    for pattern, name in NAMES.items():
        text = re.sub(pattern, name, text)
    return text


def ran(session: Session, text: str) -> None:
    """Run a block's commands; each prints what the block shows."""
    block = Block("console", frozenset(), None, text, 1, 0, 0)
    for command, printed in zip(commands_of(block), session.console(block), strict=True):
        assert same_form(known(command.printed), known(printed)), f"{command.words}\nprints\n{printed}"


@contextmanager
def started(session: Session, words: str) -> Iterator[str]:
    """A command that goes on until it is told to stop, and the first line that it prints."""
    process = session.start(words)
    assert process.stdout is not None
    try:
        yield process.stdout.readline()
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        process.stdout.close()
    assert code == 0, words


def families(url: str) -> dict[str, set[str]]:
    """The labels of each family of figures at `/metrics`, as far as there is a figure."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as response:  # noqa: S310 - our own
        text = response.read().decode()
    found: dict[str, set[str]] = {name: set() for name in re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)}
    for name, labels in re.findall(r"^(\w+)\{([^}]*)\}", text, re.MULTILINE):
        family = re.sub(r"_(bucket|sum|count|created)$", "", name)
        if family in found:
            found[family] |= set(re.findall(r'(\w+)="', labels)) - {"le"}
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)  # a busy machine takes several times as long
def test_one_machine_from_the_start_to_the_first_key(session):
    serve, work, keys = consoles(ONE)
    (command,) = commands_of(Block("console", frozenset(), None, serve, 1, 0, 0))
    with started(session, f"{command.words} --port 0") as line:
        url = line.split()[-1]
        assert command.printed == line.replace(url, SHOWN)
        ran(session, f"$ export SKILL_FLEET_SERVER={url}\n{work.replace(SHOWN, url)}")
        there = families(url)
        told = re.findall(r"`(skill_fleet_\w+)(?:\{([\w,]+)\})?`", SEVERAL.read_text())
        assert len(told) >= 8
        for name, labels in told:
            assert name in there
            assert not there[name] or there[name] == set(filter(None, labels.split(","))), name
        ran(session, keys)
        assert closed_within(url, 60.0)


def closed_within(url: str, seconds: float) -> bool:
    """Whether the door is shut soon: what the store says of keys stands for a second."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            families(url)
        except urllib.error.HTTPError as refused:
            return refused.code == 401
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.timeout(300)  # a busy machine takes several times as long
def test_several_workers_on_one_postgresql(session, postgres_url):
    setup, work = consoles(SEVERAL)
    *before, serve = commands_of(Block("console", frozenset(), None, setup, 1, 0, 0))
    export = before[0].words.partition("=")[0] + f"={postgres_url}"
    ran(session, "".join(f"$ {one}\n{shown}" for one, shown in [(export, ""), *map(_pair, before[1:])]))
    assert "--host 0.0.0.0" in serve.words
    listen = serve.words.replace("--host 0.0.0.0", "--port 0")  # a test listens to this machine alone
    (worker,) = commands_of(Block("console", frozenset(), None, work, 1, 0, 0))
    with started(session, f"{export}; {listen}") as line:
        assert same_form(serve.printed.replace("0.0.0.0:8000", "…"), line)
        with started(session, f"{export}; {worker.words}") as said:
            assert same_form(known(worker.printed), known(said))


def _pair(command) -> tuple[str, str]:
    return command.words, command.printed
