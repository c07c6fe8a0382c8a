"""Verbs of work: their plain forms, and a goal told of somebody."""

import functools
import re

from skill_fleet.llm.offline import text

_VERBS = frozenset(
    """spot pass hold master recognise recognize spell add adopt align analyse analyze answer apply archive
    ask assemble assess audit automate back backfill balance benchmark brief build bump cache calculate
    calibrate catch choose chunk clarify clean close coach collect combine compare compile compose
    compress condense configure consolidate convert coordinate cut debug decide decline decompose
    deduplicate define deliver deploy describe design detect develop diagnose document draft drain edit
    elicit encrypt enforce escalate estimate evaluate examine explain explore export extract facilitate
    fetch fill find fix forecast format fuzz gather generate grade group handle harden identify
    implement import improve inspect install integrate interview introduce investigate isolate join
    judge keep label lay lead lint list load localize lock log maintain manage map mark measure merge
    migrate mock model moderate monitor move negotiate normalise normalize onboard open optimise
    optimize order organise organize outline pack parse patch pin pipe plan polish prepare present
    prevent price prioritise prioritize process profile promote propose protect prove prune publish pull
    push query rank read rebase rebuild recommend reconcile record recover redact reduce refactor refine
    reject release remove rename render renew repair replace replay reply report reproduce request
    rescue resize resolve respond restore restrict retire retry revert review revise revoke rewrite roll
    rotate run sample sanitise sanitize scale scan schedule scope score scrape screen search secure
    segment select send separate serve set shard ship shorten shrink sign simplify size sketch slice
    sort specify split stage standardise standardize start stop store stream structure stub study style
    summarise summarize survey switch synthesize tag tailor take teach tell test throttle tidy time
    trace track train transcribe transform translate triage trim tune turn type unblock uncover update
    upgrade upload use validate verify version visualise visualize vet walk warn weigh wire work wrap
    write""".split()
)


@functools.lru_cache(maxsize=16384)
def base_form(word: str) -> str:
    """The infinitive of a known verb in any form; empty for other words."""
    low = word.lower()
    for form in (
        low,
        low.removesuffix("s"),
        low.removesuffix("es"),
        low.removesuffix("ing"),
        low.removesuffix("ing") + "e",
    ):
        if form in _VERBS:
            return form
    if low.endswith("ing") and len(low) > 6 and low[-4] == low[-5] and low[:-4] in _VERBS:
        return low[:-4]
    return ""


def is_verb(word: str) -> bool:
    """Whether the word is a verb of work in its plain form."""
    return word.lower() in _VERBS


def third_person(goal: str) -> str:
    """`roll back …` as `Rolls back …`; a second verb after `and` follows."""
    first, _, rest = goal.partition(" ")
    rest = (
        re.sub(r"(?<=\band )([a-z]+)(?= \w)", lambda found: _conjugated(found.group(1)), rest)
        if "," not in rest
        else rest
    )
    return text.capitalized(f"{_conjugated(first, always=True)} {rest}".strip())


def _conjugated(verb: str, *, always: bool = False) -> str:
    if not always and verb not in _VERBS:
        return verb
    if verb.endswith(("s", "x", "ch", "sh", "z", "o")):
        return f"{verb}es"
    if verb.endswith("y") and verb[-2:-1] not in "aeiou":
        return f"{verb[:-1]}ies"
    return f"{verb}s"
