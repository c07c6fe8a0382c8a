"""Programs that bring a model of their own."""

import dspy
from triage import Triage


class Sent:
    """An engine that must never be asked."""

    asked = 0

    def complete(self, request):
        Sent.asked += 1
        raise AssertionError("a call that nobody counts")


class Held(dspy.Module):
    """Its predictor holds a model."""

    def __init__(self) -> None:
        super().__init__()
        self.triage = dspy.Predict(Triage)
        self.triage.lm = dspy.LM("openai/gpt-own", engine=Sent(), cache=False)

    def forward(self, ticket: str) -> dspy.Prediction:
        return self.triage(ticket=ticket)


class Switching(dspy.Module):
    """It sets a model where it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.triage = dspy.Predict(Triage)

    def forward(self, ticket: str) -> dspy.Prediction:
        with dspy.context(lm=dspy.LM("openai/gpt-own", engine=Sent(), cache=False)):
            return self.triage(ticket=ticket)
