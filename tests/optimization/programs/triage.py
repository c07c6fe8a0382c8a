"""A DSPy program that has nothing to do with skills: support tickets to queues."""

from typing import Literal

import dspy


class Triage(dspy.Signature):
    """Choose the queue of a support ticket."""

    ticket: str = dspy.InputField()
    queue: Literal["billing", "access", "shipping", "bugs"] = dspy.OutputField()


class TriageProgram(dspy.Module):
    """One predictor."""

    def __init__(self) -> None:
        super().__init__()
        self.triage = dspy.Predict(Triage)

    def forward(self, ticket: str) -> dspy.Prediction:
        return self.triage(ticket=ticket)


WORDS = {
    "billing": ("invoice", "refund", "charge", "payment"),
    "access": ("password", "login", "locked", "permission"),
    "shipping": ("parcel", "courier", "delivery", "address"),
    "bugs": ("crash", "freeze", "error", "blank"),
}


def exact(gold, pred, trace=None, pred_name=None, pred_trace=None):
    """1 for the right queue; the feedback says which word gives it away."""
    right = gold.queue == getattr(pred, "queue", None)
    word = next((w for w in WORDS[gold.queue] if w in gold.ticket), "")
    advice = f"If the ticket mentions '{word}', answer {gold.queue}."
    return dspy.Prediction(score=float(right), feedback="Right." if right else advice)


def plausible(args, pred):
    """1 for a queue whose words the ticket has: a reward, which sees no expected answer."""
    words = WORDS.get(getattr(pred, "queue", None), ())
    return float(any(word in args["ticket"] for word in words))


FRAMES = (
    "Hello, the {} from last week is not what I expected, please help.",
    "I have a question about a {} that nobody could answer so far.",
    "Our team sees a {} since Monday and we cannot go on working.",
    "Could somebody look at the {} of our biggest customer? Urgent!",
    "Since the update there is a {} whenever I open the second page.",
    "My manager wants to know why the {} was never confirmed by you.",
    "A short note on the {} you mentioned on the phone this morning.",
    "Third mail about the same {}, still waiting for any reaction.",
    "The {} looks odd to me; is that normal in the new version?",
    "We are a small shop and every {} costs us half a day of work.",
    "Please escalate: {} again, exactly as in the summer of last year.",
    "Thanks for the quick fix, but the {} has come back overnight.",
    "Who in your team decides about a {} like mine, and until when?",
    "Nobody told me that a {} could happen after I changed the plan.",
    "For the audit we need a written statement concerning the {}.",
    "I tried two browsers and a phone; the {} stays the same on all.",
)


def tickets():
    """128 tickets in 16 groups, one a frame: words are shared by all groups, wordings by none."""
    return [
        {"ticket": frame.format(word), "queue": queue, "group": f"frame-{i:02d}", "id": f"{word}-{i:02d}"}
        for i, frame in enumerate(FRAMES)
        for queue, words in WORDS.items()
        for word in words[:2]
    ]
