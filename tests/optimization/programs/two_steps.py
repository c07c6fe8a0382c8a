"""Two predictors, to optimize one of them."""

import dspy
from triage import Triage


class TwoSteps(dspy.Module):
    """Summarizes a ticket, then routes it."""

    def __init__(self) -> None:
        super().__init__()
        self.summarize = dspy.Predict("ticket -> summary")
        self.route = dspy.Predict(Triage)

    def forward(self, ticket: str) -> dspy.Prediction:
        summary = self.summarize(ticket=ticket).summary
        return self.route(ticket=f"{ticket} {summary}")
