"""A conversation as the one text that a program reads on stdin.

```
(what this is, in two sentences)

=== system ===
(its text)

=== user ===
(its text)

=== assistant ===
(of an example; and so on; the last turn is one to be answered)
```

The texts are untouched: the field marks of DSPy's adapters survive. Where a text has a line that looks like
a heading, all headings get more `=` signs, so that none can be mistaken.
"""

import re

from dspy.lm15 import Request, TextPart
from dspy.utils.exceptions import LMUnsupportedFeatureError

_WHAT = (
    "Below is a conversation, each turn under a heading of its own. Write the next turn of the assistant and "
    "nothing else: no heading, no remark before or after it. Use no tools."
)
_HEADING = re.compile(r"^(={3,}) [a-z]+ =+$", re.MULTILINE)


def conversation(request: Request) -> str:
    """The whole request as one text.

    Raises:
        LMUnsupportedFeatureError: It has tools, or parts that are no text.
    """
    if request.tools:
        raise LMUnsupportedFeatureError("A command takes no tools.", feature="tools", model=request.model)
    turns = _turns(request)
    longest = max((len(found) for _, text in turns for found in _HEADING.findall(text)), default=2)
    marks = "=" * max(3, longest + 1)
    told = [f"{marks} {role} {marks}\n{text}" for role, text in turns]
    return "\n\n".join([_WHAT, *told]) + "\n"


def _turns(request: Request) -> list[tuple[str, str]]:
    turns: list[tuple[str, str]] = []
    system = request.system
    if system:
        turns.append(("system", system if isinstance(system, str) else _text(system, request)))
    turns += [(message.role, _text(message.parts, request)) for message in request.messages]
    return turns


def _text(parts: object, request: Request) -> str:
    texts: list[str] = []
    for part in parts if isinstance(parts, tuple | list) else (parts,):
        if not isinstance(part, TextPart):
            raise LMUnsupportedFeatureError(
                f"A command takes text only, not {getattr(part, 'type', type(part).__name__)}.",
                feature="media",
                model=request.model,
            )
        texts.append(part.text)
    return "\n".join(texts)
