"""A run through a bad provider ends with the program of a good one, and its bill is right."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import pytest
from chaos_harness import Books, Case, Outcome, Provider, ours
from chaos_laws import billed_right, broken_laws
from chaos_watch import watched
from dspy.teleprompt import simba

from skill_fleet.evaluation import runner
from skill_fleet.evaluation.attempt import Attempt
from skill_fleet.evaluation.score import NoScore, Score

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


@pytest.fixture(scope="module")
def clean(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """GEPA's run without faults."""
    return through(provider, tmp_path_factory.mktemp("clean"), Case())[0]


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
    assert broken_laws(found, clean, books, dict(case.faults)) == []
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
    assert broken_laws(found, clean, books, dict(case.faults)) == []


WITHHELD = Case((("content_filter", 0.02),), "gepa", 8)


def test_an_answer_that_is_withheld_is_reported_and_not_scored(
    provider: Provider, tmp_path: Path, clean: Outcome
) -> None:
    found, books = through(provider, tmp_path, WITHHELD)
    assert books.faults["content_filter"] > 0
    assert found.excluded > 0 or found.error.startswith("content_filter")
    assert broken_laws(found, clean, books, dict(WITHHELD.faults)) == []


def test_a_measurement_that_scores_its_failures_breaks_the_laws(
    provider: Provider, tmp_path: Path, clean: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = runner.attempt

    def scoring(*args: Any) -> Attempt:
        found = real(*args)
        return Attempt(Score(0.0)) if isinstance(found.result, NoScore) else found

    monkeypatch.setattr(runner, "attempt", scoring)
    found, books = through(provider, tmp_path, Case((("context", 0.02),), "gepa", 8))
    assert books.faults["context"] > 0
    said = broken_laws(found, clean, books, {"context": 0.02})
    assert f"{found.failed_scores} failures were scored" in said
    unseen = broken_laws(replace(found, failed_scores=0), clean, books, {"context": 0.02})
    assert unseen == ["neither exclusions nor a cause are reported"], "and its scores give it away, too"


def test_a_provider_without_the_faults_that_were_asked_for_breaks_a_law(
    provider: Provider, tmp_path: Path, clean: Outcome
) -> None:
    found, books = through(provider, tmp_path, Case())
    assert broken_laws(found, clean, books, {}) == []
    for name, words in (("server_error", "20 were to"), ("content_filter", "20 were to")):
        assert broken_laws(found, clean, books, {name: 0.1}) == [
            f"0 of {books.requests} requests met {name}: {words}"
        ]


def test_a_failure_that_evaluate_scores_is_seen() -> None:
    with watched() as failed, dspy.context(lm=None):
        judge = dspy.Evaluate(devset=[EXAMPLE], metric=lambda *_: 1.0, num_threads=1, max_errors=9)
        assert judge(Failing()).score == 0
        judge(Answering())
    assert failed == ["Evaluate gave 0.0"]


def test_a_failure_that_simba_scores_is_seen() -> None:
    with watched() as failed:
        for program in (Failing(), Answering()):
            simba.wrap_program(program, lambda _gold, pred: float(pred is not None))(EXAMPLE)
    assert failed == ["SIMBA gave 0.0"]


def test_a_failure_that_a_measurement_scores_is_seen() -> None:
    with watched() as failed:
        found = [
            runner.measure(program, [EXAMPLE], Always(), lm=None, num_threads=1, max_failed_share=1.0)
            for program in (Failing(ConnectionError()), Failing(ValueError()), Answering())
        ]
    assert [each.outcomes[0].score is None for each in found] == [True, False, False]
    assert failed == ["a measurement gave 0.0"], "that of the ValueError; an answer may get it"


EXAMPLE = dspy.Example(question="?", id="one").with_inputs("question")


class Failing(dspy.Module):
    """A program that raises."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error or ValueError()

    def forward(self, question: str) -> dspy.Prediction:
        raise self.error


class Answering(dspy.Module):
    """A program that answers."""

    def forward(self, question: str) -> dspy.Prediction:
        return dspy.Prediction(answer=question)


class Always:
    """A metric that gives nothing to any answer."""

    def score(self, gold: Any, prediction: Any) -> Score:
        return Score(0.0)


@pytest.mark.parametrize("fault", ["quota", "auth", "not_found", "context"])
def test_what_every_call_meets_stops_the_run_with_its_cause(
    provider: Provider, tmp_path: Path, clean: Outcome, fault: str
) -> None:
    found, books = through(provider, tmp_path, Case(((fault, 1.0),), "gepa", 16))
    assert (found.status, found.hash, found.usd) == ("failed", None, [0.0, 0.0])
    assert ": " in found.error, "a code and a sentence"
    assert broken_laws(found, clean, books, {fault: 1.0}) == []
    assert books.requests == 1, "one call, in the preflight"


GOOD = Outcome("succeeded", "h", {"a": 0.5}, 100, [100, 150], [1.0, 1.5], 2, 0, 0, "", 1.0)
BOOKS = Books(100, {"reset": 25}, 120, 1.2, 100, 1.0, 8)
OF_ALL = [
    ({"calls": 99}, {}, "99 calls counted, 100 served"),
    ({"tokens": [99, 150]}, {}, "99 tokens known, 100 read"),
    ({"usd": [1.1, 1.5]}, {}, "$1.1 known, $1.0 read"),
    ({}, {"tokens": 151}, "151 tokens billed"),
    ({}, {"usd": 1.6}, "$1.6 billed"),
    ({"failed_scores": 1}, {}, "1 failures were scored"),
]


@pytest.mark.parametrize(
    ("found", "books", "law"),
    [
        *OF_ALL,
        ({}, {"faults": {}}, "0 of 100 requests met reset: 25 were to"),
        ({}, {"faults": {"reset": 4}}, "4 of 100 requests met reset: 25 were to"),
        ({}, {"faults": {"reset": 25, "limit": 1, "died": 2}}, "died, limit met, which nobody asked for"),
        ({"hash": "other"}, {}, "another program"),
        ({"scores": {"a": 0.4}}, {}, "other scores"),
        ({"excluded": 1}, {}, "1 examples are excluded"),
        ({"status": "stopped", "error": "billing: no"}, {}, "it stopped: billing: no"),
    ],
)
def test_each_law_can_break(found: dict[str, object], books: dict[str, object], law: str) -> None:
    assert broken_laws(GOOD, GOOD, BOOKS, {"reset": 0.25}) == []
    (said,) = broken_laws(replace(GOOD, **found), GOOD, replace(BOOKS, **books), {"reset": 0.25})
    assert law in said
    bill = "billed" in law
    assert billed_right(replace(GOOD, **found), replace(BOOKS, **books)) is not bill


STOPPED = replace(GOOD, status="stopped", hash=None, error="auth: no", resume="skill-fleet runs resume r")
REFUSED = replace(BOOKS, faults={"auth": 1})
UNTOUCHED = {"status": "succeeded", "error": "", "resume": ""}


@pytest.mark.parametrize(
    ("found", "books", "law"),
    [
        *OF_ALL,
        ({}, {"faults": {}}, "0 of 100 requests met auth"),
        ({"error": "", "resume": ""}, {}, "neither exclusions nor a cause"),
        (UNTOUCHED, {}, "neither exclusions nor a cause"),
        (UNTOUCHED | {"hash": "h", "scores": {"a": 0.4}}, {}, "neither exclusions nor a cause"),
        ({"error": "internal: ValueError"}, {}, "another cause"),
        ({"error": "provider: The model m failed (timeout)."}, {}, "another cause"),
        ({"resume": ""}, {}, "how to go on"),
    ],
)
def test_each_law_of_what_does_not_pass_can_break(
    found: dict[str, object], books: dict[str, object], law: str
) -> None:
    assert broken_laws(STOPPED, GOOD, REFUSED, {"auth": 0.1}) == []
    assert broken_laws(GOOD, GOOD, REFUSED, {"auth": 0.1}) == [], "it changed nothing"
    most = replace(
        STOPPED, error="provider: 2 of 3 examples failed, like this: The model m failed (auth): no"
    )
    assert broken_laws(most, GOOD, REFUSED, {"auth": 0.1}) == []
    (said,) = broken_laws(replace(STOPPED, **found), GOOD, replace(REFUSED, **books), {"auth": 0.1})
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
