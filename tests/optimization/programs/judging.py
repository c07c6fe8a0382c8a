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


OWN = dspy.Predict(Fit)


def with_its_own(gold, pred, trace=None, pred_name=None, pred_trace=None):
    """A metric that brings a model, which nobody counts."""
    OWN.lm = dspy.LM("openai/gpt-own", api_key="none", cache=False, num_retries=0)
    OWN(ticket=gold.ticket, queue=str(getattr(pred, "queue", None)))
    return triage.exact(gold, pred, trace, pred_name, pred_trace)
