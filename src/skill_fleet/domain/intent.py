"""A skill's description turned into the wish of a person who does not have that skill yet.

A description says "Creates X. Use when Y."; a person says "I need help to create X; it comes up when Y". The
rules: sentences are sorted into what the skill does, what it covers, when it is used, and the rest (lists of
trigger words, what not to use it for, requirements), which is dropped; verbs get their plain form; the
skill's own name is replaced by "this"; one of several voices is drawn by hash. Nothing but the description
is read.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from skill_fleet.domain import phrases
from skill_fleet.domain.blemishes import placeholder_in
from skill_fleet.domain.leaks import names_skill
from skill_fleet.domain.verbs import GERUND, THIRD_PERSON, gerund, plain_form
from skill_fleet.domain.words import terms, tokens

_READ_CHARACTERS = 4_000
_MAIN_CHARACTERS = 220
_DETAIL_CHARACTERS = 140
_OCCASION_CHARACTERS = 200
_FEWEST_TERMS = 4


@dataclass(frozen=True)
class _Said:
    """A description taken apart."""

    does: str = ""
    about: str = ""
    detail: str = ""
    occasion: str = ""


def intent_of(description: str, name: str, *, draw: str) -> str | None:
    """The wish behind a description, or None when too little of it is left without the name.

    Args:
        description: The description of a skill.
        name: The skill's name; its words never stand in the wish in their order.
        draw: Any text; with the same one, the same description gives the same wish.
    """
    said = _taken_apart(_cleaned(description))
    parts = [_without_name(part, name) for part in (said.does, said.about, said.detail, said.occasion)]
    if len(set(terms(" ".join(parts)))) < _FEWEST_TERMS:
        return None
    for attempt in range(len(phrases.DO_VOICES)):
        wish = _spoken(_Said(*parts), f"{draw}/{attempt}")
        if wish and not names_skill(wish, name) and not placeholder_in(wish):
            return wish
    return None


def _cleaned(description: str) -> str:
    first, *bullets = phrases.BULLET.split(description[:_READ_CHARACTERS].strip())
    text = ", ".join([first, *map(_lowered, bullets)])
    text = re.sub(r"\$\{[^}]*\}", "", text)
    text = phrases.MARKUP.sub("", text)
    for short, long in (
        ("e.g.", "for example"),
        ("i.e.", "that is"),
        ("etc.", "etc"),
        ("vs.", "vs"),
        ("…", ""),
        ("...", ""),
    ):
        text = text.replace(short, long)
    return re.sub(r"\s+", " ", re.sub(r":\s*,", ":", text)).strip()


def _sentences(text: str) -> list[str]:
    parts = [part for sentence in phrases.SENTENCE.split(text) for part in phrases.INNER_USE.split(sentence)]
    stripped = (part.lstrip(" ;:,-–—").rstrip(" .;:,-–—") for part in parts)
    return [part for part in stripped if part]


def _taken_apart(text: str) -> _Said:
    does = about = detail = occasion = ""
    for sentence in _sentences(text):
        use = phrases.OCCASION.fullmatch(sentence)
        if use and (use.start("how") or not (does or about)):
            occasion = occasion or _occasion(use["how"].lower(), use["rest"])
        elif phrases.DROPPED.match(sentence):
            continue
        elif does or about:
            detail = detail or _detail(sentence)
        else:
            does, about = _main(sentence)
    if occasion.startswith("for ") and not (does or about):
        about, occasion = occasion.removeprefix("for "), ""
    return _Said(does, about, detail, occasion)


def _occasion(how: str, rest: str) -> str:
    if how == "for" and re.match(r"(?:requests|prompts|tasks) (?:like|such as|to)", rest, re.IGNORECASE):
        return ""
    return f"{how} {_clipped(_lowered(_of_people(rest)), _OCCASION_CHARACTERS)}"


def _detail(sentence: str) -> str:
    """A further sentence as something to include: what it covers, or what is done, as a noun."""
    for pattern in (phrases.COVERS, phrases.HELPS):
        found = pattern.match(sentence)
        if found:
            return _clipped(_of_people(sentence[found.end() :]), _DETAIL_CHARACTERS)
    first = sentence.partition(" ")[0].lower().strip(",")
    if first not in THIRD_PERSON and first not in GERUND:
        return ""
    return _clipped(_in_form(_of_people(sentence), gerund), _DETAIL_CHARACTERS)


def _main(sentence: str) -> tuple[str, str]:
    """What a sentence says is done (plain verb first), or what it is about."""
    sentence = _bare(sentence)
    first, _, rest = _of_people(sentence).partition(" ")
    verb = plain_form(first.strip(",:"))
    if verb and rest and verb not in phrases.EMPTY_VERBS:
        return _clipped(_in_form(f"{first} {rest}", str), _MAIN_CHARACTERS), ""
    thing = rest if verb and rest else f"{first} {rest}"
    return "", _clipped(_lowered(thing), _MAIN_CHARACTERS)


def _bare(sentence: str) -> str:
    """The sentence without what only says that this is a skill, a guide, a prompt."""
    for pattern in (phrases.SUBJECT, phrases.USE_TO, phrases.HELPS, phrases.HEAD):
        found = pattern.match(sentence)
        if not found or (
            pattern is phrases.HEAD
            and plain_form(sentence.partition(" ")[0])
            and "prompt" not in found.group()
        ):
            continue
        stripped = re.sub(r"^(?:for|to|on|of|about) ", "", sentence[found.end() :])
        if len(stripped.split()) > 2:
            sentence = stripped
    return sentence


def _in_form(sentence: str, form: Callable[[str], str]) -> str:
    """The first verb and those coordinated with it, brought to the form that `form` makes of a plain one."""
    first, _, rest = sentence.partition(" ")
    word = first.strip(",:").lower()
    head = form(plain_form(word))
    forms = THIRD_PERSON if word in THIRD_PERSON else GERUND if word in GERUND else {}

    def changed(found: re.Match[str]) -> str:
        verb = forms.get(found[2])
        return f"{found[1]}{form(verb) if verb else found[2]}"

    # A verb stands at once after the first only behind a comma: "creates, runs"; "tests runs" has a noun.
    before = ", " if first.endswith(",") else " "
    return head + phrases.COORDINATED.sub(changed, f"{before}{rest}")


def _of_people(text: str) -> str:
    for pattern, word in phrases.PEOPLE:
        text = pattern.sub(word, text)
    return text


def _lowered(text: str) -> str:
    """The text with a small first letter, unless the first word is a name or an abbreviation."""
    first = text.partition(" ")[0].strip(",;:")
    known = plain_form(first) or first.lower() in phrases.COMMON or first.endswith("ing")
    plain = first[:1].isupper() and first[1:].islower() and known
    return text[:1].lower() + text[1:] if plain else text


def _clipped(text: str, limit: int) -> str:
    """The text up to the last clause that ends within the limit."""
    text = text.lstrip(" ;:,").rstrip(" .;:,")
    if len(text) > limit:
        head = text[:limit]
        ends = [head.rfind(mark) for mark in (", ", "; ", " — ", " – ", " - ", ": ")]
        cut = max(ends)
        text = head[: cut if cut > limit // 3 else head.rfind(" ")]
    if text.count("(") > text.count(")"):
        text = text[: text.rfind("(")]
    return phrases.LOOSE_END.sub("", text)


def _without_name(text: str, name: str) -> str:
    """The text with every run of the name's words replaced by "this", or "such" before a noun."""
    words = tokens(name)
    if not words:
        return text
    run = r"[\W_]{0,3}".join(map(re.escape, words))
    pattern = re.compile(
        rf"(?:\b(?:an?|the)\s+)?(?<![^\W_]){run}(?:s|es)?(?![^\W_])(?P<next>\s+[^\W\d_]+)?", re.IGNORECASE
    )

    deed = bool(plain_form(words[0]))

    def replaced(found: re.Match[str]) -> str:
        following = found["next"] or ""
        if deed and (not found.start() or text[: found.start()].endswith("to ")):
            return f"do this{following}"
        noun = following and following.strip().lower() not in phrases.FUNCTION_WORDS
        return f"{'such' if noun else 'this'}{following}"

    return pattern.sub(replaced, text)


def _spoken(said: _Said, draw: str) -> str:
    """The parts in one of the voices."""

    def voice(kind: str, voices: Sequence[str]) -> str:
        return voices[int(hashlib.sha256(f"{draw}/{kind}".encode()).hexdigest(), 16) % len(voices)]

    sentences = []
    if said.does:
        sentences.append(voice("do", phrases.DO_VOICES).format(said.does))
    elif said.about:
        sentences.append(voice("about", phrases.ABOUT_VOICES).format(said.about))
    elif said.occasion:
        return voice("only", phrases.ONLY_OCCASION_VOICES).format(said.occasion)
    if said.detail:
        sentences.append(voice("detail", phrases.DETAIL_VOICES).format(said.detail))
    if said.occasion:
        sentences.append(voice("occasion", phrases.OCCASION_VOICES).format(said.occasion))
    return " ".join(sentences)
