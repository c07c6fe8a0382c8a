"""The sealed test: how often it was read, and what may be concluded from one more reading."""

import math
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from skill_fleet.domain.trainset import TrainingItem
from skill_fleet.domain.units import unit_key
from skill_fleet.evaluation.measurement import Measurement, paired
from skill_fleet.evaluation.multiplicity import InFamily, compare_with_reference
from skill_fleet.evaluation.statistics import Comparison, alpha_for_read, compare_paired
from skill_fleet.foundation.errors import DataError, StorageError

_SCHEMA = """
create table if not exists test_reading (
  test text not null, reader text not null, number integer not null, primary key (test, reader)
) without rowid;
"""


def count_read(ledger: Path, test: str, reader: str) -> int:
    """Note that a test set is read, and say the how-manieth reading that is.

    Replaying a run is not a new reading: it keeps its number.

    Args:
        ledger: The workspace's ledger file, where the readings are kept.
        test: Digest of the test set.
        reader: Digest of what decides the result, and of the program it ended in.

    Raises:
        StorageError: The ledger cannot be used.
    """
    try:
        with closing(sqlite3.connect(ledger, timeout=30, isolation_level=None)) as db:
            db.execute(_SCHEMA)
            db.execute("begin immediate")
            row = db.execute(
                "select number from test_reading where test=? and reader=?", (test, reader)
            ).fetchone()
            if row is None:
                row = db.execute(
                    "insert into test_reading select ?, ?, coalesce(max(number), 0) + 1 from test_reading"
                    " where test=? returning number",
                    (test, reader, test),
                ).fetchone()
            db.execute("commit")
    except sqlite3.DatabaseError as error:
        raise StorageError(f"The ledger {ledger} cannot be used: {error}.") from error
    return int(row[0])


def next_reading(ledger: Path, test: str) -> int:
    """The number that the next new reading of a test set would have; nothing is noted.

    Raises:
        StorageError: The ledger cannot be read.
    """
    if not ledger.exists():
        return 1
    try:
        with closing(sqlite3.connect(f"{ledger.resolve().as_uri()}?mode=ro", uri=True, timeout=30)) as db:
            if not db.execute("select 1 from sqlite_master where name='test_reading'").fetchone():
                return 1
            row = db.execute("select coalesce(max(number), 0) from test_reading where test=?", (test,))
            return int(row.fetchone()[0]) + 1
    except sqlite3.DatabaseError as error:
        raise StorageError(f"The ledger {ledger} cannot be used: {error}.") from error


def digest_of_test(items: Sequence[TrainingItem]) -> str:
    """A test set by what it holds, whatever order, ids and groups, and whatever the rest of the data is."""
    return unit_key(items)


def groups_needed(alpha: float) -> int:
    """The fewest independent groups of which a sign-flip test can show a difference at this level."""
    return math.ceil(1 - math.log2(alpha))


def judge(baseline: Measurement, candidate: Measurement, *, reads: int, seed: int) -> Comparison:
    """The candidate against the baseline, on the examples scored for both, at the alpha of this reading."""
    a, b, groups = paired(baseline, candidate)
    return compare_paired(a, b, groups, alpha=alpha_for_read(reads), seed=seed)


def judge_family(
    reference: Measurement, candidates: Sequence[Measurement], *, reads: int, seed: int
) -> list[InFamily]:
    """Each candidate against the reference, all together at the alpha of this reading.

    Args:
        reference: Cut, as the candidates are, to the examples scored for all: see `scored_for_all`.
        candidates: In any order.
        reads: The how-manieth reading of the test this is.
        seed: As in `compare_paired`.

    Raises:
        DataError: There is nothing to compare.
    """
    groups = [one.group for one in reference.outcomes]
    scores = [list(one.scores().values()) for one in (reference, *candidates)]
    return compare_with_reference(scores[0], scores[1:], groups, alpha=alpha_for_read(reads), seed=seed)


def scored_for_all(measurements: Sequence[Measurement]) -> list[Measurement]:
    """Measurements of the same examples, cut to those that have a score in all of them, in one order.

    Raises:
        DataError: They are not of the same examples.
    """
    order = [one.item_id for one in measurements[0].outcomes]
    if any({one.item_id for one in found.outcomes} != set(order) for found in measurements):
        raise DataError("The measurements are not of the same examples.", hint="Measure all on one set.")
    scored = [found.scores() for found in measurements]
    kept = [item for item in order if all(item in scores for scores in scored)]
    by_id = [{one.item_id: one for one in found.outcomes} for found in measurements]
    return [Measurement(tuple(outcomes[item] for item in kept)) for outcomes in by_id]
