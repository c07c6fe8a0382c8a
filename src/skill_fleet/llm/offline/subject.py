"""What a task is about: its goal as an instruction, its terms, its technology."""

import functools
import re
from dataclasses import dataclass

from skill_fleet.llm.offline import lexicon, text

_PEOPLE = (
    r"(?:(?:an?|the|our|my|new|junior|any|every|other|your)\s+)*(?:[\w-]+\s+){0,2}?(?:agents?|assistants?|engineers?|developers?|teams?|people|"
    r"users?|me|us|them|someone|somebody|analysts?|managers?|teachers?|students?|writers?|colleagues?|newcomers?|it|"
    r"staff|reviewers?|researchers?|editors?|leads?)"
)
_LEADS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"^(?:please|hi|hello|hey|ok|so|now|basically)[,!.\s]+",
        r"^(?:can|could|would) you\s+(?:please\s+)?",
        r"^(?:i|we)(?:'d| would)? (?:want|need|like|wish|would like|require|are looking for|have to have)\s+(?:to have\s+)?",
        r"^(?:create|write|build|make|draft|produce|develop|design|author|give (?:me|us)|add)\s+(?=(?:an?|the|some|one|new|my|our)?\s*(?:[\w-]+\s+){0,3}(?:skill|guide|instructions))",
        r"^(?:an?|the|some|one|our|my)?\s*(?:[\w-]+\s+){0,2}?(?:agent )?(?:skills?|guides?|instructions)\s+(?:for|on|about|that|to|which|covering|of|in|so that|with which)\s+",
        rf"^(?:helps?|lets?|teach(?:es)?|guides?|allows?|enables?|shows?|makes?|supports?|instructs?|gets?|walks?)\s+{_PEOPLE}\s+(?:through\s+|with\s+|in\s+|on\s+)?(?:how to\s+|to\s+be able to\s+|to\s+|can\s+|in how to\s+)?",
        rf"^{_PEOPLE}\s+(?:to be able to|that can|who can|which can|should be able to|should know how to|must be able to|that|who|should|can|could|must|needs? to|has to|have to|to|will)\s+",
        r"^(?:teach|show|help|tell|guide|train|coach)\w*\s.{1,40}?\bhow to\s+",
        r"^(?:help|assist|support|explains?|teach(?:es)?|shows?|describes?|covers?)\s+(?:with\s+)?(?:how to\s+|in\s+)?",
        r"^(?:how (?:to|do (?:i|we|you)|can (?:i|we)|should (?:i|we))|to|be able to|know how to|learn (?:how )?to)\s+",
    )
)
_CUT = re.compile(
    r"\s*(?:[;:—]|\s-\s|,?\s(?:so that|because|since|whenever|which means|even when|in case)\b|,\s(?:and then|but|with|including|so)\b).*$"
)
_VERBS = frozenset(
    """add adopt align analyse analyze answer apply archive ask assemble assess audit automate back backfill balance
    benchmark brief build bump cache calculate calibrate catch choose chunk clarify clean close coach collect combine
    compare compile compose compress condense configure consolidate convert coordinate cut debug decide decline
    decompose deduplicate define deliver deploy describe design detect develop diagnose document draft drain edit
    elicit encrypt enforce escalate estimate evaluate examine explain explore export extract facilitate fetch fill
    find fix forecast format fuzz gather generate grade group handle harden identify implement import improve inspect
    install integrate interview introduce investigate isolate join judge keep label lay lead lint list load localize
    lock log maintain manage map mark measure merge migrate mock model moderate monitor move negotiate normalise
    normalize onboard open optimise optimize order organise organize outline pack parse patch pin pipe plan polish
    prepare present prevent price prioritise prioritize process profile promote propose protect prove prune publish
    pull push query rank read rebase rebuild recommend reconcile record recover redact reduce refactor refine reject
    release remove rename render renew repair replace replay reply report reproduce request rescue resize resolve
    respond restore restrict retire retry revert review revise revoke rewrite roll rotate run sample sanitise sanitize
    scale scan schedule scope score scrape screen search secure segment select send separate serve set shard ship
    shorten shrink sign simplify size sketch slice sort specify split stage standardise standardize start stop store
    stream structure stub study style summarise summarize survey switch synthesize tag tailor take teach tell test
    throttle tidy time trace track train transcribe transform translate triage trim tune turn type unblock uncover
    update upgrade upload use validate verify version visualise visualize vet walk warn weigh wire work wrap write""".split()
)


@dataclass(frozen=True, slots=True)
class Subject:
    """A task, understood.

    Attributes:
        goal: An instruction without a full stop, `roll back a failed Kubernetes deployment`.
        thing: The main noun phrase, `Kubernetes deployment`.
        terms: Terms worth speaking about, the most telling first; never empty.
        technology: The language or tool named, or an empty text.
        language: Tag for code fences, or an empty text.
        action: The verb the goal starts with, lower case, or an empty text.
    """

    goal: str
    thing: str
    terms: tuple[str, ...]
    technology: str
    language: str
    action: str


@functools.lru_cache(maxsize=4096)
def subject_of(task: str, extra: tuple[str, ...] = ()) -> Subject:
    """The subject of a task description; `extra` are terms somebody already found, which come first."""
    goal = _goal(task)
    action = _verb_of(goal)
    own = key_terms(task, 8)
    terms = tuple(dict.fromkeys([*(term.strip() for term in extra if term.strip()), *own])) or ("the task",)
    found = text.content_words(task)
    technology = next((word for word in found if lexicon.is_technology(word)), "")
    thing = next((term for term in own if " " in term), terms[0])
    return Subject(goal, thing, terms, technology, lexicon.language_of(found), action)


def _goal(task: str) -> str:
    lines = text.sentences(task.strip()) or ("work with the task",)
    goal = lines[0].strip().rstrip(".!? ")
    for _ in range(2):
        for lead in _LEADS:
            shorter = lead.sub("", goal, count=1).strip()
            if len(shorter.split()) >= 2:
                goal = shorter
    cut = _CUT.sub("", goal).strip()
    goal = cut if len(cut.split()) >= 3 else goal
    parts = goal.split()
    if len(parts) > 22:
        goal = " ".join(parts[:22]).rstrip(",;: ")
    goal = re.sub(r"\s+skills?$", "", goal)
    goal = re.sub(r"^an?\s+", "", goal)
    goal = re.sub(r"[<>`*#\[\]{}|\"\\]", "", goal)
    first, _, rest = goal.partition(" ")
    if first.istitle() and (first.lower() in _VERBS or not rest) and not lexicon.is_technology(first):
        goal = f"{first.lower()} {rest}".strip()
    base = _base_form(goal.split(" ")[0])
    if base:
        return f"{base} {goal.partition(' ')[2]}".strip()
    return f"work with {goal}" if goal else "work with the task"


def _base_form(word: str) -> str:
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


def _verb_of(goal: str) -> str:
    first = goal.split(" ")[0].lower()
    return first if first in _VERBS else ""


def is_verb(word: str) -> bool:
    """Whether the word is a verb of work in its plain form."""
    return word.lower() in _VERBS


def third_person(goal: str) -> str:
    """`roll back …` as `Rolls back …`; a second verb after `and` follows."""
    first, _, rest = goal.partition(" ")
    rest = re.sub(r"(?<=\band )([a-z]+)(?= \w)", lambda found: _conjugated(found.group(1)), rest)
    return text.capitalized(f"{_conjugated(first, always=True)} {rest}".strip())


def _conjugated(verb: str, *, always: bool = False) -> str:
    if not always and verb not in _VERBS:
        return verb
    if verb.endswith(("s", "x", "ch", "sh", "z", "o")):
        return f"{verb}es"
    if verb.endswith("y") and verb[-2:-1] not in "aeiou":
        return f"{verb[:-1]}ies"
    return f"{verb}s"


@functools.lru_cache(maxsize=4096)
def key_terms(task: str, limit: int) -> tuple[str, ...]:
    """The terms of a task: named technologies, then noun phrases of two words, then single words."""
    scored: dict[str, tuple[float, int]] = {}
    for order, run in enumerate(_runs(_bare(task))):
        for term, worth in _candidates(run):
            if term.lower() not in {known.lower() for known in scored}:
                scored[term] = (worth, order)
    ranked = sorted(scored, key=lambda term: (-scored[term][0], scored[term][1]))
    return tuple(_without_repeats(ranked)[:limit])


def _runs(said: str) -> list[list[str]]:
    """Runs of words with a subject of their own, between articles, verbs that start a clause and punctuation."""
    runs: list[list[str]] = []
    for clause in re.split(r"[,.;:!?()\n]+", said):
        run: list[str] = []
        opening = True
        for word in clause.split():
            bare = word.strip("\"'`*<>[]{}#|\\")
            plain = not bare or text.is_plain(bare) or not bare[0].isalnum() or _is_adverb(bare)
            if plain or (opening and _base_form(bare)):
                runs.append(run)
                run = []
            else:
                run.append(bare)
            opening = bare.lower() in {"to", "and", "then", "or", "by"}
        runs.append(run)
    return [run for run in runs if run]


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
            named = any(lexicon.is_technology(word) for word in run[at : at + size])
            short = size == 1 and len(run[at]) < 4 and not named
            out.append((" ".join(run[at : at + size]), (1.0, 1.6, 1.7)[size - 1] + 0.8 * named - 0.5 * short))
    return out


def _bare(task: str) -> str:
    """The task without the request around it: its goal and whatever sentences follow."""
    lines = text.sentences(task.strip())
    return "\n".join([_goal(task), *lines[1:]])


def _without_repeats(terms: list[str]) -> list[str]:
    out: list[str] = []
    used: set[str] = set()
    for term in terms:
        own = {text.stem(word) for word in term.split()}
        if not own <= used:
            out.append(term)
            used |= own
    return out
