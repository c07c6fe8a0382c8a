"""What came of a capped run, read from its ledger's file, its events and its gates."""

import contextlib
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from caps_harness import SECONDS_A_CALL, Case, Ran, Watch, Whole, ran

from skill_fleet.foundation.files import read_json
from skill_fleet.llm.budget import Limits
from skill_fleet.optimization.records.runs import RunFolder

_A_WHILE = 0.05


@dataclass(frozen=True)
class Verdict:
    """What came of one capped run.

    Attributes:
        hit: The stage whose call was refused first, or None when the cap was not reached.
        used: Share of the cap that was used.
        faults: What broke, in words.
    """

    hit: str | None
    used: float
    faults: tuple[str, ...]


def judge_capped(done: Ran, case: Case, kind: str, limits: Limits) -> Verdict:
    """What a capped run came to, read from its ledger's file, its events and its gates."""
    books = _books(done.place.ledger)
    result, watch = done.result, done.watch
    cap = getattr(limits, kind)
    spent = {"calls": books.calls, "tokens": books.tokens, "usd": books.usd, "minutes": books.calls / 60}[
        kind
    ]
    halted = bool(watch.refused)
    hit = next(iter(watch.refused.values()))[0] if halted else None
    slack = case.threads * SECONDS_A_CALL / 60 if kind == "minutes" else 1e-9
    checks = {
        f"{spent} {kind} of {cap}": spent > cap + slack,
        "calls made are not the ledger's": result.calls["made"] != books.calls,
        "phases are not the ledger's": result.calls["by_phase"] != books.by_phase,
        "tokens are not the ledger's": result.tokens != {"input": books.input, "output": books.output},
        "dollars are not the ledger's": abs((result.usd or 0.0) - books.usd) > 1e-9,
        "attempts are open": books.open > 0,
        "a call that no gate let through": books.calls != sum(watch.entered.values()),
        # Who had passed the door when it closed may still begin.
        f"{done.begun_late} tasks begun after the halt": done.begun_late > case.threads,
        "a call after the end": books.last_start > _finished_at(done.folder) + 1e-3,
        "not exact": kind == "calls" and any(_inexact(watch, gate) for gate in watch.refused),
        **(_halted_faults(done) if halted else {"it did not end well": result.status != "succeeded"}),
    }
    return Verdict(
        hit, spent / cap if cap else 1.0, tuple(words for words, broken in checks.items() if broken)
    )


def _inexact(watch: Watch, gate: int) -> bool:
    """Whether a gate refused before its ceiling on calls, or let one through above it."""
    _, before, ceiling = watch.refused[gate]
    return ceiling is None or (before != ceiling and watch.entered.get(gate, 0) > 0) or before < ceiling


def _halted_faults(done: Ran) -> dict[str, bool]:
    result, error = done.result, done.finished.error
    searched = result.baseline["validation"] is not None
    return {
        f"it is {result.status}, {result.stop_reason}": (result.status, result.stop_reason)
        != ("stopped", "budget"),
        "no exit code 5": error is None or error.exit_code != 5,
        "it cannot be resumed": result.resume != f"skill-fleet runs resume {result.run_id}",
        "no best so far": searched and not done.folder.candidate.exists(),
        "the best so far is worse than the baseline": searched
        and (result.optimized["validation"] or 0.0) < result.baseline["validation"],
    }


def judge_late(done: Ran) -> list[str]:
    """What went on after a run was over."""
    time.sleep(_A_WHILE)
    now = _books(done.place.ledger).calls
    made = done.result.calls["made"]
    faults = {
        f"{now - made} calls in the ledger after the end": now != made,
        f"{done.watch.knocks} tasks at a gate after the end": done.watch.knocks > 0,
    }
    return [words for words, broken in faults.items() if broken]


def judge_resumed(done: Ran, case: Case, found: Whole) -> list[str]:
    """Whether a capped run, gone on with without the cap, ends where it would have ended."""
    again = ran(done.place, case, Limits(), resume=done.folder)
    books = _books(done.place.ledger)
    faults = {
        f"resumed: {again.result.status}": again.result.status != "succeeded",
        "resumed: another program": again.result.program_hash != found.hash,
        f"resumed: {books.twice} answers paid twice": books.twice > 0,
        "resumed: fewer calls than there are": books.calls < len(found.calls),
    }
    return [words for words, broken in faults.items() if broken]


@dataclass(frozen=True)
class Books:
    """What a ledger's file says of all attempts in it."""

    calls: int
    open: int
    input: int
    output: int
    usd: float
    by_phase: dict[str, int]
    last_start: float
    twice: int

    @property
    def tokens(self) -> int:
        return self.input + self.output


def _books(ledger: Path) -> Books:
    with contextlib.closing(sqlite3.connect(ledger)) as db:
        rows = db.execute(
            "select state, phase, input_tokens, output_tokens, usd, started_at, key from attempt"
        )
        rows = rows.fetchall()
    phases = [row[1] for row in rows]
    settled = [row[6] for row in rows if row[0] == "settled"]
    return Books(
        calls=len(rows),
        open=sum(row[0] == "open" for row in rows),
        input=sum(row[2] or 0 for row in rows),
        output=sum(row[3] or 0 for row in rows),
        usd=sum(row[4] or 0.0 for row in rows),
        by_phase={phase: phases.count(phase) for phase in sorted(set(phases))},
        last_start=max((row[5] for row in rows), default=0.0),
        twice=len(settled) - len(set(settled)),
    )


def _finished_at(folder: RunFolder) -> float:
    """When the run wrote its result, in seconds since the epoch."""
    read_json(folder.result, what="result")
    return folder.result.stat().st_mtime
