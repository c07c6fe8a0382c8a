"""A run through a bad provider ends with the program of a good one, and its bill is right."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from chaos_harness import Books, Case, Outcome, Provider, broken_laws, ours

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "chaos.py"
# A hang takes its time-out; `benchmarks/chaos.py` has it too.
PASSING = (
    "rate_limit", "server_error", "bad_gateway", "unavailable", "reset", "truncated", "malformed", "empty",
    "blank", "length", "no_usage", "slow_first_byte", "drip",
)  # fmt: skip
ALL = tuple((name, 0.4 / len(PASSING)) for name in PASSING)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.close()


def through(provider: Provider, root: Path, case: Case) -> tuple[Outcome, Books]:
    url = provider.begin(case)
    try:
        found = ours(root, case, url)
    finally:
        books = provider.end()
    return found, books


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("optimizer", "threads"), [("gepa", 16), ("miprov2", 8)])
def test_faults_that_pass_change_neither_program_nor_scores_and_are_billed_right(
    provider: Provider, tmp_path: Path, optimizer: str, threads: int
) -> None:
    case = Case(ALL, optimizer, threads)
    (tmp_path / "clean").mkdir()
    (tmp_path / "bad").mkdir()
    clean, plain_books = through(provider, tmp_path / "clean", replace(case.clean, threads=2))
    found, books = through(provider, tmp_path / "bad", case)
    assert plain_books.faults == {}
    assert set(books.faults) == set(PASSING), "each of them was met"
    assert clean.usd[0] == clean.usd[1] == pytest.approx(plain_books.usd)
    assert broken_laws(found, clean, books, passing=True) == []
    assert books.requests > plain_books.requests
    assert found.possibly_billed > 0
    assert books.read_usd < books.usd < found.usd[1]


@pytest.mark.timeout(300)
@pytest.mark.slow  # two whole runs each; `benchmarks/chaos.py --optimizer all` has every optimizer
@pytest.mark.parametrize("optimizer", ["bootstrap_random_search", "infer_rules", "refine"])
def test_nor_do_they_change_what_other_optimizers_find(
    provider: Provider, tmp_path: Path, optimizer: str
) -> None:
    case = Case(ALL, optimizer, 8)
    (tmp_path / "clean").mkdir()
    (tmp_path / "bad").mkdir()
    clean, _ = through(provider, tmp_path / "clean", case.clean)
    found, books = through(provider, tmp_path / "bad", case)
    assert set(books.faults) == set(PASSING)
    assert broken_laws(found, clean, books, passing=True) == []


def test_an_answer_that_is_withheld_is_reported_and_not_scored(provider: Provider, tmp_path: Path) -> None:
    found, books = through(provider, tmp_path, Case((("content_filter", 0.02),), "gepa", 8))
    assert books.faults["content_filter"] > 0
    assert found.excluded > 0 or found.error.startswith("content_filter")
    assert broken_laws(found, found, books, passing=False) == []


@pytest.mark.parametrize("fault", ["quota", "auth", "not_found", "context"])
def test_what_every_call_meets_stops_the_run_with_its_cause(
    provider: Provider, tmp_path: Path, fault: str
) -> None:
    found, books = through(provider, tmp_path, Case(((fault, 1.0),), "gepa", 16))
    assert (found.status, found.hash, found.usd) == ("failed", None, [0.0, 0.0])
    assert ": " in found.error, "a code and a sentence"
    assert broken_laws(found, found, books, passing=False) == []
    assert books.requests == 1, "one call, in the preflight"


GOOD = Outcome("succeeded", "h", {"a": 0.5}, 10, [100, 150], [1.0, 1.5], 2, 0, 0, "", 1.0)
BOOKS = Books(10, {}, 120, 1.2, 100, 1.0, 8)


@pytest.mark.parametrize(
    ("found", "books", "law"),
    [
        ({"calls": 9}, {}, "9 calls counted, 10 served"),
        ({"tokens": [99, 150]}, {}, "99 tokens known, 100 read"),
        ({"usd": [1.1, 1.5]}, {}, "$1.1 known, $1.0 read"),
        ({}, {"tokens": 151}, "151 tokens billed"),
        ({}, {"usd": 1.6}, "$1.6 billed"),
        ({"failed_scores": 1}, {}, "1 failures were scored"),
        ({"hash": "other"}, {}, "another program"),
        ({"scores": {"a": 0.4}}, {}, "other scores"),
        ({"excluded": 1}, {}, "1 examples are excluded"),
        ({"status": "stopped", "error": "billing: no"}, {}, "it stopped: billing: no"),
    ],
)
def test_each_law_can_break(found: dict[str, object], books: dict[str, object], law: str) -> None:
    assert broken_laws(GOOD, GOOD, BOOKS, passing=True) == []
    (said,) = broken_laws(replace(GOOD, **found), GOOD, replace(BOOKS, **books), passing=True)
    assert law in said


STOPPED = replace(GOOD, status="stopped", hash=None, error="auth: no", resume="skill-fleet runs resume r")


@pytest.mark.parametrize(
    ("found", "law"),
    [
        ({"error": "", "resume": ""}, "neither exclusions nor a cause"),
        ({"resume": ""}, "how to go on"),
        ({"calls": 9}, "9 calls counted"),
    ],
)
def test_each_law_of_what_does_not_pass_can_break(found: dict[str, object], law: str) -> None:
    assert broken_laws(STOPPED, GOOD, BOOKS, passing=False) == []
    (said,) = broken_laws(replace(STOPPED, **found), GOOD, BOOKS, passing=False)
    assert law in said


@pytest.mark.slow  # three whole runs, each in a process of its own
@pytest.mark.timeout(400)
def test_the_benchmark_holds_its_laws() -> None:
    faults = ["--fault", "all that pass", "--fault", "content_filter"]
    command = [sys.executable, str(BENCHMARK), "--quick", "--no-stock", "--optimizer", "gepa", *faults]
    done = subprocess.run(command, capture_output=True, text=True, timeout=380, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "0 broken laws")
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + 2
    assert "| 25% | gepa | 8 | succeeded | same |" in rows[2]
