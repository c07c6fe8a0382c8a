"""The key in an environment variable: what is around it is left off, and what can be none is refused here.

A key travels in a header of HTTP, which takes printable ASCII only. What else a variable holds would fail
in the depths of a client, once for each attempt, and its words might repeat it.
"""

from collections.abc import Iterable, Mapping

from skill_fleet.foundation.errors import KeyMissing


def key_in(variable: str, environ: Mapping[str, str]) -> str:
    """The key that a variable holds, without the blanks and line breaks around it; empty where there is none.

    Raises:
        KeyMissing: It holds what no key can hold, code `key_malformed`; nothing of it is shown.
    """
    key = environ.get(variable, "").strip()
    odd = _odd(key)
    if odd is not None:
        raise KeyMissing(
            f"The variable {variable} holds {odd}, so it is no key.",
            hint=f"Set it again, to the key alone: export {variable}=…",
            code="key_malformed",
        )
    return key


def first_key(variables: Iterable[str], environ: Mapping[str, str]) -> str | None:
    """The key of the first of several variables that holds one.

    Raises:
        KeyMissing: The first that is not empty holds what no key can hold.
    """
    return next((key for key in (key_in(one, environ) for one in variables) if key), None)


def _odd(key: str) -> str | None:
    """What in it no header takes, in words."""
    if "\n" in key or "\r" in key:
        return "a line break"
    if not key.isascii():
        return "a character that is not ASCII"
    return None if key.isprintable() else "a control character"
