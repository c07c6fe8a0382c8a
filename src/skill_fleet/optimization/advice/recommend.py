"""Which optimizer for this program, these data and this budget, and the rule that decided.

The ladder is that of the seed document: what is in the journal first, GEPA before MIPROv2, single predictors
before the whole program; below them the cheaper searches. A cap is a limit and no order to spend: the effort
is the one asked for, `light` where none was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from skill_fleet.llm.budget import Limits
from skill_fleet.optimization.advice.experience import ENOUGH, MEASURES, Past
from skill_fleet.optimization.optimizer import OptimizerInfo

Price = Mapping[str, Sequence[float] | None]
"""`calls`, `tokens`, `usd` and `minutes`, each `[low, high]`; null where it is unknown."""

_WORDS = {"calls": "{:,.0f} calls", "tokens": "{:,.0f} tokens", "usd": "${:.4g}", "minutes": "{:.3g} minutes"}


@dataclass(frozen=True)
class Situation:
    """What the choice depends on.

    Attributes:
        train: Training examples.
        words: The metric says in words what was wrong.
        answers: The data hold answers of the predictors themselves.
        limits: Caps on the whole run.
    """

    train: int
    words: bool
    answers: bool
    limits: Limits


@dataclass(frozen=True)
class Option:
    """An optimizer with a price.

    Attributes:
        info: What it says of itself.
        price: Of the whole run.
    """

    info: OptimizerInfo
    price: Price


@dataclass(frozen=True)
class Judged:
    """An option, and what speaks against it.

    Attributes:
        optimizer: Its name.
        price: Estimated, put right by past runs where there are enough.
        learnt_from: Past runs that put the price right; 0 for none.
        code: `chosen`, `later` (nothing speaks against it, another stands before it), or what does.
        reason: The same in a sentence.
    """

    optimizer: str
    price: Price
    learnt_from: int
    code: str
    reason: str


@dataclass(frozen=True)
class Recommendation:
    """The choice.

    Attributes:
        optimizer: None where nothing fits the caps.
        rule: `ladder` (the first of it), `proven` (by past runs), what spoke against the one before
            (`few_examples`, `no_words`, `no_answers`, `too_dear`, `price_unknown`, `fruitless`), `cut_short`
            (all may pass the caps) or `nothing_fits`.
        reason: The rule in a sentence, with the numbers that made it decide.
        options: Every optimizer of the ladder in the order of preference, the chosen one among them.
    """

    optimizer: str | None
    rule: str
    reason: str
    options: tuple[Judged, ...]

    def to_json(self) -> dict[str, Any]:
        """The values by their names."""
        return asdict(self)


def recommend(situation: Situation, options: Sequence[Option], past: Mapping[str, Past]) -> Recommendation:
    """The first of the ladder that fits data, metric and caps.

    Optimizers that were better in most of three or more past runs come first, by their median gain; those
    that never were in as many come last.

    Args:
        situation: What is there.
        options: Optimizers with a place on the ladder; others are passed over.
        past: Evidence by optimizer.

    Raises:
        ValueError: No option has a place on the ladder.
    """
    ladder = sorted(
        (option for option in options if option.info.fit.rung is not None),
        key=lambda option: _preference(option.info, past.get(option.info.name)),
    )
    if not ladder:
        raise ValueError("There is no optimizer to choose from.")
    prices = {option.info.name: _learnt(option, past.get(option.info.name)) for option in ladder}
    against = {
        option.info.name: _unfit(option.info, situation)
        or _too_dear(prices[option.info.name], situation.limits)
        for option in ladder
    }
    chosen = next((name for name, found in against.items() if found is None), None)
    if chosen is None:
        chosen, rule, reason = _least(against, prices, situation.limits)
    else:
        rule, reason = _rule(chosen, ladder, against, past, situation)
    judged = []
    for option in ladder:
        name = option.info.name
        code, words = against[name] or ("later", "It stands after the one chosen.")
        if name == chosen:
            code, words = "chosen", reason
        judged.append(Judged(name, prices[name], _weight(past.get(name)), code, words))
    return Recommendation(chosen, rule, reason, tuple(judged))


def _preference(info: OptimizerInfo, past: Past | None) -> tuple[int, float, int, str]:
    rung = info.fit.rung or 0
    if past is not None and past.proven and past.gain is not None:
        return 0, -past.gain, rung, info.name
    return (2 if past is not None and past.fruitless else 1), 0.0, rung, info.name


def _weight(past: Past | None) -> int:
    return past.priced if past is not None and past.priced >= ENOUGH else 0


def _learnt(option: Option, past: Past | None) -> Price:
    """The estimate, scaled by what past runs took of theirs."""
    if past is None or not _weight(past):
        return option.price
    price: dict[str, Sequence[float] | None] = {}
    for measure in MEASURES:
        expected = option.price[measure]
        ratio = past.ratios.get(measure, 1.0)
        price[measure] = None if expected is None else [end * ratio for end in expected]
    return price


def _unfit(info: OptimizerInfo, situation: Situation) -> tuple[str, str] | None:
    fit = info.fit
    if situation.train < fit.min_train:
        return "few_examples", f"It wants {fit.min_train} training examples; there are {situation.train}."
    if fit.words and not situation.words:
        return "no_words", "It learns from words, and the metric gives only a number."
    if fit.answers and not situation.answers:
        return "no_answers", "It shows answers of the predictors themselves, and the data hold none."
    return None


def _too_dear(price: Price, limits: Limits) -> tuple[str, str] | None:
    for measure in MEASURES:
        cap = getattr(limits, measure)
        if cap is None:
            continue
        expected = price[measure]
        if expected is None:
            return "price_unknown", f"There is a cap on {measure}, and what it would take is unknown."
        if expected[1] > cap:
            most, limit = (_WORDS[measure].format(value) for value in (expected[1], cap))
            return "too_dear", f"It may take {most}; the cap is {limit}."
    return None


def _least(
    against: Mapping[str, tuple[str, str] | None], prices: Mapping[str, Price], limits: Limits
) -> tuple[str | None, str, str]:
    """Nothing surely fits the caps: what may be finished all the same, or nothing."""
    usable = [name for name, found in against.items() if found is not None and found[0] == "too_dear"]
    cheapest = sorted(usable, key=lambda name: _share_of_cap(prices[name], limits, end=1))
    for name in cheapest:
        if _share_of_cap(prices[name], limits, end=0) <= 1:
            reason = f"Everything may pass the caps; {name} takes least, and may be cut short."
            return name, "cut_short", reason
    least = cheapest[0] if cheapest else next(iter(against))
    why = against[least]
    assert why is not None  # noqa: S101 - nothing fits, so each has a reason
    return None, "nothing_fits", f"No optimizer fits. The least is {least}: {why[1][0].lower()}{why[1][1:]}"


def _share_of_cap(price: Price, limits: Limits, *, end: int) -> float:
    """The largest share of a cap that one end of a price takes."""
    shares = [0.0]
    for measure in MEASURES:
        cap, expected = getattr(limits, measure), price[measure]
        if cap is not None and expected is not None:
            shares.append(expected[end] / cap if cap > 0 else float("inf"))
    return max(shares)


def _rule(
    chosen: str,
    ladder: Sequence[Option],
    against: Mapping[str, tuple[str, str] | None],
    past: Mapping[str, Past],
    situation: Situation,
) -> tuple[str, str]:
    evidence = past.get(chosen)
    if evidence is not None and evidence.proven and evidence.gain is not None:
        share = f"better in {evidence.better} of {evidence.runs} runs of this program on this model"
        return "proven", f"{chosen} was {share}, by {evidence.gain:+.3f} in the median."
    by_rung = sorted(ladder, key=lambda option: option.info.fit.rung or 0)
    passed = [option.info.name for option in by_rung[: [o.info.name for o in by_rung].index(chosen)]]
    for name in passed:
        found = against[name]
        if found is not None:
            said = f"{found[1][0].lower()}{found[1][1:]}"
            return found[0], f"{name} stands before {chosen}, but {said}"
    for name in passed:
        tried = past.get(name)
        if tried is not None and tried.fruitless:
            return "fruitless", f"{name} stands before {chosen}, but was better in none of {tried.runs} runs."
    told = "says in words what was wrong" if situation.words else "gives a number"
    caps = "no cap is set" if situation.limits == Limits() else "it stays within the caps"
    examples = f"{situation.train} training examples are enough"
    return "ladder", f"{chosen} is the first of the ladder: {examples}, the metric {told}, {caps}."
