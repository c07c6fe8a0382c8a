"""A small program, rewards of all sorts, and one whose predictors are called like the keys of a recipe."""

import dspy


class Triage(dspy.Module):
    """Two steps, so that one of them can be left alone."""

    def __init__(self):
        super().__init__()
        self.summarize = dspy.Predict("ticket -> summary")
        self.route = dspy.Predict("ticket, summary -> queue")

    def forward(self, ticket):
        return self.route(ticket=ticket, summary=self.summarize(ticket=ticket).summary)


class Cookery(dspy.Module):
    """An ordinary program, whatever its predictors are called."""

    def __init__(self):
        super().__init__()
        self.recipe = dspy.Predict("dish -> steps")
        self.members = dspy.Predict("steps -> cooks")

    def forward(self, dish):
        return self.members(steps=self.recipe(dish=dish).steps)


def wordy(args, pred):
    """More words are better, up to ten; the ticket's own count too."""
    return min(1.0, len(f"{pred.queue} {args['ticket']}".split()) / 10)


def by_number(args, pred):
    """The number in the answer, of ten."""
    return int(pred.queue.split()[-1]) / 10


def out_of_range(args, pred):
    return 45


def breaks(args, pred):
    raise KeyError("queue")


def one_parameter(args):
    return 1.0


def other_names(gold, pred):
    return 1.0


def needs_more(args, pred, extra):
    return 1.0


not_a_function = 5
