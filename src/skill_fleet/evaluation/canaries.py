"""Canaries: answers that say nothing, to see whether a metric pays for them all the same.

Two kinds, made from a program's own answers: the words of each text in another order, in the layout it had;
and, in place of every text, the words of the program's instructions. A metric that reads an answer gives them
little. One that looks for words gives them what it gives the program, and then that is what was optimized.
"""

import random
import re
from collections.abc import Callable
from typing import Any, Literal

import dspy

Kind = Literal["shuffled", "instructions"]

KEPT = 0.9
"""The share of the answers' own score from which on canaries count as paid for."""

_THOUGHTS = "reasoning"
_WORDS_OF_A_TEXT = 12
_MOST_WORDS = 400
_WORD = re.compile(r"[^\W\d_](?:[\w'’-]*\w)?")


def kinds_for(pred: Any) -> tuple[Kind, ...]:
    """The kinds of canary that can be made from an answer.

    None where a field is no text: it may be the one that the metric reads. A short text has no order to lose,
    and thoughts beside it are not what is scored.
    """
    fields = dict(pred.items()) if isinstance(pred, dspy.Prediction) else {}
    if not fields or not all(isinstance(value, str) for value in fields.values()):
        return ()
    answers = [text for name, text in fields.items() if name != _THOUGHTS]
    long = bool(answers) and all(len(_WORD.findall(text)) >= _WORDS_OF_A_TEXT for text in answers)
    return ("shuffled", "instructions") if long else ("instructions",)


def canary(kind: Kind, pred: dspy.Prediction, instructions: str, seed: int) -> dspy.Prediction:
    """An answer with the fields of another that says nothing.

    Args:
        kind: One of `kinds_for(pred)`.
        pred: A program's answer.
        instructions: Of the program, all together.
        seed: Of the order of the words.
    """

    def shuffled(text: str) -> str:
        left = iter(_mixed(text, seed))
        return _WORD.sub(lambda _: next(left), text)

    def of_instructions(_text: str) -> str:
        return " ".join(_mixed(instructions, seed)[:_MOST_WORDS])

    change: Callable[[str], str] = shuffled if kind == "shuffled" else of_instructions
    return dspy.Prediction(**{name: change(text) for name, text in pred.items()})


def paid_for(own: float, canaries: float) -> bool:
    """Whether canaries get about what the answers they are made from get, by their mean scores."""
    return own > 0.0 and canaries >= KEPT * own


def _mixed(text: str, seed: int) -> list[str]:
    words = _WORD.findall(text)
    random.Random(f"{seed}/{text}").shuffle(words)
    return words
