"""Words of a text: tokens, stop words and stems, shared by everything that compares texts.

A token is a run of letters and digits in lower case; hyphens, underscores and slashes separate. Scripts
that are written without spaces (Chinese, Japanese, Korean) give one token a character, so that n-grams mean
something there too. Stems are made by cutting English endings: for comparing, not for showing.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

_TOKEN = re.compile(r"(?<![^\W_])(?:c\+\+|[cf]#)|[^\W_]+")
_UNSPACED = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)
_VOWEL = re.compile(r"[aeiouy]")
_NOT_PLURAL = ("ss", "us", "is")
_KEEP_DOUBLE = ("ll", "ss", "zz")

STOP_WORDS = frozenset(
    """
    a about after again all also am an and any are as at be because been before being below between both but
    by can cannot could did do does doing don down during each few for from further get gets had has have
    having he help helps her here hers him his how i if in into is it its itself just know let like ll make
    makes me more most my need needs no nor not of off on once only or other our ours out over own please re
    s same she should so some something such t than that the their theirs them then there these they this
    those through to too under until up us use used user users uses using ve very want wants was we were
    what when where whether which while who whom why will with would you your yours
    """.split()
)


def tokens(text: str) -> list[str]:
    """Every word of a text in order, case folded, compatibility forms unified."""
    found = _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())
    if text.isascii():
        return found
    return [part for token in found for part in ([token] if token.isascii() else _UNSPACED.findall(token))]


@lru_cache(maxsize=65_536)
def stem(token: str) -> str:
    """What remains of an English word without its endings; `creates`, `creating` and `created` are one."""
    if len(token) < 4 or not (token.isascii() and token.isalpha()):
        return token
    word = token
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith("sses"):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(_NOT_PLURAL):
        word = word[:-1]
    for ending in ("ing", "ed"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) >= 3 and _VOWEL.search(rest) and not word.endswith("eed"):
            doubled = rest[-1] == rest[-2] and not rest.endswith(_KEEP_DOUBLE)
            word = rest[:-1] if doubled else rest
            break
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


def terms(text: str) -> list[str]:
    """The stems of the words that carry meaning, in order: stop words are left out."""
    return [stem(token) for token in tokens(text) if token not in STOP_WORDS]


def contains_run(words: Sequence[str], run: Sequence[str]) -> bool:
    """Whether `run` stands in `words` as it is, one word directly after the other. An empty run does not."""
    width = len(run)
    first = run[0] if width else ""
    wanted = list(run)
    return width > 0 and any(
        words[start] == first and list(words[start : start + width]) == wanted
        for start in range(len(words) - width + 1)
    )
