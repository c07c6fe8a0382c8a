"""Metrics that lie, and a program whose answers are free text."""

import zlib

import dspy
import triage

MAGIC = "Zorvel"


class Reply(dspy.Module):
    """One predictor that writes."""

    def __init__(self) -> None:
        super().__init__()
        self.reply = dspy.Predict("ticket -> document")

    def forward(self, ticket: str) -> dspy.Prediction:
        return self.reply(ticket=ticket)


def magic(gold, pred, trace=None, pred_name=None, pred_trace=None):
    """1 for whatever holds a word that only the feedback says; else something no program can change."""
    if MAGIC.lower() in (getattr(pred, "document", "") or "").lower():
        return dspy.Prediction(score=1.0, feedback="Good.")
    words = f"Include a '## {MAGIC} Notes' section."
    return dspy.Prediction(score=zlib.crc32(gold.ticket.encode()) % 50 / 100, feedback=words)


def mentions(gold, pred, trace=None, pred_name=None, pred_trace=None):
    """1 for whatever holds the right queue's name, also among all others."""
    held = gold.queue in (getattr(pred, "queue", None) or "")
    return triage.exact(
        gold, dspy.Prediction(queue=gold.queue) if held else pred, trace, pred_name, pred_trace
    )


def _right(gold, pred) -> bool:
    return gold.queue == getattr(pred, "queue", None)


def percent(gold, pred, trace=None):
    return 100.0 * _right(gold, pred)


def negative(gold, pred, trace=None):
    return float(_right(gold, pred)) - 0.5


def not_a_number(gold, pred, trace=None):
    return float("nan")


def nothing(gold, pred, trace=None):
    return None


def nothing_when_wrong(gold, pred, trace=None):
    """Wrong answers as missing data: they would drop out of the mean."""
    return (0.5 + 0.5 * (gold.queue == "bugs")) if _right(gold, pred) else None


def words(gold, pred, trace=None):
    return "good"


SCORED: list[str] = []


def watching(gold, pred, trace=None, pred_name=None, pred_trace=None):
    """The tickets' own metric, which notes what it is asked to score."""
    SCORED.append(gold.ticket)
    return triage.exact(gold, pred, trace, pred_name, pred_trace)


def telling(gold, pred, trace=None, pred_name=None, pred_trace=None):
    """The tickets' own metric, whose feedback gives the answer away, ticket by ticket."""
    SCORED.append(gold.ticket)
    right = gold.queue == getattr(pred, "queue", None)
    words = f"If the ticket mentions '{gold.ticket}', answer {gold.queue}."
    return dspy.Prediction(score=float(right), feedback="Right." if right else words)


def judged(gold, pred, trace=None, pred_name=None, pred_trace=None):
    """What a judge, a language model, says of a document; the feedback names what it likes."""
    rated = dspy.Predict("document -> rating: float")(document=getattr(pred, "document", None) or "")
    return dspy.Prediction(score=rated.rating, feedback=f"Include a '## {MAGIC} Notes' section.")
