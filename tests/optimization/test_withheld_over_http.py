"""A content filter that withholds proposals, over HTTP, from the command line, with a kill in between."""

import contextlib
import json
import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kill_harness import Case, make_workspace
from outage_harness import configure, ended, outcome, served, started

if TYPE_CHECKING:
    import subprocess

LONGEST = 60.0
FILTERED = {
    # A reflection on an example that mentions something, and a proposal that is given a tip.
    "gepa": r"(?s)examples_with_feedback.*parcel",
    "miprov2": r"(?s)proposed_instruction.*## tip ##",
}


def filtered(root: Path, optimizer: str) -> list[str]:
    """Words for a provider that withholds some of an optimizer's proposals."""
    script = root / "script.json"
    script.write_text(json.dumps([{"match": FILTERED[optimizer], "fault": "content_filter"}]))
    return ["--script", str(script)]


def run_of(workspace: Path) -> Path:
    """The folder of a workspace's only run."""
    (folder,) = workspace.glob(".skill-fleet/runs/*")
    return folder


def noted(workspace: Path) -> list[dict[str, Any]]:
    """What was withheld in a workspace's only run."""
    found: list[dict[str, Any]] = json.loads((run_of(workspace) / "withheld.json").read_text())
    return found


def killed_after_one(command: "subprocess.Popen[str]", workspace: Path) -> None:
    """Kill a command as soon as it has written down a proposal that was withheld."""
    until = time.monotonic() + LONGEST
    while time.monotonic() < until and command.poll() is None:
        if any(workspace.glob(".skill-fleet/runs/*/withheld.json")):
            os.kill(command.pid, signal.SIGKILL)
            command.communicate()
            assert command.returncode == -signal.SIGKILL
            return
        time.sleep(0.002)
    command.kill()
    raise AssertionError("nothing was withheld")


def asked_twice(workspace: Path, state: str) -> int:
    """Calls of a ledger with several attempts in a state."""
    with contextlib.closing(sqlite3.connect(workspace / ".skill-fleet" / "ledger.sqlite")) as db:
        of_call = "select key from attempt where state=? group by key having count(*) > 1"
        return int(db.execute(f"select count(*) from ({of_call})", (state,)).fetchone()[0])  # noqa: S608


@pytest.mark.slow  # a provider and two whole runs, all processes of their own
@pytest.mark.parametrize("optimizer", ["gepa", "miprov2"])
def test_a_run_whose_proposals_are_withheld_succeeds_also_over_a_kill(tmp_path: Path, optimizer: str) -> None:
    case = Case(optimizer, 8)
    whole, cut = make_workspace(tmp_path / "whole"), make_workspace(tmp_path / "cut")
    with served(0, *filtered(tmp_path, optimizer)) as provider:
        for workspace in (whole, cut):
            configure(workspace, provider.url)
        code, wanted, said = ended(started(case.words(), whole))
        assert code == 0, said
        asked = provider.requests()
        assert wanted["calls"]["made"] == asked
        killed_after_one(started(case.words(), cut), cut)
        code, result, said = ended(started(["runs", "resume", "latest", "--json"], cut))
        assert code == 0, said
        asked = provider.requests() - asked
    assert wanted["status"] == result["status"] == "succeeded"
    assert wanted["optimized"]["validation"] > wanted["baseline"]["validation"]
    assert len(noted(whole)) == wanted["calls"]["failed"] > 0
    assert all(one["code"] == "content_filter" for one in noted(whole))
    assert [one["code"] for one in wanted["warnings"]].count("proposals_withheld") > 0
    assert "proposals_withheld" in (run_of(whole) / "report.md").read_text()
    # The kill changes nothing, and repeats only what was open, or withheld and not yet written down.
    assert result["program_hash"] == wanted["program_hash"]
    assert outcome(result) == outcome(wanted)
    assert {one["key"] for one in noted(cut)} == {one["key"] for one in noted(whole)}
    assert asked_twice(cut, "settled") == 0
    assert asked_twice(cut, "failed") <= case.threads
    assert result["calls"]["made"] - result["calls"]["lost"] <= asked <= result["calls"]["made"]
    assert result["calls"]["made"] <= wanted["calls"]["made"] + 2 * case.threads
