"""When a rule applies: the `for operations tasks`, `if the ticket mentions 'refund'` of a sentence."""

import functools
import re
from dataclasses import dataclass

from skill_fleet.llm.offline import lexicon, text

_SUBJECTS = (
    "tasks?|skills?|requests?|topics?|questions?|documents?|tickets?|inputs?|texts?|cases?|messages?"
    "|examples?|"
    "items?|domains?|drafts?|paths?|ones"
)
_PATH = r"`?[A-Za-z_][\w-]*(?:/[\w.*…<>{}-]+)+/?`?"
_LEAD_FOR = re.compile(
    rf"^(?:for|in|with|on)\s+(?P<what>[^:;.]{{1,120}}?)\s+(?:{_SUBJECTS})\b(?P<rest>[^,:]{{0,80}}?)\s*[,:]\s*",
    re.IGNORECASE,
)
_LEAD_PATH = re.compile(
    rf"^(?:for|in|under)\s+(?:(?:{_SUBJECTS})\s+(?:under|in|at)\s+)?(?P<what>{_PATH})[^,:]{{0,30}}\s*[,:]\s*",
    re.IGNORECASE,
)
_LEAD_ABOUT = re.compile(
    rf"^(?:for\s+)?(?:(?:all|every|any|each)\s+)?(?:{_SUBJECTS})\s+(?:under|in|about|on"
    rf"|that\s+(?:mention|concern)s?)"
    r"\s+(?P<what>[^,:;.]{1,80}?)\s*(?:[,:]\s*|\s+(?=(?:need|have|use|want|should|must|take|get|go"
    r"|belong)s?\b))",
    re.IGNORECASE,
)
_LEAD_WHEN = re.compile(
    r"^(?:when(?:ever)?|if|where)\s+(?P<what>[^:]{1,200}?)\s*(?:[,:]\s*|\s+then\s+)", re.IGNORECASE
)
_TABLE_ROW = re.compile(rf"^\|?\s*(?P<what>{_PATH}|`?[a-z][a-z_]+`?)\s*(?:\||->|→|=>|:)\s*(?=[A-Z\"'`#])")
_TRAIL_FOR = re.compile(rf"[\s,]+for\s+(?P<what>[^,:;.]{{1,80}}?)\s+(?:{_SUBJECTS})\s*[.!]?$", re.IGNORECASE)
_TRAIL_WHEN = re.compile(
    rf"[\s,]+(?:when(?:ever)?|if)\s+(?P<what>(?:the|a|its|it)\s+(?:[\w-]+\s+)?(?:{_SUBJECTS}"
    rf"|it)?\s*(?:is|are|mentions?|"
    r"says?|contains?|concerns?|starts?|begins?|belongs?|lives?|asks?)\b.{1,160}?)\s*[.!]?$",
    re.IGNORECASE,
)
_TRAIL_ABOUT = re.compile(
    rf"[\s,]+for\s+(?:{_SUBJECTS})\s+(?:about|under|on|in"
    rf"|that\s+mention)\s+(?P<what>[^:;]{{1,100}}?)\s*[.!]?$",
    re.IGNORECASE,
)
_UNIVERSAL = re.compile(
    r"^(?:the|this|these|such|all|every|each|any|most|both|other|our|your|new)\b\s*", re.IGNORECASE
)
_FILLER = frozenset(
    """
        path paths taxonomy task tasks skill skills under starts start starting mentions mention
        mentioning contains contain containing about says concerns concern asks ask involves involve
        belongs belong belonging category domain domains lives live lies sits request requests topic
        topics question ticket tickets input inputs text texts message messages document documents
        is are folder folders top level related kind type whose name begins begin word words term
        terms like e.g example examples deals case cases item items one ones
    """.split()
)
_QUOTED = re.compile(r"'([^'\n]{1,60})'|\"([^\"\n]{1,60})\"|`([^`/\n]{1,60})`|“([^”\n]{1,60})”")
_SEPARATOR = re.compile(r"\s*(?:,|;|\bor\b|\band\b|/(?=\s))\s*", re.IGNORECASE)
_READ = 800
_VERBISH = re.compile(r"^(?:'|\"|`|“|or\b|and\b)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a condition is held against: the example at hand.

    Attributes:
        path: Parts of the taxonomy path, where the example has one.
        stems: Stems of the words of its prose.
        lowered: That prose in lower case, for quoted words.
    """

    path: tuple[str, ...] = ()
    stems: frozenset[str] = frozenset()
    lowered: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """Any of its parts is enough.

    Attributes:
        paths: Beginnings (or inner runs) of a taxonomy path.
        quoted: Words looked for as they stand, lower case.
        topics: Sets of stems, each of which must be wholly there.
        said: The clause as written.
    """

    paths: tuple[tuple[str, ...], ...] = ()
    quoted: tuple[str, ...] = ()
    topics: tuple[frozenset[str], ...] = ()
    said: str = ""

    def match(self, scene: Scene) -> float:
        """0 does not apply, 1 by the words of the task, 2 by its path or by the very words quoted."""
        if any(_runs_in(path, scene.path) for path in self.paths):
            return 2.0
        if any(_word_in(quoted, scene.lowered) for quoted in self.quoted):
            return 2.0
        parts = frozenset(text.stem(word) for part in scene.path for word in part.split("_"))
        if any(topic <= parts for topic in self.topics):
            return 2.0
        if any(topic <= scene.stems for topic in self.topics):
            return 1.0
        return 0.0 if scene.path else self._by_field(scene)

    def _by_field(self, scene: Scene) -> float:
        """With no path known yet, the subject is guessed from the words: `operations` for `kubernetes`."""
        named = [topic for topic in self.topics if len(topic) == 1]
        named += [frozenset({text.stem(word) for word in path[-1].split("_")}) for path in self.paths]
        guess = lexicon.field_of(scene.stems)
        return 1.0 if guess and any(topic & guess for topic in named) else 0.0


def _runs_in(run: tuple[str, ...], path: tuple[str, ...]) -> bool:
    size = len(run)
    return bool(size) and any(path[at : at + size] == run for at in range(len(path) - size + 1))


def _word_in(quoted: str, lowered: str) -> bool:
    at = lowered.find(quoted)
    while at >= 0:
        if at == 0 or not lowered[at - 1].isalnum():
            return True
        at = lowered.find(quoted, at + 1)
    return False


@functools.lru_cache(maxsize=8192)
def split_condition(sentence: str) -> tuple[Condition | None, str]:
    """The condition a sentence states, or None, and the rest: what to do then."""
    body = sentence[:_READ].lstrip("-*+•# \t")
    for pattern in (_LEAD_PATH, _LEAD_FOR, _LEAD_ABOUT, _TABLE_ROW):
        found = pattern.match(body)
        if found:
            return _read(_whole(found)), body[found.end() :]
    found = _LEAD_WHEN.match(body)
    if found:
        clause, rest = found.group("what"), body[found.end() :]
        while _VERBISH.match(rest) and "," in rest:
            more, _, rest = rest.partition(",")
            clause, rest = f"{clause}, {more}", rest.strip()
        return _read(clause), rest
    for pattern in (_TRAIL_ABOUT, _TRAIL_WHEN, _TRAIL_FOR):
        found = pattern.search(body)
        if found:
            condition = _read(found.group("what"))
            if condition is not None:
                return condition, body[: found.start()] + "."
    return None, body


def _whole(found: re.Match[str]) -> str:
    rest = found.groupdict().get("rest") or ""
    return f"{found.group('what')} {rest}".strip()


@functools.lru_cache(maxsize=4096)
def _read(clause: str) -> Condition | None:
    """The condition of a clause; None when it names nothing in particular (`for every task`)."""
    bare = _UNIVERSAL.sub("", clause.strip())
    paths = tuple(
        tuple(part.lower() for part in re.sub(r"[`…*.<>{}]", "", raw).strip("/").split("/") if part)
        for raw in re.findall(_PATH, bare)
    )
    quoted = tuple(next(part for part in groups if part).lower() for groups in _QUOTED.findall(bare))
    topics = []
    if not quoted:
        for alternative in _SEPARATOR.split(re.sub(_PATH, " ", bare)):
            kept = [word for word in text.content_words(alternative) if word.lower() not in _FILLER]
            topic = frozenset(text.stem(part) for word in kept for part in word.split("-"))
            if topic:
                topics.append(topic)
    paths = tuple(path for path in paths if path)
    if not (paths or quoted or topics):
        return None
    return Condition(paths, quoted, tuple(topics), clause.strip())
