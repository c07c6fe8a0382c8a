"""What a run through a provider with faults keeps of what it promises."""

import math
from collections.abc import Mapping, Sequence

from chaos_harness import Books, Outcome

FOR_GOOD = {
    "content_filter": "content_filter",
    "context": "context_window_exceeded",
    "not_found": "unsupported_model",
    "auth": "auth",
    "quota": "billing",
}
"""Faults that no further attempt mends -> the code of the error that they stop a run with."""


def broken_laws(found: Outcome, clean: Outcome, books: Books, faults: Mapping[str, float]) -> list[str]:
    """What a run of ours did not keep, in words; nothing when all is well.

    Args:
        found: The run with faults.
        clean: The run without.
        books: The provider's, of the run with faults.
        faults: Fault -> share of the requests that were to meet it; none for a run without.
    """
    laws = {
        f"{found.calls} calls counted, {books.requests} served": found.calls == books.requests,
        f"{found.tokens[0]} tokens known, {books.read_tokens} read": found.tokens[0] == books.read_tokens,
        f"${found.usd[0]} known, ${books.read_usd} read": abs((found.usd[0] or 0) - books.read_usd) < 1e-9,
        f"{found.failed_scores} failures were scored": found.failed_scores == 0,
        **_bill(found, books),
        **_met(books, faults),
    }
    if not set(faults) & set(FOR_GOOD):
        laws |= {
            f"it {found.status}: {found.error}": found.status == "succeeded",
            "another program": found.hash == clean.hash,
            f"other scores: {found.scores}": found.scores == clean.scores,
            f"{found.excluded} examples are excluded": found.excluded == 0,
        }
    else:
        laws |= _told(found, clean, faults)
    return [law for law, kept in laws.items() if not kept]


def billed_right(found: Outcome, books: Books) -> bool:
    """Whether what the provider billed lies in the range of the bill."""
    return all(_bill(found, books).values())


def _bill(found: Outcome, books: Books) -> dict[str, bool]:
    return {
        f"{books.tokens} tokens billed, not in {found.tokens}": within(books.tokens, found.tokens),
        f"${books.usd} billed, not in {found.usd}": within(books.usd, found.usd),
    }


def _met(books: Books, faults: Mapping[str, float]) -> dict[str, bool]:
    """A provider without its faults shows nothing. One that is for good may be met by a single request."""
    met = sum(books.faults.get(name, 0) for name in faults)
    others = sorted(set(books.faults) - set(faults))
    laws = {f"{', '.join(others)} met, which nobody asked for": not others}
    if faults:
        expected = books.requests * sum(faults.values())
        fewest = 1 if set(faults) & set(FOR_GOOD) else max(1.0, expected - 4 * math.sqrt(expected))
        few = f"{met} of {books.requests} requests met {', '.join(faults)}: {expected:.0f} were to"
        laws[few] = met >= fewest
    return laws


def _told(found: Outcome, clean: Outcome, faults: Mapping[str, float]) -> dict[str, bool]:
    """What does not pass is reported: by exclusions, or by what stopped the run. Else it changed nothing."""
    stopped = found.status in {"stopped", "failed"} and found.error != ""
    as_clean = found.status == "succeeded" and (found.hash, found.scores) == (clean.hash, clean.scores)
    causes = {FOR_GOOD[name] for name in faults if name in FOR_GOOD}
    return {
        "neither exclusions nor a cause are reported": stopped or found.excluded > 0 or as_clean,
        f"it gives another cause: {found.error}": not found.error or _caused(found.error, causes),
        "it stopped without a word on how to go on": found.error == "" or found.resume != "",
    }


def _caused(error: str, causes: set[str]) -> bool:
    """Whether one of the causes is the code of an error; where most examples fail, it is in its words."""
    code, _, words = error.partition(": ")
    return code in causes or (code == "provider" and any(f"({cause}" in words for cause in causes))


def within(number: float, ends: Sequence[float | None]) -> bool:
    """Whether a number lies between two ends, the upper of which may be open."""
    low, high = ends
    return low is not None and number >= low - 1e-9 and (high is None or number <= high + 1e-9)
