"""Rewards that go wrong, and a program whose last answer is never the same twice."""

import dspy
from triage import Triage


def sometimes(args, pred):
    """Breaks on some tickets."""
    if "refund" in args["ticket"]:
        raise KeyError("refund")
    return 0.5


class Wordy(dspy.Module):
    """Says the queue, and last the demonstrations it saw: text on which no two programs agree."""

    def __init__(self) -> None:
        super().__init__()
        self.triage = dspy.Predict(Triage)

    def forward(self, ticket: str) -> dspy.Prediction:
        queue = self.triage(ticket=ticket).queue
        return dspy.Prediction(queue=queue, why=" ".join(str(demo["ticket"]) for demo in self.triage.demos))
