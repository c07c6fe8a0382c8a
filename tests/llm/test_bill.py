"""The bill: for any calls with any outcome, the provider's own sum lies between its ends; in both stores."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from dspy.utils.exceptions import LMTransportError
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.config.settings import ModelSpec, PriceOverride
from skill_fleet.llm.calls.bill import bill, paid, tokens_used, usd_range
from skill_fleet.llm.journal.spent import Usage
from skill_fleet.llm.testing import ScriptedModel

UNTOLD = Usage(None, None, None)
OUTCOMES = ("answered", "silent", "refused", "unusable", "broken", "lost", "under way")


@dataclass(frozen=True)
class Call:
    """One attempt: what became of it, what is told of it, what it can take at most, what is really billed."""

    outcome: str
    told: Usage
    most_tokens: int | None
    most_usd: float | None
    billed: tuple[int, float]


def drawn(rng: random.Random) -> Call:
    outcome = rng.choice(OUTCOMES)
    tokens = (rng.randrange(1, 50), rng.randrange(1, 50))
    usd = sum(tokens) / 1024
    priced = rng.random() < 0.8
    told = Usage(*tokens, usd if priced else None) if outcome in {"answered", "unusable"} else UNTOLD
    most = (sum(tokens) + rng.randrange(100)) if rng.random() < 0.9 else None
    free = outcome == "refused" or (outcome not in {"answered", "silent", "unusable"} and rng.random() < 0.5)
    billed = (0, 0.0) if free else (sum(tokens), usd)
    return Call(outcome, told, most, most / 1024 if most is not None and priced else None, billed)


def book(journal: Any, dead: Any, calls: list[Call]) -> None:
    """Into the ledger, as the engine books each."""
    for number, call in enumerate(calls):
        store = dead if call.outcome == "lost" else journal
        reserved = {"reserved_tokens": call.most_tokens, "reserved_usd": call.most_usd}
        attempt = store.open_attempt("run", str(number), "evaluation", "m", **reserved)
        if call.outcome in {"answered", "silent"}:
            store.settle(attempt, str(number), "m", '"x"', call.told)
        elif call.outcome == "refused":
            store.fail(attempt, "rate_limit")
        elif call.outcome == "unusable":
            store.fail(attempt, "truncated", usage=call.told, billed=True)
        elif call.outcome == "broken":
            store.fail(attempt, "timeout", billed=True)


@pytest.mark.parametrize("seed", range(12))
def test_what_the_provider_bills_lies_in_the_range_whatever_happened(stores: Any, seed: int) -> None:
    rng = random.Random(seed)
    calls = [drawn(rng) for _ in range(rng.randrange(1, 40))]
    dead, journal = stores.open(), stores.open()
    book(journal, dead, [call for call in calls if call.outcome != "under way"])
    journal.reconcile("run")
    book(journal, dead, [call for call in calls if call.outcome == "under way"])
    spent = stores.open().spent("run")
    counted = {name: sum(call.outcome == name for call in calls) for name in OUTCOMES}
    assert spent.possibly_billed == counted["broken"] + counted["lost"] + counted["under way"]
    assert (spent.without_usage, spent.open) == (counted["silent"], counted["under way"])
    found = bill(spent)
    least, most = found["tokens_range"]
    charged = [call for call in calls if call.outcome != "refused"]
    assert least == sum(
        call.told.input_tokens + call.told.output_tokens for call in calls if call.told != UNTOLD
    )
    assert least <= sum(call.billed[0] for call in calls)
    assert most is None or most >= sum(call.billed[0] for call in calls)
    assert (most is None) == any(call.told == UNTOLD and call.most_tokens is None for call in charged)
    least_usd, most_usd = found["usd_range"]
    unbounded = [call for call in charged if call.told.usd is None and call.most_usd is None]
    assert least_usd == sum(call.told.usd or 0.0 for call in calls), "dollars of 1024ths add up exactly"
    assert (most_usd is None) == bool(unbounded)
    assert most_usd is None or least_usd <= sum(call.billed[1] for call in calls) <= most_usd
    assert (found["usd"] is None) == any(call.told.usd is None for call in charged)


def test_a_range_without_unknown_calls_is_one_number(stores: Any) -> None:
    journal = stores.open()
    assert bill(journal.spent("run")) == {
        "tokens": {"input": 0, "output": 0},
        "tokens_range": [0, 0],
        "usd": 0.0,
        "usd_range": [0.0, 0.0],
        "usd_unknown_calls": 0,
    }
    book(journal, journal, [Call("answered", Usage(10, 5, 0.25), 100, 1.0, (15, 0.25))])
    found = bill(journal.spent("run"))
    assert (found["tokens_range"], found["usd_range"], found["usd"]) == ([15, 15], [0.25, 0.25], 0.25)


@given(st.floats(0, 1e6), st.integers(0, 3), st.none() | st.floats(0, 1e6))
def test_the_highest_is_never_below_the_lowest(usd: float, unknown: int, most: float | None) -> None:
    low, high = usd_range(usd, unknown, most)
    assert low == usd
    assert high is None or high >= usd
    assert unknown or high == usd


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"usd": 0.125, "calls": {"possibly_billed": 0}}, "$0.12"),
        ({"usd": None, "usd_range": [0.12, 0.15], "calls": {"possibly_billed": 3}},
         "$0.12 to $0.15 (3 calls may have been billed without an answer)"),
        ({"usd": None, "usd_range": [0.12, 0.15], "calls": {"possibly_billed": 1, "without_usage": 9}},
         "$0.12 to $0.15 (1 call may have been billed without an answer, 9 calls answered without usage)"),
        ({"usd": None, "usd_range": [0.12, None], "calls": {"possibly_billed": 1}},
         "at least $0.12 (1 call may have been billed without an answer)"),
        ({"usd": None, "usd_range": [0.0, None], "calls": {"possibly_billed": 0}}, "unknown"),
        ({"usd": None, "calls": {"made": 3}}, "unknown"),
        ({"usd": None, "usd_range": [0.12, 0.1201], "calls": {}}, "$0.12"),
    ],
)  # fmt: skip
def test_the_bill_in_words(value: Mapping[str, Any], words: str) -> None:
    assert paid(value, lambda usd: f"${usd:.2f}") == words


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ([1500, 1500], "1,500 tokens"),
        ([1500, 2500], "1,500 to 2,500 tokens"),
        ([1500, None], "at least 1,500 tokens"),
        ([0, None], "unknown tokens"),
        ([0, 0], "0 tokens"),
        (None, "1,500 tokens"),
    ],
)
def test_its_tokens_in_words(ends: list[int | None] | None, words: str) -> None:
    value = {"tokens": {"input": 1000, "output": 500}} | ({} if ends is None else {"tokens_range": ends})
    assert tokens_used(value, lambda number: f"{number:,}") == words


def test_the_words_of_others_stand_in_the_same_brackets() -> None:
    value = {"usd": None, "usd_range": [1.0, 2.0], "calls": {"possibly_billed": 2}}
    said = paid(value, lambda usd: f"${usd:.0f}", "12 s")
    assert said == "$1 to $2 (2 calls may have been billed without an answer; 12 s)"
    assert paid({"usd": 1.0, "calls": {}}, lambda usd: f"${usd:.0f}", "12 s") == "$1 (12 s)"


@pytest.mark.parametrize(("longest", "bounded"), [(None, False), (50, True)])
def test_an_answer_of_any_length_leaves_no_upper_end(rig: Any, longest: int | None, bounded: bool) -> None:
    price = PriceOverride(input_per_million=1, output_per_million=2)
    made = rig(
        ScriptedModel(fault=broken_once), spec=ModelSpec(model="openai/m", price=price, max_tokens=longest)
    )
    made.lm("hello")
    found = bill(made.spent)
    assert made.spent.possibly_billed == 1
    assert [end is not None for end in (found["tokens_range"][1], found["usd_range"][1])] == [bounded] * 2
    assert found["usd"] is None


def broken_once(number: int, _request: Any) -> None:
    if number == 1:
        raise LMTransportError("The connection broke.")
