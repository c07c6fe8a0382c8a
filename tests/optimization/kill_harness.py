"""Stop an optimization at a random moment, by SIGKILL or by Ctrl-C, go on with it, and say what was repeated.

Used by the tests and by `benchmarks/kill.py`.

What is stopped is a process of its own that runs the command line a user would type. Two preloaded parents
have imported everything and fork one child a command, which saves the second that imports take. A parent has
one thread, so a fork copies no lock that is held; the second has another hash seed, and carries out the
resume, as a later process of a user would have another.
"""

import contextlib
import importlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copy
from typing import Any

PROGRAMS = Path(__file__).parent / "programs"
TRIALS = {"gepa": 4, "miprov2": 4, "bootstrap_random_search": 3, "copro": 1}
"""`--trials` of a search of some hundred calls; 2 where nothing is said."""
EXTRA = dict.fromkeys(("best_of_n", "refine"), ("--reward", "triage:plausible"))
"""Further words that an optimizer needs."""
PRELOADED = (
    "skill_fleet.cli.main",
    "skill_fleet.cli.app",
    "skill_fleet.cli.optimize",
    "skill_fleet.cli.runs",
    "skill_fleet.cli.running",
    "skill_fleet.cli.show_run",
    "skill_fleet.services.optimization",
    "skill_fleet.llm.offline.model",
    "dspy.teleprompt",
    "gepa.api",
    "numpy",
    "optuna.samplers",
    "scipy.stats",
)
OUTCOME = ("baseline", "optimized", "accuracy", "verdict", "interval", "p_value", "published")
"""Fields of a result that a stop must not change."""
_LONGEST = 120.0
_GLANCE = 0.003


@dataclass(frozen=True)
class Case:
    """One optimizer at one number of threads, on the ticket program."""

    optimizer: str
    threads: int

    def words(self) -> list[str]:
        """What a user would type after `skill-fleet`."""
        return [
            "optimize",
            *("--program", "triage:TriageProgram", "--metric", "triage:exact", "--data", "tickets.json"),
            *("--optimizer", self.optimizer, "--num-threads", str(self.threads)),
            *("--trials", str(TRIALS.get(self.optimizer, 2)), *EXTRA.get(self.optimizer, ())),
            *("--output", "out.json", "--json", "--quiet"),
        ]


@dataclass(frozen=True)
class Moment:
    """When to stop a process: at so many attempts in its ledger, or after so many seconds."""

    attempts: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        return f"{self.attempts} attempts" if self.seconds is None else f"{self.seconds:.3f} s"


@dataclass(frozen=True)
class Whole:
    """The case when nothing happens to it.

    Attributes:
        hash: Of the final program.
        outcome: What was measured and decided, as JSON.
        calls: All attempts.
        seconds: From the start of the process to its end.
    """

    hash: str
    outcome: str
    calls: int
    seconds: float

    def moment(self, rng: random.Random, *, by_time: bool) -> Moment:
        """Any moment of it, the start of the process and its last writing included."""
        if by_time:
            return Moment(seconds=rng.uniform(0.0, self.seconds))
        return Moment(attempts=rng.randint(1, self.calls))


@dataclass(frozen=True)
class Stopped:
    """What one stop and the going on after it came to.

    Attributes:
        moment: When it was stopped.
        at: Attempts that its ledger held then.
        code: How the stopped process ended: -9 when killed, else its exit code.
        stderr: What it said.
        seconds: From the signal to the end of the process.
        hash: Of the final program.
        outcome: What was measured and decided, as JSON.
        repeated: Keys settled more than once.
        lost: Attempts that were open when the process died, counted as spent.
        calls: All attempts of the run.
    """

    moment: Moment
    at: int
    code: int
    stderr: str
    seconds: float
    hash: str
    outcome: str
    repeated: int
    lost: int
    calls: int

    def faults(self, whole: Whole, threads: int) -> list[str]:
        """What broke the promise, in words; none when it held."""
        found = {
            "another program": self.hash != whole.hash,
            f"another result: {self.outcome}": self.outcome != whole.outcome,
            f"{self.repeated} answers paid twice": self.repeated > 0,
            f"{self.lost} attempts lost at {threads} threads": self.lost > threads,
            f"{self.calls} calls, not {whole.calls} + {self.lost}": self.calls != whole.calls + self.lost,
        }
        if self.code != -signal.SIGKILL:
            found |= {
                # Python itself dies of the signal before the first line of ours and after the last.
                f"exit code {self.code}": self.code not in {0, 130, -signal.SIGINT},
                f"{self.lost} attempts lost by Ctrl-C": self.lost > 0,
                "no word on how to go on": self.code == 130
                and self.at > 0
                and "To go on:" not in self.stderr,
                # After our last line Python's own shutdown may be interrupted, and says so.
                "a traceback": self.code == 130 and "Traceback" in self.stderr,
            }
        return [f"{words} (stopped at {self.moment})" for words, broken in found.items() if broken]


class Preloaded:
    """A parent that has imported everything and forks a child a command; see `preloaded`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def _asked(self, **question: Any) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(question) + "\n")
        stdin.flush()
        return json.loads(stdout.readline())

    def start(self, words: list[str], workspace: Path) -> int:
        """Start a command line in a workspace; stdout and stderr go to files there.

        Returns:
            The process's id, which is also that of its group.
        """
        return int(self._asked(start=words, workspace=str(workspace)))

    def ended(self, pid: int) -> int | None:
        """How a process ended: its exit code, or minus the signal; None while it runs."""
        code = self._asked(ended=pid)
        return None if code is None else int(code)

    def wait(self, pid: int) -> int:
        """Wait for a process to end.

        Raises:
            RuntimeError: It does not.
        """
        until = time.monotonic() + _LONGEST
        while time.monotonic() < until:
            code = self.ended(pid)
            if code is not None:
                return code
            time.sleep(_GLANCE)
        os.killpg(pid, signal.SIGKILL)
        raise RuntimeError(f"process {pid} did not end within {_LONGEST:.0f} s")


@contextlib.contextmanager
def preloaded(hash_seed: int) -> Iterator[Preloaded]:
    """A parent with a hash seed of its own, for as long as it is needed."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "OPENBLAS_NUM_THREADS": "1"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the preloaded parent did not start")
        yield Preloaded(process)
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


@dataclass(frozen=True)
class Stand:
    """Two preloaded parents: one starts runs, the other goes on with them."""

    first: Preloaded
    second: Preloaded

    def uninterrupted(self, case: Case, root: Path) -> Whole:
        """The case when nothing happens to it."""
        started = time.monotonic()
        result = _carried_out(self.first, case.words(), make_workspace(root))
        seconds = time.monotonic() - started
        return Whole(result["program_hash"], _outcome(result), result["calls"]["made"], seconds)

    def stopped(self, case: Case, root: Path, moment: Moment, number: int = signal.SIGKILL) -> Stopped | None:
        """Stop the case at a moment, by a signal, then go on with it to its end.

        Returns:
            None when it ended before the moment came.
        """
        workspace = make_workspace(root)
        pid = self.first.start(case.words(), workspace)
        at = self._waited(pid, workspace, moment)
        if at is None:
            return None
        sent = time.monotonic()
        os.kill(pid, number)
        code = self.first.wait(pid)
        took = time.monotonic() - sent
        stderr = (workspace / f"{pid}.err").read_text()
        result = self._gone_on(case, workspace)
        found = (result["program_hash"], _outcome(result))
        return Stopped(moment, at, code, stderr, took, *found, **_ledger(workspace))

    def _waited(self, pid: int, workspace: Path, moment: Moment) -> int | None:
        """Attempts in the ledger when the moment has come; None when the process ended before."""
        ledger = _ledger_of(workspace)
        started = time.monotonic()
        while time.monotonic() < started + _LONGEST:
            if moment.seconds is not None and time.monotonic() >= started + moment.seconds:
                return None if self.first.ended(pid) is not None else _attempts(ledger)
            if moment.attempts is not None and (made := _attempts(ledger)) >= moment.attempts:
                return None if self.first.ended(pid) is not None else made
            if self.first.ended(pid) is not None:
                return None
            time.sleep(_GLANCE if moment.seconds is None else min(_GLANCE, moment.seconds))
        os.killpg(pid, signal.SIGKILL)
        raise RuntimeError(f"not {moment} within {_LONGEST:.0f} s")

    def _gone_on(self, case: Case, workspace: Path) -> Any:
        """The result in the end: resumed; started again where there was nothing yet; as it is where over."""
        results = sorted(workspace.glob(".skill-fleet/runs/*/result.json"))
        if results and not (result := json.loads(results[-1].read_text()))["resume"]:
            return result
        begun = any(workspace.glob(".skill-fleet/runs/*/request.json"))
        words = ["runs", "resume", "latest", "--json", "--quiet"] if begun else case.words()
        return _carried_out(self.second, words, workspace)


@contextlib.contextmanager
def stand() -> Iterator[Stand]:
    """Two preloaded parents, for as long as they are needed."""
    with preloaded(1) as first, preloaded(2) as second:
        yield Stand(first, second)


def make_workspace(root: Path) -> Path:
    """A workspace with the ticket program and its data."""
    root.mkdir(parents=True)
    copy(PROGRAMS / "triage.py", root)
    if str(PROGRAMS) not in sys.path:
        sys.path.insert(0, str(PROGRAMS))
    triage = importlib.import_module("triage")
    (root / "tickets.json").write_text(json.dumps(triage.tickets()))
    return root


def _carried_out(parent: Preloaded, words: list[str], workspace: Path) -> Any:
    pid = parent.start(words, workspace)
    code = parent.wait(pid)
    if code != 0:
        said = (workspace / f"{pid}.err").read_text()[-2000:]
        raise RuntimeError(f"skill-fleet {' '.join(words)}: exit {code}: {said}")
    return json.loads((workspace / f"{pid}.out").read_text())


def _outcome(result: Any) -> str:
    return json.dumps({**{name: result[name] for name in OUTCOME}, "rounds": _scores(result)})


def _scores(result: Any) -> list[Any]:
    return [(line["score"], line["best"], line["instructions"]) for line in result["rounds"]]


def _ledger_of(workspace: Path) -> Path:
    return workspace / ".skill-fleet" / "ledger.sqlite"


def _ledger(workspace: Path) -> dict[str, int]:
    """What the ledger itself says: answers paid twice, attempts lost, all attempts."""
    with contextlib.closing(sqlite3.connect(_ledger_of(workspace))) as db:
        settled = "(select key, count(*) n from attempt where state='settled' group by key)"
        return {
            "repeated": db.execute(f"select count(*) from {settled} where n > 1").fetchone()[0],  # noqa: S608
            "lost": db.execute("select count(*) from attempt where state='lost'").fetchone()[0],
            "calls": db.execute("select count(*) from attempt").fetchone()[0],
        }


def _attempts(ledger: Path) -> int:
    if not ledger.exists():
        return 0
    try:
        with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=1)) as db:
            return int(db.execute("select max(id) from attempt").fetchone()[0] or 0)
    except sqlite3.Error:
        return 0  # the schema is being made


def _serve() -> None:
    """The preloaded parent: a question a line, an answer a line."""
    for name in PRELOADED:
        with contextlib.suppress(ModuleNotFoundError):  # an optional part
            importlib.import_module(name)
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise RuntimeError("the preloaded parent has threads: a fork might copy a lock that is held")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        if "start" in asked:
            ready, said = os.pipe()
            answer = os.fork()
            if answer == 0:
                _become(asked["start"], Path(asked["workspace"]), said)
            os.close(said)
            os.read(ready, 1)  # the moments of a run begin where its command line begins
            os.close(ready)
        else:
            pid, status = os.waitpid(asked["ended"], os.WNOHANG)
            answer = None if pid == 0 else os.waitstatus_to_exitcode(status)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _become(words: list[str], workspace: Path, ready: int) -> None:
    """Be the process of a command line, from here to its end; tell the parent when it begins."""
    main = importlib.import_module("skill_fleet.cli.main").main
    os.setsid()
    os.chdir(workspace)
    for number, name in ((1, f"{os.getpid()}.out"), (2, f"{os.getpid()}.err")):
        os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.write(ready, b".")
    os.close(ready)
    raise SystemExit(main(["--workspace", ".", *words]))


if __name__ == "__main__":
    _serve()
