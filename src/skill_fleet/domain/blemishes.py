"""Texts that should not be in data: keys of real services, and words that only hold a place."""

import re

from skill_fleet.domain.words import terms

# Each with words of which one must stand in the text: looking for those is many times cheaper.
_SECRETS = tuple(
    (signs, re.compile(pattern), what)
    for signs, pattern, what in (
        (("PRIVATE KEY",), r"-----BEGIN [A-Z ]*PRIVATE KEY", "a private key"),
        (("AKIA", "ASIA"), r"\bA(?:KI|SI)A[0-9A-Z]{16}\b", "an AWS access key"),
        (
            ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
            r"\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_\w{22,}",
            "a GitHub token",
        ),
        (("xox",), r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}", "a Slack token"),
        (("AIza",), r"\bAIza[0-9A-Za-z_-]{35}", "a Google key"),
        (("sk-",), r"\bsk-(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{20,}", "a model provider's key"),
        (("hf_",), r"\bhf_[A-Za-z0-9]{30,}", "a Hugging Face token"),
        (("eyJ",), r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.", "a signed web token"),
        (("://",), r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/:@]{6,}@", "a password in an address"),
    )
)
# A value that is called, looked up or put in braces is code that fetches the secret, not the secret.
_ASSIGNED = re.compile(
    r"(?i)\b(?:api[_-]?key|secret|token|passw(?:or)?d)\b[\"']?\s*[:=]\s*[\"']?(?=\S*\d)[^\s\"'<>{}$()\[\]]{12,}"
    r"(?![\w.]*[(\[{])"
)
_ASSIGNED_SIGNS = re.compile(r"(?i)(?:key|secret|token|passw(?:or)?d)[\"']?\s*[:=]")
_PLACEHOLDERS = re.compile(
    r"\blorem ipsum\b|\btb[ad]\b|\bto be (?:decided|determined|written|filled in)\b|\bx{3,}\b|\bfoo ?bar\b"
    r"|<[a-z_ -]*(?:here|task|skill)[a-z_ -]*>|\[(?:insert|your)\b[^\]]*\]",
    re.IGNORECASE,
)
_DOTS_ONLY = re.compile(r"[\s.…?_-]*")
_TRAILING_DOTS = re.compile(r"(?:\.\.\.|…)\s*$")
_EMPTY_WORDS = frozenset(
    terms("create creating write make build generate new skill skills good nice python agent")
)


def secret_in(text: str) -> str:
    """What kind of key or password a text seems to hold, or an empty string."""
    for signs, pattern, what in _SECRETS:
        if any(sign in text for sign in signs) and pattern.search(text):
            return what
    if _ASSIGNED_SIGNS.search(text) and _ASSIGNED.search(text):
        return "a key or password"
    return ""


def placeholder_in(text: str, *, whole_task: bool = True) -> str:
    """What makes a text a placeholder, to follow "The text …", or an empty string.

    Args:
        text: The text.
        whole_task: Whether it has to say what is wanted, so that words such as "create a skill" are too few.
    """
    found = _PLACEHOLDERS.search(text)
    if found:
        return f"holds the placeholder '{found.group()[:40]}'"
    if _DOTS_ONLY.fullmatch(text):
        return "is only dots"
    if whole_task and _TRAILING_DOTS.search(text):
        return "breaks off in dots"
    if whole_task and not set(terms(text)) - _EMPTY_WORDS:
        return "does not say what the skill is for"
    return ""
