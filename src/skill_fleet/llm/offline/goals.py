"""The goal of a task: its request, among whatever else it says, as an instruction."""

import functools
import re

from skill_fleet.llm.offline import lexicon, terms, text, verbs

_PEOPLE = (
    r"(?:(?:an?|the|our|my|new|junior|any|every|other|your)\s+)*(?:[\w-]+\s+){0,2}?(?:agents?"
    r"|assistants?|engineers?|developers?|teams?|people|"
    r"users?|me|us|them|someone|somebody|analysts?|managers?|teachers?|students?|writers?|colleagues?"
    r"|newcomers?|it|"
    r"staff|reviewers?|researchers?|editors?|leads?)"
)
_LEADS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"^(?:please|hi|hello|hey|ok|so|now|basically)[,!.\s]+",
        r"^(?:can|could|would) you\s+(?:please\s+)?",
        (
            r"^(?:i|we)(?:'d| would)? (?:want|need|like|wish|would like|require|are looking for|have "
            r"to have)\s+(?:to have\s+)?"
        ),
        r"^.{0,60}?,\s(?:i|we)(?:'d| would)? (?:want|need|like|would like)\s+",
        r"^i'?m (?:looking for|after|trying to)\s+",
        r"^(?:also|then|so|therefore|first)\s+",
        (
            r"^(?:create|write|build|make|draft|produce|develop|design|author|give (?:me|us)"
            r"|add)\s+(?=(?:an?|the|some|one|new|my|our)?\s*(?:[\w-]+\s+){0,3}(?:skill|guide"
            r"|instructions))"
        ),
        (
            r"^(?:an?|the|some|one|our|my)?\s*(?:[\w-]+\s+){0,2}?(?:agent )?(?:skills?|guides?"
            r"|instructions)\s+(?:for|on|about|that|to|which|covering|of|in|so that|with which)\s+"
        ),
        (
            rf"^(?:helps?|lets?|teach(?:es)?|guides?|allows?|enables?|shows?|makes?|supports?"
            rf"|instructs?|gets?|walks?)\s+{_PEOPLE}\s+(?:through\s+|with\s+|in\s+|on\s+)?(?:how to\s+"
            rf"|to\s+be able to\s+|to\s+|can\s+|in how to\s+)?"
        ),
        (
            rf"^{_PEOPLE}\s+(?:to be able to|that can|who can|which can|should be able to|should know "
            rf"how to|must be able to|that|who|should|can|could|must|needs? to|has to|have to|to"
            rf"|will)\s+"
        ),
        r"^(?:teach|show|help|tell|guide|train|coach)\w*\s.{1,40}?\bhow to\s+",
        (
            r"^(?:help|assist|support|explains?|teach(?:es)?|shows?|describes?"
            r"|covers?)\s+(?:with\s+)?(?:how to\s+|in\s+)?"
        ),
        (
            r"^(?:how (?:to|do (?:i|we|you)|can (?:i|we)|should (?:i|we))|to|be able to|know how to"
            r"|learn (?:how )?to)\s+"
        ),
    )
)
_CUT = re.compile(
    r"\s*(?:[;:—]|\s-\s|,?\s(?:so that|because|since|whenever|which means|even when|in case)\b"
    r"|,\s(?:and then|but|with|including|so)\b).*$"
)
_LONGEST = 22
_QUESTION = 1.5
_IMPERATIVE = 2.0
_ASKED = 3.0
_MUST = 3.5
"""How much a sentence looks like the request: a question, an order, a wish, a wish with a plain verb."""
_OTHERS = {
    "me": "the requester",
    "i": "the requester",
    "my": "the requester's",
    "us": "the team",
    "we": "the team",
    "our": "the team's",
    "your": "the agent's",
    "you": "the agent",
}
_OWN = re.compile(rf"\b(?:{'|'.join(_OTHERS)})\b(?!['.])", re.IGNORECASE)


@functools.lru_cache(maxsize=4096)
def goal_of(task: str) -> str:
    """The request among the sentences, cut down to an instruction."""
    lines = text.sentences(task.strip())[:12]
    goal, asked = max((_stripped(line) for line in lines), key=lambda pair: pair[1], default=("", 0.0))
    if asked == _QUESTION:
        return f"answer questions about {_noun_phrase(task)}"
    if asked < _IMPERATIVE and len(goal.split()) > 5:
        return f"work with {_noun_phrase(task)}"
    return _as_order(_shortened(goal), sure=asked == _MUST)


def _shortened(goal: str) -> str:
    """The goal up to a colon or a reason, at most 22 words, without marks that Markdown reads."""
    cut = _CUT.sub("", goal).strip()
    goal = cut if len(cut.split()) >= 3 or (cut and ":" in goal) else goal
    parts = goal.split()
    if len(parts) > _LONGEST:
        goal = re.split(r", (?=[^,]*$)", " ".join(parts[:_LONGEST]))[0].rstrip(",;: ")
    goal = re.sub(r"[<>`*#\[\]{}|\"\\]", "", goal)
    goal = _OWN.sub(lambda found: _OTHERS.get(found.group().lower(), found.group()), goal)
    return re.sub(r"^an?\s+|\s+skills?$", "", goal)


def _as_order(goal: str, *, sure: bool) -> str:
    first, _, rest = goal.partition(" ")
    if first.istitle() and (verbs.is_verb(first) or not rest) and not lexicon.is_technology(first):
        goal = f"{first.lower()} {rest}".strip()
    if first.lower() in {"how", "when", "why", "what", "which", "where"}:
        return f"explain {goal[:1].lower()}{goal[1:]}"
    base = verbs.base_form(first)
    if base or (sure and first):
        return f"{base or first} {rest}".strip()
    return f"work with {goal}" if goal else "work with the task"


def _stripped(line: str) -> tuple[str, float]:
    """A sentence without its polite beginning, and how much it looks like the request."""
    goal = line.strip().rstrip(".!? ")
    found = 1.0
    if re.match(
        r"^(?:how|what|which|when|why|where|who)\b(?!\s+to\b)", goal, re.IGNORECASE
    ) and line.rstrip().endswith("?"):
        plain = re.match(r"^how (?:do|can|should|could) (?:i|we|you|one) ", goal, re.IGNORECASE)
        if not plain:
            return goal, _QUESTION
    for _ in range(2):
        for lead in _LEADS:
            shorter = lead.sub("", goal, count=1).strip()
            if shorter != goal and len(shorter.split()) >= 2:
                before = goal[: len(goal) - len(shorter)].rstrip().lower()
                found = _MUST if before.endswith((" to", " can", " should", " must")) else max(found, _ASKED)
                goal = shorter
    return goal, max(found, _IMPERATIVE if verbs.base_form(goal.split(" ", 1)[0]) else 1.0)


def _noun_phrase(task: str) -> str:
    return next(iter(terms.ranked_terms(task, 1)), "the task")
