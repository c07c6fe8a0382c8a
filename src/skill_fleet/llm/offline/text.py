"""Words, stems, sentences and slugs: the little linguistics that every other room uses.

All functions are pure; the frequent ones remember their last answers.
"""

import ast
import functools
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9+#]*(?:[.'-][A-Za-z0-9+#]+)*")
_STOP = frozenset(
    """a about after again all also am an and any are as at be because been before being between both but
    by can could did do does doing down during each else every few for from further get give given had
    has have having he her here him his how i if in into is it its itself just let like made make makes
    many me might more most must my need needed needs new no nor not now of off often on once one only
    onto or other our out over own per please put same shall she should so some somebody someone
    something such sure take than that the their them then there these they thing things this those
    through to together too toward under until up upon us use used using very via want wants was way we
    well were what whatever when where whether which while who why will with within without would you
    your able across agent agents ai always anything around create creates creating describe describes
    document ensure mention mentions theirs thing worth somebody first second next last instead included
    forgotten away wrong says say said really actually honestly clearly please two three four five six
    seven eight nine ten dozen hundred thousand million twenty thirty forty fifty sixty ninety minutes
    hours days weeks months years minute hour day week month year today yesterday tomorrow monday friday
    go goes going gone went come comes asks asked ask everyone explain explains good guide help helping
    helps including instruction instructions know learn shows show skill skills teach teaches teaching
    team teams user users write writes writing build builds building want team's people person someone's
    keep keeps right whole step steps properly""".split()
)
_SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"')\]]))\s+(?=[A-Z\"'`#*\[(\d-])|\n+")
_SOFT_WRAP = re.compile(r"(?<=[^.!?:;\n|])\n[ \t]*(?=[a-z(\"'`0-9A-Z])(?![-*+#|]|\d+[.)])")
_WARNED = re.compile(r"\\[^\\'\"abfnrtvxuUN0-7\n]|\d(?:and|else|for|if|in|is|or|not)\b")
"""What Python's reader of literals warns about: escapes and numbers that are none."""
_LITERAL_LIMIT = 200_000
_LISTED = re.compile(r"«««\n(.*?)\n»»»|«(.*?)»", re.DOTALL)


@functools.lru_cache(maxsize=8192)
def words(text: str) -> tuple[str, ...]:
    """Every word as written, in order; versions, dotted names and hyphenated words stay whole."""
    return tuple(_WORD.findall(text))


@functools.lru_cache(maxsize=32768)
def stem(word: str) -> str:
    """A crude common form: lower case, without plural, -ing, -ed, -er and doubled ends."""
    out = word.lower()
    for suffix in (
        "ations",
        "ation",
        "ments",
        "ment",
        "ings",
        "ing",
        "ies",
        "ied",
        "ers",
        "ed",
        "es",
        "er",
        "s",
    ):
        if out.endswith(suffix) and len(out) - len(suffix) >= 3:
            out = out[: -len(suffix)]
            break
    if len(out) > 3 and out[-1] == out[-2] and out[-1] not in "aeiouls":
        out = out[:-1]
    return out.rstrip("ey") if len(out) > 3 else out


def is_plain(word: str) -> bool:
    """Whether the word carries no subject of its own (articles, pronouns, `write`, `skill`, ...)."""
    return word.lower() in _STOP or len(word) < 2 or word.isdigit() or "'" in word[:3]


@functools.lru_cache(maxsize=8192)
def content_words(text: str) -> tuple[str, ...]:
    """The distinct words with a subject of their own, in order of appearance, as first written."""
    seen: dict[str, str] = {}
    for word in words(text.replace("_", " ").replace("/", " ")):
        if not is_plain(word):
            seen.setdefault(word.lower(), word)
    return tuple(seen.values())


@functools.lru_cache(maxsize=8192)
def stems(text: str) -> frozenset[str]:
    """The stems of the content words; a hyphenated word counts whole and in parts."""
    out = set()
    for word in content_words(text):
        out.add(stem(word))
        if "-" in word:
            out.update(stem(part) for part in word.split("-") if len(part) > 1)
    return frozenset(out)


def overlap(left: frozenset[str], right: frozenset[str]) -> float:
    """Shared stems by the geometric mean of both sizes, in [0, 1]."""
    if not left or not right:
        return 0.0
    return len(left & right) / float(len(left) * len(right)) ** 0.5


@functools.lru_cache(maxsize=4096)
def unwrap(text: str) -> str:
    """The text with lines joined that an editor wrapped; lists, headings and table rows stay lines."""
    return _SOFT_WRAP.sub(" ", text.replace("\r\n", "\n"))


@functools.lru_cache(maxsize=8192)
def sentences(text: str) -> tuple[str, ...]:
    """Sentences and list items, stripped, in order; empty ones left out."""
    parts = (part.strip() for part in _SENTENCE_END.split(unwrap(text)))
    return tuple(part for part in parts if part)


def is_name(word: str) -> bool:
    """Whether the word looks like the name of a technology: capitals or digits inside."""
    if len(word) < 3 or not word[0].isalpha() or word[-1] in "+#":
        return False
    return any(char.isdigit() for char in word) or any(char.isupper() for char in word[1:])


def slug(parts: Iterable[str]) -> str:
    """Lower-case words of letters and digits joined by single hyphens, at most 64 characters."""
    joined = "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts)
    out = re.sub(r"-{2,}", "-", joined).strip("-")
    while len(out) > 64 and "-" in out:
        out = out.rsplit("-", 1)[0]
    return out[:64].strip("-")


def folder(parts: Iterable[str]) -> str:
    """A folder name: lower-case words joined by single underscores."""
    return slug(parts).replace("-", "_")


@functools.lru_cache(maxsize=8192)
def as_list(text: str) -> tuple[str, ...]:
    """The items of a field value that holds a list: JSON, Python, numbered «items», lines or commas."""
    value = parsed(text)
    if isinstance(value, list | tuple):
        return tuple(item if isinstance(item, str) else json.dumps(item) for item in value)
    listed = [long or short for long, short in _LISTED.findall(text)]
    if listed:
        return tuple(item.strip() for item in listed)
    lines = [re.sub(r"^\s*(?:[-*+]|\d+[.)]|#+)\s+", "", line).strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if len(lines) == 1 and "," in lines[0]:
        return tuple(part.strip() for part in lines[0].split(",") if part.strip())
    return tuple(lines)


@functools.lru_cache(maxsize=4096)
def parsed(text: str) -> object:
    """The value of a text that is JSON or a Python literal; None when it is neither."""
    stripped = text.strip()
    if not stripped or stripped[0] not in "[{(\"'":
        return None
    try:
        return json.loads(stripped)
    except (ValueError, RecursionError):
        pass
    return python_literal(stripped)


def python_literal(written: str) -> object:
    """The value of a Python literal; None for anything else, and for what Python would warn about."""
    if len(written) > _LITERAL_LIMIT or _WARNED.search(written):
        return None
    try:
        return ast.literal_eval(written)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def ranked(texts: Sequence[str], limit: int) -> list[str]:
    """The content words of several texts, most frequent first, ties in order of appearance."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for text in texts:
        for word in content_words(text):
            counts[stem(word)] += 1
            first.setdefault(stem(word), word)
    return [first[key] for key, _ in counts.most_common(limit)]


def in_words(items: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def capitalized(text: str) -> str:
    """The text with its first letter in upper case, the rest untouched."""
    return text[:1].upper() + text[1:]


def token_count(text: str) -> int:
    """Tokens as the simulator counts them: four characters each, rounded up."""
    return -(-len(text) // 4)
