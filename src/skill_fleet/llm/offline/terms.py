"""The terms of a task: the phrases a text about it has to speak of."""

import functools
import re

from skill_fleet.llm.offline import lexicon, text, verbs

_ASPECTS = ("the present state", "the expected result", "the record of the work", "the open questions")


@functools.lru_cache(maxsize=4096)
def phrases(terms: tuple[str, ...]) -> tuple[str, ...]:
    """At least five phrases to speak about: terms with articles, their parts, aspects of any work."""
    out = [_with_article(term) for term in terms]
    for term in terms:
        words = term.split()
        if len(words) > 1 and len(out) < 6:
            out.append(_with_article(words[-1]))
    if len(out) < 5:
        out += _ASPECTS[: 6 - len(out)]
    return tuple(dict.fromkeys(out))


def _with_article(term: str) -> str:
    last = term.rsplit(maxsplit=1)[-1]
    bare = (
        lexicon.is_technology(last)
        or last[:1].isupper()
        or last.lower().endswith(("ing", "ion", "ity", "ness", "ance"))
    )
    return term if bare or term.lower().startswith(("the ", "a ", "an ")) else f"the {term}"


@functools.lru_cache(maxsize=4096)
def ranked_terms(said: str, limit: int, goal: str = "") -> tuple[str, ...]:
    """Terms by worth; those of the goal itself count more than what is told around it."""
    scored: dict[str, tuple[float, int]] = {}
    known: set[str] = set()
    for order, run in enumerate(_runs(said)[:80]):
        for term, worth in _candidates(run):
            if term.lower() not in known:
                known.add(term.lower())
                scored[term] = (worth + 0.5 * (term in goal), order)
    ranked = sorted(scored, key=lambda term: (-scored[term][0], scored[term][1]))
    return tuple(_without_repeats(ranked)[:limit])


def _runs(said: str) -> list[list[str]]:
    """Runs of words with a subject of their own, between articles, opening verbs and punctuation."""
    runs: list[list[str]] = []
    for clause in re.split(r"[,.;:!?()\n]+", said):
        run: list[str] = []
        opening = True
        for word in clause.split():
            bare = word.strip("\"'`*<>[]{}#|\\")
            plain = (
                not re.search(r"[^\d,.%]", bare)
                or text.is_plain(bare)
                or not bare[0].isalnum()
                or _is_adverb(bare)
            )
            if plain or (opening and verbs.base_form(bare)):
                runs.append(run)
                run = []
            else:
                run.append(bare)
            opening = bare.lower() in {"to", "and", "then", "or", "by"}
        runs.append(run)
    return [run for run in runs if run]


def _odd(part: list[str]) -> bool:
    """A verb alone, or a phrase cut off in the middle of a clause."""
    last = part[-1].lower()
    return (
        (len(part) == 1 and bool(verbs.base_form(last)))
        or "n't" in last
        or (len(part) > 1 and last.endswith("ed"))
    )


def _is_adverb(word: str) -> bool:
    """`safely`, `back`; not `weekly` or `reply`."""
    low = word.lower()
    kept = {
        "weekly",
        "daily",
        "monthly",
        "hourly",
        "quarterly",
        "yearly",
        "reply",
        "assembly",
        "supply",
        "family",
    }
    return low in {"back", "away", "ahead", "early", "later"} or (low.endswith("ly") and low not in kept)


def _candidates(run: list[str]) -> list[tuple[str, float]]:
    """The terms a run of words offers, with their worth: the whole of two or three words first."""
    sizes = [size for size in (3, 2, 1) if size <= len(run) and (size < 3 or len(run) == 3)]
    out = []
    for size in sizes:
        for at in range(len(run) - size + 1):
            part = run[at : at + size]
            if _odd(part):
                continue
            named = any(lexicon.is_technology(word) for word in part)
            known = sum(lexicon.is_known(word) for word in part)
            short = size == 1 and len(part[0]) < 4 and not named
            worth = (0.8, 1.4, 1.5)[size - 1] + 0.8 * named + 0.45 * known - 0.5 * short
            out.append((" ".join(part), worth))
    return out


def _without_repeats(terms: list[str]) -> list[str]:
    out: list[str] = []
    used: set[str] = set()
    for term in terms:
        own = {text.stem(word) for word in term.split()}
        if not own <= used:
            out.append(term)
            used |= own
    return out
