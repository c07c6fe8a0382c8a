"""The ledger of a workspace, read by who makes no calls: what a run has spent."""

import contextlib
import sqlite3
from pathlib import Path

from skill_fleet.llm.journal.spent import Spent, added_up

SPENT = (
    "select state, phase, model, state='failed' and not possibly_billed, count(*),"
    " sum(input_tokens), sum(output_tokens), sum(usd), sum(usd is null and coalesce(reserved_usd, 1) > 0),"
    " sum(coalesce(input_tokens+output_tokens, reserved_tokens)),"
    " sum(coalesce(usd, reserved_usd)), sum(input_tokens+output_tokens is null),"
    " sum(coalesce(input_tokens+output_tokens, reserved_tokens) is null),"
    " sum(coalesce(usd, reserved_usd) is null) from attempt where run=? group by 1, 2, 3, 4"
)
"""Rows of `spent.Group`."""
_ONLY_BY = (
    " from main.response where key in ("
    "select key from ledger.attempt where run in (select value from json_each(:runs))"
    " except select key from ledger.attempt where run not in (select value from json_each(:runs)))"
)
PAID_ONLY_BY = "select count(*), coalesce(sum(length(body)),0)" + _ONLY_BY
"""Responses, and their bytes, that only the runs of a JSON list made calls for."""
CLEAR_PAID_ONLY_BY = "delete" + _ONLY_BY
"""Removes the same."""
_BUSY_SECONDS = 2.0


def spent_by_ledger(ledger: Path, run: str) -> Spent | None:
    """What a run has spent by a ledger's file, which is neither made nor written.

    Returns:
        None where there is no ledger, or it cannot be read.
    """
    if not ledger.exists():
        return None
    try:
        # Not `mode=ro`: what a killed process left in the log beside the file is to be read too.
        address = f"{ledger.absolute().as_uri()}?mode=rw"
        with contextlib.closing(sqlite3.connect(address, timeout=_BUSY_SECONDS, uri=True)) as db:
            db.execute("pragma query_only=1")
            return added_up(db.execute(SPENT, (run,)).fetchall())
    except sqlite3.Error:
        return None
