"""How long the calls of a run are, and how long they take, by what they are for."""

from dataclasses import dataclass

from skill_fleet.config.settings import ModelSpec
from skill_fleet.llm.pricing import price_of
from skill_fleet.optimization.estimates.run_size import RunSize
from skill_fleet.optimization.interval import Interval, exactly
from skill_fleet.optimization.optimizer import OptimizerInfo
from skill_fleet.optimization.search import Effort

# Tokens that a search adds to an instruction: sentences of the optimizing model.
_LONGER_INSTRUCTION = Interval(5, 100)
# A proposal's own words around the examples it shows, and its answer.
_PROPOSAL = Interval(250, 750)
_PROPOSED = Interval(40, 150)
# The model that will answer against the simulator, in tokens: another tokenizer, longer or shorter answers.
_OTHER_INPUT = Interval(0.8, 1.3)
_OTHER_OUTPUT = Interval(0.7, 3.0)
_SAME = Interval(0.93, 1.1)
_SECONDS = Interval(0.5, 6.0)
_OFFLINE_SECONDS = Interval(0.001, 0.04)
# Share of its threads that are under way, where an optimizer works in small batches.
_LEAST_BUSY = 0.45


@dataclass(frozen=True)
class Prompt:
    """Tokens of one call.

    Attributes:
        input: Sent.
        output: Answered.
    """

    input: Interval
    output: Interval

    @property
    def tokens(self) -> Interval:
        """Both together."""
        return self.input.plus(self.output)

    def usd(self, spec: ModelSpec) -> Interval | None:
        """Dollars of the call; None where the model's price is unknown."""
        price = price_of(spec)
        if price is None:
            return None
        return self.input.scaled(price.input).plus(self.output.scaled(price.output))


def plain(size: RunSize, spec: ModelSpec) -> Prompt:
    """A call of the program as it is."""
    inputs, outputs = _scales(size, spec)
    return Prompt(exactly(size.input_tokens).times(inputs), exactly(size.output_tokens).times(outputs))


def changed(size: RunSize, spec: ModelSpec, info: OptimizerInfo, effort: Effort) -> Prompt:
    """A call of a program that a search has changed: with demonstrations, with longer instructions."""
    before = plain(size, spec)
    inputs, outputs = _scales(size, spec)
    grown = before.input
    most = _most_demos(info, effort)
    if most:
        shown = Interval(0.4 * most, 1.2 * most)
        grown = grown.plus(shown.scaled(size.demo_tokens).times(inputs))
    if "instructions" in info.changes:
        grown = grown.plus(_LONGER_INSTRUCTION.times(outputs))
    return Prompt(grown, before.output)


def proposal(size: RunSize, spec: ModelSpec, info: OptimizerInfo, train: int) -> Prompt:
    """A call that proposes: it shows what is known of the task and some examples."""
    inputs, outputs = _scales(size, spec)
    shown = min(train, info.shows) * size.demo_tokens
    return Prompt(_PROPOSAL.plus(Interval(0.5 * shown, 1.5 * shown)).times(inputs), _PROPOSED.times(outputs))


def seconds(size: RunSize, spec: ModelSpec, threads: int, *, side_by_side: bool) -> Interval:
    """Seconds that one of many calls adds to a run.

    Args:
        size: Of a run; timed, if it was profiled.
        spec: The model.
        threads: Examples under way at a time.
        side_by_side: Whether the calls are always made so; some optimizers make some of theirs one by one.
    """
    if spec.offline:
        return _OFFLINE_SECONDS  # one processor answers them all
    one = size.seconds if size.seconds is not None and size.seen == spec else _SECONDS
    least = max(1.0, _LEAST_BUSY * threads) if side_by_side else 1.0
    return one.times(Interval(1 / threads, 1 / least))


def _scales(size: RunSize, spec: ModelSpec) -> tuple[Interval, Interval]:
    """What an answer of the model is to one that was seen: input and output."""
    if spec == size.seen or (size.seen is None and spec.simulated):
        return _SAME, _SAME
    return _OTHER_INPUT, _OTHER_OUTPUT


def _most_demos(info: OptimizerInfo, effort: Effort) -> int:
    """Most demonstrations of a predictor, by the optimizer's own default where nothing was asked for."""
    defaults = {parameter.name: parameter.default for parameter in info.parameters}
    own = effort.max_bootstrapped_demos
    if "max_bootstrapped_demos" not in defaults:
        own = 0
    elif own is None:
        own = int(defaults["max_bootstrapped_demos"] or 0)
    labeled = effort.max_labeled_demos if "max_labeled_demos" in defaults else 0
    return max(own, labeled)
