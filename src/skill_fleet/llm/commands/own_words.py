"""What of a program's standard error is its own: not our prompt, which some repeat there, nor a stack trace.

`codex exec` prints a header of its settings, then the whole prompt, then what it does. Whatever stands before
the end of the prompt was said before anything was asked.
"""

import re

_LAST = 40
"""Lines: what went wrong is told at the end."""
# A line that is repeated says so by its length; a shorter one may be one of the prompt's by chance.
_TELLING_LENGTH = 20
_FRAME = re.compile(r"^(?:at .*(?::\d+|<anonymous>)\)?$|File \".*\", line \d+|\^+$)")


def own_words(said: str, prompt: str) -> str:
    """The last lines that are the program's own, blanks made one, without those of a stack trace.

    Args:
        said: Its standard error, or the end of it.
        prompt: What it read.
    """
    asked = _blank_free(prompt)
    whole = {_blank_free(line) for line in prompt.splitlines()}
    lines = [_blank_free(line) for line in said.splitlines()]
    repeated = [number for number, line in enumerate(lines) if _of_prompt(line, asked, whole)]
    after = lines[repeated[-1] + 1 :] if repeated else lines
    return "\n".join([line for line in after if line and _FRAME.match(line) is None][-_LAST:])


def _of_prompt(line: str, asked: str, whole: set[str]) -> bool:
    return bool(line) and (line in whole or (len(line) >= _TELLING_LENGTH and line in asked))


def _blank_free(text: str) -> str:
    return " ".join(text.split())
