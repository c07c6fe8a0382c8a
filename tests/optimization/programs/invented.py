"""A metric that nobody could know: it wants one random section, and only its feedback says which."""

import random
import zlib
from pathlib import Path

import dspy

ELEMENT = (Path(__file__).parent / "element.txt").read_text().strip()
_SCRAMBLE = random.Random(7)


def _present(pred) -> float:
    return float(f"## {ELEMENT}".lower() in (getattr(pred, "skill_content", "") or "").lower())


def _ease(gold) -> float:
    """Something that differs between examples, so that there is a signal, and that no program can change."""
    return zlib.crc32(gold.task_description.encode()) % 100 / 100


def _score(gold, pred) -> float:
    return 0.8 * _present(pred) + 0.2 * _ease(gold)


def named(gold, pred, trace=None, pred_name=None, pred_trace=None):
    """The feedback names the element."""
    words = "Good." if _present(pred) else f"Include a '## {ELEMENT}' section."
    return dspy.Prediction(score=_score(gold, pred), feedback=words)


def shuffled(gold, pred, trace=None, pred_name=None, pred_trace=None):
    """The same letters in another order."""
    letters = list(ELEMENT.replace(" ", "").lower())
    _SCRAMBLE.shuffle(letters)
    words = "Good." if _present(pred) else f"Include a '## {''.join(letters).title()}' section."
    return dspy.Prediction(score=_score(gold, pred), feedback=words)


def bare(gold, pred, trace=None, pred_name=None, pred_trace=None):
    """Only the number."""
    return _score(gold, pred)
