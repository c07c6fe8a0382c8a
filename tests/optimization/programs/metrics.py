"""Metrics that go wrong, each in its own way."""


def constant(gold, pred, trace=None):
    return 0.5


def breaks(gold, pred, trace=None):
    raise KeyError("queue")


def breaks_in_search(gold, pred, trace=None, pred_name=None, pred_trace=None):
    """Fine in a measurement; breaks when a reflecting optimizer asks for feedback of one predictor."""
    if pred_name is not None:
        raise KeyError("queue")
    return float(gold.queue == getattr(pred, "queue", None))
