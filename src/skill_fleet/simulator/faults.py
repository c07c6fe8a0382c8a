"""What can go wrong with a request, and which of it happens to which request.

A draw depends on the simulator's seed, on the request and on how often it was asked for: never on time, order
or threads.
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

Outcome = Literal["turned_away", "failed", "lost", "unusable", "usable"]
"""What the client has of a fault: a refusal, an error, nothing to read, an answer of no use, an answer."""

REMEMBERED = 200_000
"""Requests whose attempts are counted; the one that was asked longest ago is forgotten first."""

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that can go wrong.

    Attributes:
        name: As in `--fault NAME=RATE`.
        outcome: What the client has of it; a provider bills for all but `turned_away` and `failed`.
        words: What happens.
        permanent: A request that meets it meets it at every attempt.
    """

    name: str
    outcome: Outcome
    words: str
    permanent: bool = False

    @property
    def worked(self) -> bool:
        """Whether the provider did the work, and bills for it."""
        return self.outcome not in {"turned_away", "failed"}


CATALOGUE: Mapping[str, Fault] = {
    each.name: each
    for each in (
        Fault("rate_limit", "turned_away", "429 with Retry-After"),
        Fault("quota", "turned_away", "429 insufficient_quota, for good", permanent=True),
        Fault("auth", "turned_away", "401 invalid_api_key, for good", permanent=True),
        Fault("context", "turned_away", "400 context_length_exceeded, for good", permanent=True),
        Fault("not_found", "turned_away", "404 model_not_found, for good", permanent=True),
        Fault("server_error", "failed", "500"),
        Fault("bad_gateway", "failed", "502 with a page of HTML"),
        Fault("unavailable", "failed", "503 with Retry-After"),
        Fault("hang", "lost", "no byte of an answer until the client gives up"),
        Fault("reset", "lost", "the connection is reset once the request is read"),
        Fault("truncated", "lost", "the connection closes halfway through the body"),
        Fault("malformed", "lost", "200 with broken JSON"),
        Fault("empty", "unusable", "200 without choices"),
        Fault("blank", "unusable", "200 with an empty text"),
        Fault("length", "unusable", "half the text, finish_reason length"),
        Fault("content_filter", "unusable", "no text, finish_reason content_filter"),
        Fault("no_usage", "usable", "the answer without its usage"),
        Fault("slow_first_byte", "usable", "the answer, late"),
        Fault("drip", "usable", "the answer, a few bytes at a time"),
    )
}


def uniform(*parts: object) -> float:
    """A number in (0, 1) fixed by the parts."""
    written = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return (int.from_bytes(hashlib.sha256(written).digest()[:6]) + 0.5) / 2.0**48


def drawn(rates: Mapping[str, float], seed: int, key: str, attempt: int) -> Fault | None:
    """The fault that an attempt meets, by the rates alone.

    Args:
        rates: Fault -> share of requests; together at most 1.
        seed: The simulator's.
        key: Identifies the request: model, prompt, temperature and seed field.
        attempt: How often it was asked for before.
    """
    for_good = {name: rate for name, rate in rates.items() if CATALOGUE[name].permanent}
    passing = {name: rate for name, rate in rates.items() if name not in for_good}
    fault = _at(uniform(seed, key, "for good"), for_good)
    share_left = 1.0 - sum(for_good.values())
    return fault or _at(uniform(seed, key, attempt) * share_left, passing)


def _at(place: float, rates: Mapping[str, float]) -> Fault | None:
    for name in CATALOGUE:  # in one order, however the rates were written
        rate = rates.get(name, 0.0)
        if place < rate:
            return CATALOGUE[name]
        place -= rate
    return None


def latency(median: float, sigma: float, seed: int, key: str, attempt: int) -> float:
    """Seconds an attempt takes: log-normal about the median."""
    if median <= 0:
        return 0.0
    return median * math.exp(sigma * _NORMAL.inv_cdf(uniform(seed, key, attempt, "latency")))


class Attempts:
    """How often each request was asked for, and how many faults in a row it has met."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._seen: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def next(
        self, rates: Mapping[str, float], in_a_row: int, seed: int, key: str
    ) -> tuple[int, Fault | None]:
        """The number of the next attempt at a request, from 0, and the fault that it meets.

        Args:
            rates: As of `drawn`.
            in_a_row: After so many faults that pass, the next attempt is answered.
            seed: As of `drawn`.
            key: As of `drawn`.
        """
        attempt, row = self._seen.pop(key, (0, 0))
        fault = drawn(rates, seed, key, attempt)
        if fault is not None and not fault.permanent and row >= in_a_row:
            fault = None
        self._seen[key] = (attempt + 1, 0 if fault is None else row + 1)
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        return attempt, fault
