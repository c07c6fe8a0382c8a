"""The journal's promises, held by every store of it: files and database pass the same suite."""

import json
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import orjson
import pytest

from skill_fleet.foundation.errors import StorageError
from skill_fleet.llm.journal.spent import PhaseSpent, Usage
from skill_fleet.llm.testing import ScriptedModel

USAGE = Usage(10, 5, 0.25)
Pay = Callable[..., str]


def test_an_answer_is_there_once_settled_and_not_before(stores: Any) -> None:
    journal, other = stores.open(), stores.open()
    attempt = journal.open_attempt("run", "k", "judge", "m")
    assert journal.lookup("k") is other.lookup("k") is journal.recall("k") is None
    assert other.spent("run").lost == 1, "an open attempt counts as spent, for whoever looks"
    assert journal.settle(attempt, "k", "m", '"first"', USAGE) == '"first"'
    assert journal.recall("k") == other.lookup("k") == '"first"'
    spent = other.spent("run")
    assert (spent.calls, spent.settled, spent.failed, spent.lost, spent.usd) == (1, 1, 0, 0, 0.25)
    assert (spent.by_phase, spent.by_model) == ({"judge": 1}, {"m": 1})
    assert spent.phases == {"judge": PhaseSpent(1, 15, 0.25)}


def test_the_first_answer_of_a_key_stays_and_both_payments_are_booked(stores: Any) -> None:
    one, two = stores.open(), stores.open()
    first = one.open_attempt("run", "k", "evaluation", "m")
    second = two.open_attempt("run", "k", "evaluation", "m")
    assert one.settle(first, "k", "m", '"first"', USAGE) == '"first"'
    assert two.settle(second, "k", "m", '"second"', USAGE) == '"first"'
    assert two.lookup("k") == '"first"'
    assert one.settle(first, "k", "m", '"first"', USAGE) == '"first"', "settling twice changes nothing"
    assert (two.spent("run").usd, two.spent("run").calls) == (0.5, 2)


def test_runs_are_counted_apart_and_share_answers(stores: Any, pay: Pay) -> None:
    journal = stores.open()
    pay(journal, "k", run="one")
    assert journal.lookup("k") == '"x"'
    assert journal.spent("two").calls == 0
    assert journal.spent("nobody's") == journal.spent("two")


def test_answers_that_other_runs_paid_for_are_counted_once_each(stores: Any, pay: Pay) -> None:
    before = stores.open()
    for key, run in (("a", "old"), ("b", "old"), ("c", "new"), ("d", "old")):
        pay(before, key, run=run)
    again = stores.open()
    assert again.reused("new") == 0
    for key in ("a", "a", "b", "c", "missing"):
        again.lookup(key)
    pay(again, "e", run="new")
    again.lookup("e")
    assert again.reused("new") == 2, "c is its own, of an earlier process"


def test_unknown_is_not_zero_and_what_never_went_out_is(stores: Any, pay: Pay) -> None:
    journal = stores.open()
    pay(journal, "priced")
    pay(journal, "unpriced", usage=Usage(None, None, None))
    reserved = {"reserved_tokens": 100, "reserved_usd": 1.0}
    journal.fail(journal.open_attempt("run", "r", "evaluation", "m", **reserved), "rate_limit")
    late = journal.open_attempt("run", "t", "evaluation", "m", **reserved)
    journal.fail(late, "timeout", billed=True)
    told = journal.open_attempt("run", "u", "judge", "m", **reserved)
    journal.fail(told, "truncated", usage=Usage(7, 8, 0.5), billed=True)
    journal.open_attempt("run", "o", "evaluation", "m", **reserved)
    spent = journal.spent("run")
    assert (spent.calls, spent.settled, spent.failed, spent.lost) == (6, 2, 3, 1)
    assert spent.usd_unknown_calls == 3, "the unpriced, the timeout and the open one; not the refused one"
    assert spent.usd == 0.75
    assert spent.bound_usd == 0.75 + 1.0 + 1.0, "what is not known counts at its worst case against a cap"
    assert spent.bound_tokens == 15 + 100 + 15 + 100
    assert spent.phases == {"evaluation": PhaseSpent(5, 15, None, 3), "judge": PhaseSpent(1, 15, 0.5)}


def test_what_could_cost_nothing_at_most_has_cost_nothing(stores: Any, pay: Pay) -> None:
    journal = stores.open()
    free = {"reserved_tokens": 100, "reserved_usd": 0.0}
    pay(journal, "there", usage=Usage(10, 5, 0.0))
    journal.fail(journal.open_attempt("run", "t", "judge", "m", **free), "timeout", billed=True)
    journal.open_attempt("run", "killed", "evaluation", "m", **free)
    assert stores.open().reconcile("run") == 1
    journal.open_attempt("run", "under way", "evaluation", "m", **free)
    spent = journal.spent("run")
    assert (spent.lost, spent.usd, spent.usd_unknown_calls, spent.usd_open_calls) == (2, 0.0, 0, 0)
    assert spent.phases == {"evaluation": PhaseSpent(3, 15, 0.0, 2), "judge": PhaseSpent(1, 0, 0.0, 1)}
    journal.open_attempt("run", "no price", "evaluation", "m", reserved_tokens=100)
    assert journal.spent("run").usd_unknown_calls == 1, "no bound is not a bound of zero"


def test_what_is_under_way_is_told_from_what_is_unknown_for_good(stores: Any) -> None:
    journal = stores.open()
    reserved = {"reserved_tokens": 100, "reserved_usd": 1.0}
    journal.fail(journal.open_attempt("run", "t", "judge", "m", **reserved), "timeout", billed=True)
    attempt = journal.open_attempt("run", "o", "evaluation", "m", **reserved)
    spent = journal.spent("run")
    assert (spent.usd_unknown_calls, spent.usd_open_calls, spent.usd_unknown_for_good) == (2, 1, 1)
    journal.settle(attempt, "o", "m", '"x"', USAGE)
    spent = journal.spent("run")
    assert (spent.usd_unknown_calls, spent.usd_open_calls, spent.usd_unknown_for_good) == (1, 0, 1)
    journal.open_attempt("run", "dead", "evaluation", "m", **reserved)
    stores.open().reconcile("run")
    assert journal.spent("run").usd_unknown_for_good == 2, "a process that died knows nothing any more"


def test_what_a_dead_process_left_open_is_lost_once_and_only_of_its_run(stores: Any, pay: Pay) -> None:
    dead = stores.open()
    dead.open_attempt("run", "lost", "evaluation", "m")
    dead.open_attempt("other run", "other", "evaluation", "m")
    pay(dead, "there")
    journal = stores.open()
    assert journal.reconcile("run") == 1
    spent = journal.spent("run")
    assert (spent.calls, spent.settled, spent.lost, spent.usd_unknown_calls) == (2, 1, 1, 1)
    assert journal.lookup("there") == '"x"', "paid and there: never asked again"
    assert journal.lookup("lost") is None
    assert journal.reconcile("run") == 0, "reconciling twice changes nothing"
    assert journal.spent("run") == spent
    assert journal.reconcile("other run") == 1


def test_an_answer_that_comes_after_its_process_was_given_up_is_kept_with_its_cost(stores: Any) -> None:
    slow, new = stores.open(), stores.open()
    late = slow.open_attempt("run", "k", "evaluation", "m", reserved_tokens=999, reserved_usd=9.0)
    assert new.reconcile("run") == 1
    again = new.open_attempt("run", "k", "evaluation", "m")
    assert slow.settle(late, "k", "m", '"late, but first"', USAGE) == '"late, but first"'
    assert new.settle(again, "k", "m", '"second"', USAGE) == '"late, but first"'
    spent = new.spent("run")
    assert (spent.calls, spent.settled, spent.lost, spent.usd, spent.bound_usd) == (2, 2, 0, 0.5, 0.5)


def test_a_late_failure_is_booked_and_never_undoes_an_answer(stores: Any) -> None:
    journal = stores.open()
    lost = journal.open_attempt("run", "k", "evaluation", "m")
    settled = journal.open_attempt("run", "s", "evaluation", "m")
    journal.settle(settled, "s", "m", '"s"', USAGE)
    journal.reconcile("run")
    journal.fail(lost, "rate_limit")
    journal.fail(settled, "abandoned", billed=True)
    spent = journal.spent("run")
    assert (spent.settled, spent.failed, spent.lost, spent.usd_unknown_calls) == (1, 1, 0, 0)


def test_what_a_failure_cost_is_not_forgotten_by_a_second_one(stores: Any) -> None:
    """An interrupt comes after the first was noted, and before its caller knew."""
    journal = stores.open()
    attempt = journal.open_attempt("run", "k", "evaluation", "m", reserved_tokens=900)
    journal.fail(attempt, "truncated", usage=USAGE, billed=True)
    before = journal.spent("run")
    journal.fail(attempt, "abandoned", billed=True)
    assert journal.spent("run") == before
    assert before.output_tokens == USAGE.output_tokens


def test_clearing_answers_never_touches_the_ledger(stores: Any, pay: Pay) -> None:
    journal = stores.open()
    for number in range(5):
        pay(journal, f"k{number}", body='"€"')
    before = journal.spent("run")
    assert journal.stats()["responses"] == journal.stats()["attempts"] == 5
    assert journal.stats()["bytes"] > 0
    assert journal.clear_responses() == 5
    assert journal.spent("run") == before
    assert journal.stats() == {"responses": 0, "bytes": 0, "attempts": 5}
    assert journal.lookup("k0") is journal.recall("k0") is None, "not from memory either"
    assert journal.clear_responses() == 0
    assert pay(journal, "k0", body='"new"') == '"new"'


def test_what_is_cleared_of_a_few_runs_is_not_in_memory_either(stores: Any, pay: Pay) -> None:
    journal = stores.open()
    pay(journal, "k0")
    pay(journal, "k1", run="other")
    assert journal.clear_responses(["other"]) == 1
    assert journal.lookup("k0") is not None
    assert journal.lookup("k1") is journal.recall("k1") is None


NASTY = [
    "a\x00b\x01\x1f",
    "half a pair \ud83d here",
    "🦜 \u2028 \u0000 \uffff é ",
    "'; drop table response; --",
    "%s %(key)s :key $1 {0} \\",
    "x" * 1_000_000,
]


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_an_answer_comes_back_to_the_letter(stores: Any, pay: Pay, text: str) -> None:
    body = json.dumps({"text": text})
    journal = stores.open()
    assert pay(journal, "k", body=body) == body
    assert stores.open().lookup("k") == body
    assert json.loads(body)["text"] == text
    raw = json.dumps(text.replace("\ud83d", "?"), ensure_ascii=False)
    assert pay(journal, "raw", body=raw) == raw == stores.open().lookup("raw")


@pytest.mark.parametrize("text", NASTY[:3], ids=range(3))
def test_the_whole_call_path_stores_and_replays_such_answers(stores: Any, rig: Any, text: str) -> None:
    model = ScriptedModel(answer=lambda _: text)
    (first,) = rig(model, store=stores.open()).lm("ask")
    (again,) = rig(model, store=stores.open(), run="later").lm("ask")
    assert first == again == text.replace("\ud83d", "?")
    assert model.attempts == 1


def test_numbers_beyond_32_bits_are_exact(stores: Any, pay: Pay) -> None:
    journal = stores.open()
    for key in "ab":
        pay(journal, key, usage=Usage(2**40 + 1, 2**33, 1e-7))
    journal.open_attempt("run", "c", "evaluation", "m", reserved_tokens=2**41, reserved_usd=1e9)
    spent = stores.open().spent("run")
    assert (spent.input_tokens, spent.output_tokens) == (2**41 + 2, 2**34)
    assert (spent.bound_tokens, spent.bound_usd) == (2**42 + 2**34 + 2, 1e9 + 2e-7)
    assert orjson.loads(orjson.dumps(spent.by_phase)) == {"evaluation": 3}, "plain numbers, no decimals"
    assert all(type(value) is int for value in (spent.calls, spent.input_tokens, spent.bound_tokens))
    assert all(type(value) is float for value in (spent.usd, spent.bound_usd))


def test_many_threads_lose_and_double_nothing(stores: Any) -> None:
    journal = stores.open()
    barrier = threading.Barrier(8)

    def work(thread: int) -> list[str]:
        barrier.wait()
        ids = []
        for number in range(25):
            attempt = journal.open_attempt(f"run{thread % 2}", f"k{number}", "evaluation", f"m{thread}")
            ids.append(attempt)
            if number % 5 == 4:
                journal.fail(attempt, "rate_limit")
            else:
                journal.settle(attempt, f"k{number}", "m", f'"{thread}"', Usage(1, 1, 0.5))
        return ids

    with ThreadPoolExecutor(8) as pool:
        ids = [one for ids in pool.map(work, range(8)) for one in ids]
    assert len(set(ids)) == 200
    for run in ("run0", "run1"):
        spent = stores.open().spent(run)
        assert (spent.calls, spent.settled, spent.failed, spent.lost) == (100, 80, 20, 0)
        assert spent.usd == 40.0
    assert journal.stats()["responses"] == 20


def test_one_that_cannot_be_written_spoils_nothing_for_the_others(stores: Any) -> None:
    journal = stores.open()
    barrier = threading.Barrier(8)

    def work(thread: int) -> bool:
        barrier.wait()
        attempt = journal.open_attempt("run", f"k{thread}", "evaluation", "m")
        # Neither store takes half a surrogate pair, PostgreSQL no zero byte; answers are JSON and hold none.
        body = "\ud83d" if thread == 3 else f'"{thread}"'
        try:
            return bool(journal.settle(attempt, f"k{thread}", "m", body, USAGE) == body)
        except (StorageError, UnicodeError):
            return False

    with ThreadPoolExecutor(8) as pool:
        fine = list(pool.map(work, range(8)))
    assert fine == [thread != 3 for thread in range(8)]
    spent = journal.spent("run")
    assert (spent.settled, spent.lost) == (7, 1)
    assert journal.lookup("k3") is None


def test_every_attempt_is_counted_once_whatever_happens(stores: Any) -> None:
    """Against a model of plain counters, with other processes dying and settling late."""
    chance = random.Random(20)
    for trial in range(6):
        run, journal = f"run{trial}", stores.open()
        open_ones: list[tuple[str, str]] = []
        first: dict[str, str] = {}
        count = dict.fromkeys(("calls", "settled", "failed"), 0)
        for step in range(40):
            what = chance.choice(["open", "open", "settle", "fail", "die"])
            if what == "open":
                key = f"{trial}.{chance.randrange(6)}"
                open_ones.append((journal.open_attempt(run, key, "evaluation", "m"), key))
                count["calls"] += 1
            elif what == "die":
                journal = stores.open()
                journal.reconcile(run)
            elif open_ones:
                attempt, key = open_ones.pop(chance.randrange(len(open_ones)))
                if what == "fail":
                    journal.fail(attempt, "server", billed=True)
                    count["failed"] += 1
                else:
                    answer = journal.settle(attempt, key, "m", f'"{step}"', USAGE)
                    assert answer == first.setdefault(key, f'"{step}"')
                    count["settled"] += 1
        spent = stores.open().spent(run)
        assert {name: getattr(spent, name) for name in count} == count
        assert spent.lost == len(open_ones)
        assert {key: stores.open().lookup(key) for key in first} == first


def test_equal_calls_of_many_threads_are_paid_once(stores: Any, rig: Any) -> None:
    model = ScriptedModel(latency=0.01)
    made = rig(model, store=stores.open())
    with ThreadPoolExecutor(8) as pool, dspy.context(disable_history=True):
        answers = list(pool.map(lambda number: made.lm(f"ask {number % 4}")[0], range(64)))
    assert model.attempts == 4 == made.spent.settled
    assert len(set(answers)) == 4


def test_readings_are_numbered_once_and_kept(stores: Any, pay: Pay) -> None:
    pay(stores.open(), "the ledger is there")
    readings = stores.readings()
    assert readings.next("t") == readings.next("t") == 1, "looking notes nothing"
    assert [readings.count("t", reader) for reader in ("a", "b", "a", "c", "b")] == [1, 2, 1, 3, 2]
    assert readings.count("u", "a") == 1
    assert (stores.readings().next("t"), stores.readings().next("u")) == (4, 2)


def test_readers_that_come_together_get_different_numbers(stores: Any, pay: Pay) -> None:
    pay(stores.open(), "the ledger is there")
    barrier = threading.Barrier(6)

    def read(number: int) -> int:
        readings = stores.readings()
        barrier.wait()
        return int(readings.count("t", f"reader {number // 2}"))

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(read, range(6)))
    assert sorted(found) == [1, 1, 2, 2, 3, 3]
    assert found[0] == found[1], "one reader is one reading, also when it comes twice at once"
