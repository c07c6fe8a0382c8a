"""The page about the REST API, run against a service of its own."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from docs_pages import ROOT, Block, Session, blocks_of, commands_of, prepare, same_form

PAGE = ROOT / "docs" / "how-to" / "use-the-rest-api.md"
SHOWN = "http://127.0.0.1:8000"


@pytest.fixture
def session(tmp_path):
    made = Session(tmp_path)
    yield made
    made.close()


@pytest.fixture
def server(session: Session, tmp_path: Path):
    """The address of a service in the page's workspace."""
    prepare(session, PAGE, "<!-- workspace: checkout -->")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SKILL_FLEET_")}
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "skill_fleet", "serve", "--port", "0", "--json"],
            cwd=session.workspace,
            env={**environ, "HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            process.stdout.close()


@pytest.mark.slow
@pytest.mark.timeout(300)  # a busy machine takes several times as long
def test_the_page_does_what_it_says(session, server):
    blocks = [block for block in blocks_of(PAGE.read_text()) if block.language == "console"]
    text = "".join(block.text for block in blocks)
    whole = Block("console", frozenset(), None, text.replace(SHOWN, server), 1, 0, 0)
    for command, printed in zip(commands_of(whole), session.console(whole), strict=True):
        assert same_form(command.printed, printed), f"{command.words}\nprints\n{printed}"


def test_every_call_of_the_page_is_in_the_reference():
    reference = (ROOT / "docs" / "reference" / "rest.md").read_text()
    known = [
        re.sub(r"\{\w+\}", r"[^/]+", call)
        for call in re.findall(r"^\| `[A-Z]+ (/\S+)` ", reference, re.MULTILINE)
    ]
    for path in re.findall(r"\$API(/[\w/$-]+)", PAGE.read_text()):
        assert any(re.fullmatch(call, path) for call in known), path
