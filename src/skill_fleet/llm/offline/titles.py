"""Section titles named in a sentence: `plan the sections Overview, Procedure and Rollback`."""

import functools
import re

_QUOTED = (
    r"'(?:#+ )?[^'\n]{2,60}'|\"(?:#+ )?[^\"\n]{2,60}\"|`(?:#+ )?[^`\n]{2,60}`|“[^”\n]{2,60}”|«[^»\n]{2,60}»"
    r"|\*\*[^*\n]{2,60}\*\*"
)
_PROPER = r"(?:#+ )?[A-Z][\w+-]*(?:'s)?(?:(?: (?:of|to|for|the|in|with|a|an|on|by|vs))* (?:& )?[A-Z][\w+-]*)*"
_TITLE = rf"(?:{_QUOTED}|{_PROPER})"
_SEPARATOR = r"(?:\s*[,;|]\s*(?:and\s+|then\s+|or\s+)?|\s+(?:and|then|or|plus)\s+|\s*(?:->|→|>)\s*)"
_LIST = rf"{_TITLE}(?:{_SEPARATOR}(?:the |an? )?{_TITLE})*"
_KEYWORD = r"(?i:sections?|headings?|headers?|section titles?|titles|outline|chapters?)"
_BRIDGE = (
    r"(?i:\s*\b(?:titled|named|called|are|is|be|as|should|must|have|with|the|these|this|that|those"
    r"|exactly|only|following|"
    r"follows|order|in|titles?|of|needed|expected|required|missing|for|it|level-2|named|to|include"
    r"|use|plan|both)\b)*"
)
_AFTER = re.compile(rf"\b{_KEYWORD}\b(?P<bridge>{_BRIDGE}\s*[,:=]?\s*)(?P<list>{_LIST})")
_LOOSE = re.compile(rf"\b{_KEYWORD}\b(?P<bridge>[a-z0-9 ,'-]{{0,80}}?[:,]?\s+)(?P<list>{_LIST})")
_BEFORE = re.compile(rf"(?P<list>{_LIST})\s+(?:level-2 )?{_KEYWORD}\b")
_MARKED = re.compile(r"##+ ([A-Z][\w&' -]*?[\w])(?=['\"`*,.;:)|]|\s*$| and | section| heading)")
_ONLY_LIST = re.compile(rf"^(?i:use|plan|include|write|have)?\s*(?P<list>{_LIST})\s*[.!|]*$")
_ITEM = re.compile(_TITLE)
_OPENERS = frozenset(
    """include add plan use write give missing have put insert provide list create start begin end always
    also make expected need needs require requires the a an every each then finish cover keep name
    mention no only your this order after before its it there skill md readme avoid never do omit drop
    remove""".split()
)


@functools.lru_cache(maxsize=8192)
def titles_in(sentence: str) -> tuple[str, ...]:
    """The section titles that a sentence names, in order; none where it speaks of no section."""
    out: list[str] = []
    for pattern in (_AFTER, _BEFORE):
        for found in pattern.finditer(sentence):
            if pattern is _AFTER and not _starts_proper(found.group("list")):
                continue
            out += _items(found.group("list"))
    if not out:
        loose = _LOOSE.search(sentence)
        items = _items(loose.group("list")) if loose else []
        out = items if len(items) > 1 else []
    out += [title.strip() for title in _MARKED.findall(sentence)]
    return tuple(dict.fromkeys(out))


def bare_list(action: str) -> tuple[str, ...]:
    """The titles of an action that is nothing but a list of two or more of them."""
    found = _ONLY_LIST.match(action.strip())
    items = _items(found.group("list")) if found and _starts_proper(found.group("list")) else []
    return tuple(items) if len(items) > 1 else ()


def _starts_proper(listed: str) -> bool:
    return bool(listed) and not listed[0].islower()


def _items(listed: str) -> list[str]:
    out = []
    for raw in _ITEM.findall(listed):
        title = raw.strip("'\"`“”«»*").lstrip("# ").strip()
        parts = title.split()
        while parts and parts[0].lower() in _OPENERS:
            parts = parts[1:]
        title = " ".join(parts)
        if title and len(parts) <= 6 and not (title.isupper() and len(title) > 4) and title[0].isupper():
            out.append(title)
    return out
