"""A metric that asks a model about every answer."""

import dspy
import triage


class Fit(dspy.Signature):
    """Say whether the queue fits the ticket."""

    ticket: str = dspy.InputField()
    queue: str = dspy.InputField()
    remark: str = dspy.OutputField()


JUDGE = dspy.Predict(Fit)


def judged(gold, pred, trace=None, pred_name=None, pred_trace=None):
    """The tickets' own score; the judge's remark is part of the words, so every scored answer is a call."""
    queue = str(getattr(pred, "queue", None))
    remark = JUDGE(ticket=gold.ticket, queue=queue).remark
    found = triage.exact(gold, pred, trace, pred_name, pred_trace)
    return dspy.Prediction(score=found.score, feedback=f"{found.feedback} {remark[:40]}")
