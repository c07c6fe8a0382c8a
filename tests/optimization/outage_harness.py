"""Kill a simulated provider under an optimization, start it again, go on with the run: what came of it.

Used by the slow test and by `benchmarks/outage.py`. Both are processes of their own, started by command lines
that a user would type; the provider dies by SIGKILL and comes back at the same address.
"""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kill_harness import OUTCOME, Case, make_workspace

OUTAGE = 3.0
"""`calls.outage_seconds` of the workspace."""
_LONGEST = 300.0
_GLANCE = 0.005
_LATENCY = 0.02
_CONFIG = """
models:
  default: remote
  registry:
    remote: {{ model: openai/offline/rules-v1, api_base: "{url}", temperature: 0.7, timeout: 5 }}
calls: {{ first_pause: 0.1, outage_seconds: {outage} }}
"""


@dataclass(frozen=True)
class Died:
    """One optimization whose provider died in the middle.

    Attributes:
        asked: Requests to the provider of the run that nothing happened to.
        at: Attempts in the ledger when the provider was killed.
        code: Exit code of the stopped command.
        seconds: From the kill to the end of the command.
        said: What the command wrote to stderr.
        stopped: Its JSON result.
        resumed: The JSON result in the end.
        whole: That of the run that nothing happened to.
        refused: Attempts of the ledger that failed.
        asked_again: Requests that the provider served after it was back.
        answers: Settled attempts of the ledger when the command had stopped, and in the end.
        repeated: Keys settled more than once.
    """

    asked: int
    at: int
    code: int
    seconds: float
    said: str
    stopped: Any
    resumed: Any
    whole: Any
    refused: int
    asked_again: int
    answers: tuple[int, int]
    repeated: int

    def faults(self) -> list[str]:
        """What broke the promise, in words; none when it held."""
        resume = f"skill-fleet runs resume {self.stopped['run_id']}"
        before, after = self.answers
        calls = after + self.refused
        found = {
            f"exit code {self.code}": self.code != 6,
            f"{self.seconds:.1f} s to the end": not OUTAGE - 0.5 <= self.seconds <= OUTAGE + 3.0,
            f"stopped by {self.stopped['stop_reason']}": self.stopped["stop_reason"] != "provider",
            "no word on how to go on": self.stopped["resume"] != resume or resume not in self.said,
            "a traceback": "Traceback" in self.said,
            "another program": self.resumed["program_hash"] != self.whole["program_hash"],
            "another result": outcome(self.resumed) != outcome(self.whole),
            f"{self.repeated} answers paid twice": self.repeated > 0,
            f"{self.asked_again} asked again for {self.answers}": self.asked_again != after - before,
            f"{after} answers, not {self.asked}": after != self.asked,
            "no attempt failed: it was not asked": self.refused == 0,
            f"{before} of {after} answers before it was killed: not in the middle": not 0 < before < after,
            f"{self.resumed['calls']['made']} calls, not {calls}": self.resumed["calls"]["made"] != calls,
        }
        return [words for words, broken in found.items() if broken]


@dataclass(frozen=True)
class Served:
    """A simulated provider in a process of its own."""

    url: str
    process: "subprocess.Popen[str]"

    def requests(self) -> int:
        """How many it got."""
        totals = f"{self.url.removesuffix('/v1')}/simulator/totals"
        with urllib.request.urlopen(totals, timeout=5) as answer:  # noqa: S310 - our own
            return int(json.load(answer)["requests"])

    def kill(self) -> None:
        """End it at once."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def served(port: int = 0, *options: str) -> Iterator[Served]:
    """A simulated provider, for as long as it is needed or lives.

    Args:
        port: Its port; 0 takes a free one.
        options: Further words of its command line.
    """
    words = ["simulate-provider", "--port", str(port), "--latency", str(_LATENCY), "--json", *options]
    process = started(words, Path.cwd())
    assert process.stdout is not None
    try:
        yield Served(json.loads(process.stdout.readline())["url"], process)
    finally:
        process.kill()
        process.communicate()


def died(case: Case, root: Path) -> Died:
    """A case without and with a provider that dies half way, resumed when it is back."""
    whole_place, place = make_workspace(root / "whole"), make_workspace(root / "died")
    with served() as provider:
        for workspace in (whole_place, place):
            configure(workspace, provider.url)
        code, whole, said = ended(started(case.words(), whole_place))
        assert code == 0, said
        asked = provider.requests()
        command = started(case.words(), place)
        at = _waited(command, place, asked // 2)
        provider.kill()
        killed = time.monotonic()
        code, stopped, said = ended(command)
        seconds = time.monotonic() - killed
        before, *_ = _ledger(place)
    with served(int(provider.url.removesuffix("/v1").rpartition(":")[2])) as again:
        resume = ["runs", "resume", stopped["run_id"], "--json"]
        resumed_code, resumed, resumed_said = ended(started(resume, place))
        assert resumed_code == 0, resumed_said
        asked_again = again.requests()
    after, repeated, refused = _ledger(place)
    return Died(
        asked,
        at,
        code,
        seconds,
        said,
        stopped,
        resumed,
        whole,
        refused,
        asked_again,
        (before, after),
        repeated,
    )


def outcome(result: Any) -> str:
    """What was measured and decided, as JSON."""
    rounds = [(line["score"], line["best"], line["instructions"]) for line in result["rounds"]]
    return json.dumps({**{name: result[name] for name in OUTCOME}, "rounds": rounds})


def configure(workspace: Path, url: str) -> None:
    """Make the provider at an address the model of a workspace."""
    (workspace / "config").mkdir()
    (workspace / "config" / "config.yaml").write_text(_CONFIG.format(url=url, outage=OUTAGE))


def started(words: list[str], workspace: Path) -> "subprocess.Popen[str]":
    """A command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "skill_fleet", *words],
        cwd=workspace,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(command: "subprocess.Popen[str]") -> tuple[int, Any, str]:
    """Exit code, JSON result, and what it said, of a command that ends by itself."""
    try:
        out, said = command.communicate(timeout=_LONGEST)
    except subprocess.TimeoutExpired:
        command.kill()
        raise
    return command.returncode, json.loads(out), said


def _waited(command: "subprocess.Popen[str]", workspace: Path, attempts: int) -> int:
    """Attempts in the ledger once there are so many."""
    ledger = workspace / ".skill-fleet" / "ledger.sqlite"
    until = time.monotonic() + _LONGEST
    while time.monotonic() < until and command.poll() is None:
        if ledger.exists() and sum(_ledger(workspace)[::2]) >= attempts:
            return sum(_ledger(workspace)[::2])
        time.sleep(_GLANCE)
    command.kill()
    raise RuntimeError(f"not {attempts} attempts within {_LONGEST:.0f} s")


def _ledger(workspace: Path) -> tuple[int, int, int]:
    """Settled attempts, keys settled more than once, failed attempts."""
    with contextlib.closing(sqlite3.connect(workspace / ".skill-fleet" / "ledger.sqlite")) as db:
        try:
            return (
                db.execute("select count(*) from attempt where state='settled'").fetchone()[0],
                db.execute(
                    "select count(*) from (select key from attempt where state='settled'"
                    " group by key having count(*) > 1)"
                ).fetchone()[0],
                db.execute("select count(*) from attempt where state='failed'").fetchone()[0],
            )
        except sqlite3.OperationalError:  # it has just been made, and is empty
            return 0, 0, 0
