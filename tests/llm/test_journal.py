"""The journal alone: what it stores, what it counts, what it refuses, and what it survives."""

import ast
import random
import shutil
import sqlite3
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.foundation.errors import StorageError
from skill_fleet.llm.journal.journal import Journal, PhaseSpent, Usage

USAGE = Usage(10, 5, 0.25)


def pay(
    journal: Journal, key: str, *, run: str = "run", body: str | None = None, usage: Usage = USAGE
) -> str:
    attempt = journal.open_attempt(run, key, "evaluation", "m")
    return journal.settle(attempt, key, "m", body or f'"{key}"', usage)


def files(journal: Journal) -> list[Path]:
    return [journal.ledger, journal.responses]


def ledger_states(journal: Journal) -> list[tuple[str, str]]:
    with sqlite3.connect(journal.ledger) as db:
        rows = db.execute("select key, state from attempt order by id").fetchall()
    db.close()
    return rows


def test_an_answer_is_there_once_settled_and_not_before(journal: Journal) -> None:
    attempt = journal.open_attempt("run", "k", "judge", "m")
    assert journal.lookup("k") is None
    assert journal.spent("run").lost == 1, "an open attempt counts as spent"
    assert journal.settle(attempt, "k", "m", '"first"', USAGE) == '"first"'
    assert journal.lookup("k") == '"first"'
    spent = journal.spent("run")
    assert (spent.calls, spent.settled, spent.lost, spent.usd) == (1, 1, 0, 0.25)
    assert spent.by_phase == {"judge": 1}
    assert spent.by_model == {"m": 1}


def test_the_first_answer_of_a_key_stays_and_both_payments_are_booked(journal: Journal) -> None:
    first, second = (journal.open_attempt("run", "k", "evaluation", "m") for _ in range(2))
    assert journal.settle(first, "k", "m", '"first"', USAGE) == '"first"'
    assert journal.settle(second, "k", "m", '"second"', USAGE) == '"first"'
    assert journal.lookup("k") == '"first"'
    assert journal.spent("run").usd == 0.5


def test_runs_are_counted_apart_and_share_answers(journal: Journal) -> None:
    pay(journal, "k", run="one")
    assert journal.lookup("k") == '"k"'
    assert journal.spent("two").calls == 0


def test_answers_that_other_runs_paid_for_are_counted_once_each(journal: Journal) -> None:
    for key, run in (("a", "old"), ("b", "old"), ("c", "new"), ("d", "old")):
        pay(journal, key, run=run)
    again = Journal(journal.ledger, journal.responses)
    assert again.reused("new") == 0
    for key in ("a", "a", "b", "c", "missing"):
        again.lookup(key)
    pay(again, "e", run="new")
    again.lookup("e")
    assert again.reused("new") == 2, "c is its own, of an earlier process"
    again.close()


def test_unknown_is_not_zero_and_what_never_went_out_is(journal: Journal) -> None:
    pay(journal, "priced")
    pay(journal, "unpriced", usage=Usage(None, None, None))
    refused = journal.open_attempt("run", "r", "evaluation", "m", reserved_tokens=100, reserved_usd=1.0)
    journal.fail(refused, "rate_limit")
    late = journal.open_attempt("run", "t", "evaluation", "m", reserved_tokens=100, reserved_usd=1.0)
    journal.fail(late, "timeout", billed=True)
    journal.open_attempt("run", "o", "evaluation", "m", reserved_tokens=100, reserved_usd=1.0)
    spent = journal.spent("run")
    assert (spent.calls, spent.settled, spent.failed, spent.lost) == (5, 2, 2, 1)
    assert spent.usd_unknown_calls == 3, "the unpriced, the timeout and the open one; not the refused one"
    assert spent.usd == 0.25
    assert spent.bound_usd == 0.25 + 1.0 + 1.0, "what is not known counts at its worst case against a cap"
    assert spent.bound_tokens == 15 + 100 + 100


def test_half_a_commit_is_settled_by_reconcile_and_a_lost_call_is_lost(journal: Journal) -> None:
    torn = journal.open_attempt("run", "torn", "evaluation", "m")
    lost = journal.open_attempt("run", "lost", "evaluation", "m")
    other = journal.open_attempt("other run", "other", "evaluation", "m")
    # What a kill between the commits of the two files leaves: the answer, without its settlement.
    with sqlite3.connect(journal.responses) as db:
        db.execute("insert into response values ('torn','\"answer\"',?,'m',7,8,0.5,1.0)", (torn,))
    db.close()
    assert journal.reconcile("run") == 1
    spent = journal.spent("run")
    assert (spent.settled, spent.lost, spent.usd, spent.input_tokens) == (1, 1, 0.5, 7)
    assert journal.lookup("torn") == '"answer"', "paid and there: never asked again"
    assert journal.lookup("lost") is None
    assert journal.reconcile("run") == 0, "reconciling twice changes nothing"
    assert journal.spent("run") == spent
    with sqlite3.connect(journal.ledger) as db:
        rows = dict(db.execute("select attempt, state||possibly_billed from attempt").fetchall())
    db.close()
    assert rows == {torn: "settled0", lost: "lost1", other: "open0"}


def test_clearing_answers_never_touches_the_ledger(journal: Journal) -> None:
    for number in range(5):
        pay(journal, f"k{number}")
    before = journal.spent("run")
    assert journal.clear_responses() == 5
    assert journal.spent("run") == before
    assert journal.stats() == {"responses": 0, "bytes": 0, "attempts": 5}
    assert journal.lookup("k0") is None, "not from memory either"


def test_answers_deleted_by_hand_leave_the_ledger(tmp_path: Path, journal: Journal) -> None:
    pay(journal, "k")
    before = journal.spent("run")
    journal.close()
    shutil.rmtree(journal.responses.parent)
    again = Journal(journal.ledger, journal.responses)
    try:
        assert again.spent("run") == before
        assert again.lookup("k") is None
        pay(again, "k")
        assert again.spent("run").calls == 2
    finally:
        again.close()


def test_answers_deleted_under_a_running_process_cost_no_ledger_line(journal: Journal) -> None:
    pay(journal, "before")
    shutil.rmtree(journal.responses.parent)
    for number in range(200):  # past a checkpoint of the log
        pay(journal, f"after{number}", body='"' + "x" * 5000 + '"')
    assert journal.spent("run").settled == 201
    assert ledger_states(journal).count(("after199", "settled")) == 1


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    "damage",
    [b"this is not a database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 4000, b"\x00" * 5000],
    ids=["text", "broken header", "zeros"],
)
def test_a_damaged_file_gives_one_sentence(journal: Journal, which: int, damage: bytes) -> None:
    pay(journal, "k")
    journal.close()
    files(journal)[which].write_bytes(damage)
    with pytest.raises(StorageError) as caught:
        Journal(journal.ledger, journal.responses)
    assert str(journal.ledger) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 1


def test_a_page_broken_in_the_middle_is_a_storage_error_not_a_wrong_answer(journal: Journal) -> None:
    for number in range(300):
        pay(journal, f"k{number:03}", body='"' + f"{number:03}" * 200 + '"')
    journal.close()
    data = bytearray(journal.responses.read_bytes())
    assert len(data) > 40 * 4096
    for page in range(2, len(data) // 4096):
        data[page * 4096 : page * 4096 + 200] = b"\xee" * 200
    journal.responses.write_bytes(data)
    again = Journal(journal.ledger, journal.responses)
    try:
        refused = 0
        for number in range(300):
            try:
                assert again.lookup(f"k{number:03}") in {None, '"' + f"{number:03}" * 200 + '"'}
            except StorageError:
                refused += 1
        assert refused
    finally:
        again.close()


@pytest.mark.parametrize("which", [0, 1])
def test_a_newer_format_is_refused(journal: Journal, which: int) -> None:
    journal.close()
    path = files(journal)[which]
    with sqlite3.connect(path) as db:
        db.execute("pragma user_version=99")
    db.close()
    with pytest.raises(StorageError, match=rf"{path.name} was written by a newer skill-fleet \(format 99\)"):
        Journal(journal.ledger, journal.responses)


@pytest.mark.parametrize("place", ["/dev/null/state", "/proc/self/nothing"])
def test_a_place_that_cannot_be_written_gives_one_sentence(tmp_path: Path, place: str) -> None:
    for ledger, responses in [(Path(place) / "l", tmp_path / "r"), (tmp_path / "l", Path(place) / "r")]:
        with pytest.raises(StorageError) as caught:
            Journal(ledger, responses)
        assert caught.value.message.count(". ") == 0


def test_a_directory_in_the_place_of_a_file_gives_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    with pytest.raises(StorageError, match="unable to open"):
        Journal(tmp_path / "ledger", tmp_path / "responses")


@pytest.mark.parametrize("which", ["state/ledger.sqlite", "cache/responses.sqlite"])
def test_a_new_journal_waits_for_another_process_that_makes_the_same_file(tmp_path: Path, which: str) -> None:
    """SQLite's own waiting does not cover the change to a write-ahead log."""
    path = tmp_path / which
    path.parent.mkdir()
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("create table x(y)")
    other.execute("begin immediate")
    other.execute("insert into x values(1)")
    later = threading.Timer(0.1, lambda: other.execute("commit"))
    later.start()
    journal = Journal(tmp_path / "state" / "ledger.sqlite", tmp_path / "cache" / "responses.sqlite")
    assert pay(journal, "k") == '"k"'
    journal.close()
    later.join()
    other.close()


def test_an_answer_that_could_not_be_written_is_not_remembered(journal: Journal) -> None:
    attempt = journal.open_attempt("run", "big", "evaluation", "m")
    pages = journal._db.execute("pragma main.page_count").fetchone()[0]
    journal._db.execute(f"pragma main.max_page_count={pages}")
    with pytest.raises(StorageError, match="full") as caught:
        journal.settle(attempt, "big", "m", '"' + "x" * 100_000 + '"', USAGE)
    assert "disk space" in caught.value.hint
    assert journal.lookup("big") is None
    assert journal.spent("run").lost == 1
    journal._db.execute("pragma main.max_page_count=1000000")
    assert pay(journal, "small") == '"small"', "the failed transaction is gone: the next one starts clean"
    assert ledger_states(journal) == [("big", "open"), ("small", "settled")]


def test_a_commit_that_fails_leaves_no_transaction_behind(journal: Journal) -> None:
    """A deferred constraint fails only at commit, as a full disk may."""
    run = journal._db.execute
    run("pragma foreign_keys=on")
    run("create table parent(id integer primary key)")
    run("create table child(id integer references parent(id) deferrable initially deferred)")
    run("create trigger t after insert on response begin insert into child values (7); end")
    attempt = journal.open_attempt("run", "k", "evaluation", "m")
    with pytest.raises(StorageError):
        journal.settle(attempt, "k", "m", '"k"', USAGE)
    assert not journal._db.in_transaction, "an intent written now would vanish with the old transaction"
    assert journal.lookup("k") is None


def copied(journal: Journal, target: Path) -> tuple[Path, Path]:
    """The files as a crash would leave them: database and log, without the shared index."""
    target.mkdir()
    for path in files(journal):
        for source in (path, path.with_name(path.name + "-wal")):
            shutil.copy(source, target / source.name)
    return target / journal.ledger.name, target / journal.responses.name


@pytest.mark.parametrize("harm", ["truncated", "garbage after", "garbage within"])
def test_a_torn_log_opens_and_holds_a_prefix(tmp_path: Path, journal: Journal, harm: str) -> None:
    chance = random.Random(f"torn {harm}")
    for number in range(40):
        pay(journal, f"k{number:02}")
    for trial in range(5):
        ledger, responses = copied(journal, tmp_path / f"crash{trial}")
        for path in (ledger, responses):
            log = path.with_name(path.name + "-wal")
            data = log.read_bytes()
            # Frames of creation come first; a place in the later half tears the answers.
            place = chance.randrange(len(data) // 2, len(data))
            if harm == "truncated":
                data = data[:place]
            elif harm == "garbage after":
                data = data + chance.randbytes(chance.randrange(1, 9000))
            else:
                data = data[:place] + chance.randbytes(len(data) - place)
            log.write_bytes(data)
        again = Journal(ledger, responses)
        try:
            there = [again.lookup(f"k{number:02}") is not None for number in range(40)]
            assert there == sorted(there, reverse=True), "a prefix: nothing after the first gap"
            noted = [key for key, _ in ledger_states(again)]
            assert noted == [f"k{number:02}" for number in range(len(noted))]
            again.reconcile("run")
            spent = again.spent("run")
            assert spent.settled + spent.lost == spent.calls
            assert spent.lost <= 1 or harm != "garbage after"
            if harm == "garbage after":
                assert all(there), "what was whole stays whole"
            assert pay(again, "next") == '"next"'
        finally:
            again.close()


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["settle", "fail", "billed", "leave"]),
            st.integers(0, 6),
            st.integers(0, 1000),
        ),
        max_size=25,
    )
)
def test_every_attempt_is_counted_once_whatever_happens(events: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        journal = Journal(Path(place) / "l", Path(place) / "r")
        first: dict[str, str] = {}
        tokens = 0
        for what, number, size in events:
            key = f"k{number}"
            attempt = journal.open_attempt("run", key, "evaluation", "m", reserved_tokens=2000)
            if what == "settle":
                body = f'"{size}"'
                assert journal.settle(attempt, key, "m", body, Usage(size, 0, None)) == first.setdefault(
                    key, body
                )
                tokens += size
            elif what != "leave":
                journal.fail(attempt, what, billed=what == "billed")
            tokens += 2000 * (what in {"billed", "leave"})
        journal.reconcile("run")
        spent = journal.spent("run")
        kinds = [what for what, *_ in events]
        assert (spent.calls, spent.settled, spent.lost) == (
            len(events),
            kinds.count("settle"),
            kinds.count("leave"),
        )
        assert spent.failed == kinds.count("fail") + kinds.count("billed")
        assert spent.bound_tokens == tokens
        assert {key: journal.lookup(key) for key in first} == first
        journal.close()


def test_nothing_executable_is_ever_loaded() -> None:
    """No pickle, marshal, shelve, eval or yaml.load in the whole source."""
    source = Path(__file__).resolve().parents[2] / "src" / "skill_fleet"
    modules = {"pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "diskcache"}
    found = []
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names = [node.func.id] if node.func.id in {"eval", "exec"} else []
            found += [f"{path.name}: {n}" for n in names if n.split(".")[0] in modules | {"eval", "exec"}]
    assert not found
    assert len(list(source.rglob("*.py"))) > 20


def test_an_answer_paid_after_the_cache_was_deleted_by_hand_is_kept(tmp_path):
    """`rm -rf $DSPY_CACHEDIR` while a process runs: what it pays from then on is there for the next."""
    place = (tmp_path / "state" / "ledger.sqlite", tmp_path / "cache" / "responses.sqlite")
    first = Journal(*place)
    before = first.open_attempt("run", "key-1", "evaluation", "m")
    first.settle(before, "key-1", "m", "{}", Usage(1, 1, 0.0))
    shutil.rmtree(tmp_path / "cache")
    after = first.open_attempt("run", "key-2", "evaluation", "m")
    first.settle(after, "key-2", "m", "{}", Usage(1, 1, 0.0))
    first.close()
    second = Journal(*place)
    assert second.lookup("key-2") == "{}"
    assert second.lookup("key-1") is None
    assert second.spent("run").settled == 2
    second.close()


def test_processes_under_way_meet_again_in_the_file_that_one_of_them_made_anew(tmp_path: Path) -> None:
    """Whoever still holds the removed file goes over to the new one, although there is one again."""
    place = (tmp_path / "state" / "ledger.sqlite", tmp_path / "cache" / "responses.sqlite")
    first, second = Journal(*place), Journal(*place)
    pay(first, "old"), pay(second, "older")
    shutil.rmtree(tmp_path / "cache")
    pay(first, "a1")  # makes it anew
    for journal, key in [(second, "b1"), (second, "b2"), (first, "a2"), (second, "b3")]:
        pay(journal, key)
    third = Journal(*place)
    assert [third.lookup(key) for key in ("a1", "b1", "b2", "a2", "b3")] == [
        '"a1"',
        '"b1"',
        '"b2"',
        '"a2"',
        '"b3"',
    ]
    assert third.spent("run").settled == 7
    for journal in (second, first, third):
        journal.close()
    last = Journal(*place)
    assert last.stats()["responses"] == 5, "nor is anything gone when they end"
    last.close()


@pytest.mark.parametrize("times", [1, 3])
def test_a_file_that_cannot_be_made_anew_is_made_as_soon_as_it_can(journal: Journal, times: int) -> None:
    pay(journal, "old")
    cache = journal.responses.parent
    shutil.rmtree(cache)
    cache.write_text("in the way")
    for number in range(times):
        attempt = journal.open_attempt("run", f"k{number}", "evaluation", "m")
        with pytest.raises(StorageError) as caught:
            journal.settle(attempt, f"k{number}", "m", '"x"', USAGE)
        assert str(cache) in caught.value.message, "the ledger is not what is in the way"
        assert "closed" not in caught.value.message
        assert journal.lookup(f"k{number}") is None
    cache.unlink()
    assert pay(journal, "new") == '"new"'
    with sqlite3.connect(journal.responses) as db:
        assert db.execute("select key from response").fetchall() == [("new",)]
    db.close()


def test_what_goes_wrong_is_said_with_one_full_stop(journal: Journal) -> None:
    journal.close()
    with pytest.raises(StorageError, match=r"closed database\.$"):
        journal.stats()


def test_what_was_spent_is_told_by_phase(journal: Journal) -> None:
    pay(journal, "a")
    pay(journal, "b", usage=Usage(10, 5, None))
    attempt = journal.open_attempt("run", "c", "judge", "m")
    journal.settle(attempt, "c", "m", '"c"', Usage(3, 4, 0.5))
    turned_away = journal.open_attempt("run", "d", "judge", "m")
    journal.fail(turned_away, "auth")
    phases = journal.spent("run").phases
    assert list(phases) == ["evaluation", "judge"]
    assert phases["judge"] == PhaseSpent(calls=2, tokens=7, usd=0.5)
    known = (USAGE.input_tokens or 0) + (USAGE.output_tokens or 0)
    assert phases["evaluation"] == PhaseSpent(calls=2, tokens=known + 15, usd=None)
