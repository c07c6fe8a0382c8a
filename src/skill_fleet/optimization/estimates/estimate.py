"""A price before the run: calls, tokens, dollars and minutes, as intervals, by phase and model.

Each is where the number is likely to lie, about 9 times in 10. Numbers that vary independently are combined
as such (`optimization.interval`), so an interval is narrower than all worst cases at once; what a phase never
passes stands beside it as `most`. The share that holds is measured by `benchmarks/estimates.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from skill_fleet.config.settings import ModelSpec, Phase
from skill_fleet.llm.budget import Limits
from skill_fleet.optimization.conclusions.foresight import ASSUMED_SD, foresee
from skill_fleet.optimization.estimates.costs import FREE, Cost, Costs, sum_of
from skill_fleet.optimization.estimates.prompts import Prompt, changed, plain, proposal, seconds
from skill_fleet.optimization.estimates.run_size import JudgeSize, RunSize, size_of_run
from skill_fleet.optimization.interval import NOTHING, ONE, Interval, exactly
from skill_fleet.optimization.optimizer import CostlyAnswers, Sizes
from skill_fleet.optimization.planning.plan import Plan
from skill_fleet.optimization.search import Effort
from skill_fleet.optimization.spending import tried_answers

__all__ = ["RunSize", "cap_warnings", "effort_of", "estimate", "size_of_run", "sizes_of"]

# Share of answers that no candidate gave before: about equal ones the judge is asked once.
_NEW_ANSWERS = Interval(0.4, 1)


def effort_of(plan: Plan) -> Effort:
    """How far the request wants to search."""
    request = plan.request
    return Effort(
        request.auto,
        request.trials,
        request.max_bootstrapped_demos,
        request.max_labeled_demos,
        request.num_threads,
    )


def sizes_of(plan: Plan, size: RunSize) -> Sizes:
    """What the calls of a search depend on."""
    program = plan.entry.build()
    fields = {name for item in plan.split.train for name in item.fields}
    named = [
        predictor
        for name, predictor in program.named_predictors()
        if not plan.request.modules
        or any(name == module or name.startswith(f"{module}.") for module in plan.request.modules)
    ]
    return Sizes(
        train=len(plan.split.train),
        validation=len(plan.split.validation),
        predictors=max(1, len(named)),
        calls_per_run=size.calls,
        effort=effort_of(plan),
        labeled=sum(fields.issuperset(predictor.signature.output_fields) for predictor in named),
        same_teacher=plan.models.specs["profiling"] == plan.models.specs["evaluation"],
        perfectible=size.perfectible,
    )


def estimate(plan: Plan, *, reading: int = 1, size: RunSize | None = None) -> dict[str, Any]:
    """What a run would take, and about what its sealed test could show.

    Args:
        plan: The run.
        reading: The how-manieth reading of its sealed test it would be.
        size: One run of its program; None looks with the offline model.

    Returns:
        `calls`, `tokens`, `usd` (null where a price is unknown) and `minutes`, each `[low, high]`, in all,
        `by_phase` with its model and `most` calls, and `by_model`; `power`: see `Foresight`, with an assumed
        spread; `sized_by` in words; `warnings`, each `code` and `message`.
    """
    size = size or size_of_run(plan)
    ends, names = _ends(plan, size), plan.models.names

    def of(phases: Sequence[Phase]) -> Cost:
        """Of some phases together."""
        vain, best = (sum_of([end.get(phase, FREE) for phase in phases]) for end in ends)
        return vain.until(best)

    phases = sorted(ends[1])
    whole = _shown(of(phases))
    by_phase = {
        phase: {"model": names[phase], **_shown(of([phase])), "most": int(of([phase]).calls.most)}
        for phase in phases
        if of([phase]).calls.most > 0
    }
    models = sorted({names[phase] for phase in phases})
    by_model = {model: _shown(of([phase for phase in phases if names[phase] == model])) for model in models}
    return {
        **whole,
        "by_phase": by_phase,
        "by_model": by_model,
        "power": foresee(
            plan.tested, reading, ASSUMED_SD, folds=plan.request.folds, repeats=plan.request.repeats
        ).to_json(),
        "sized_by": size.words,
        "warnings": [
            {"code": code, "message": said} for code, said in cap_warnings(plan.request.limits, whole)
        ],
    }


def cap_warnings(limits: Limits, whole: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Code and message of each cap that is below the lowest estimate."""
    shown: Mapping[str, Callable[[float], str]] = {
        "usd": lambda value: f"${value:g}",
        "calls": lambda value: "1 call" if value == 1 else f"{value:,.0f} calls",
        "tokens": lambda value: f"{value:,.0f} tokens",
        "minutes": lambda value: f"{value:g} minutes",
    }
    for measure, show in shown.items():
        cap, expected = getattr(limits, measure), whole[measure]
        if cap is not None and expected is not None and cap < expected[0]:
            least = f"is below the lowest estimate, {show(expected[0])}"
            yield "cap_below_estimate", f"The cap of {show(cap)} {least}: the search will be cut short."


def _ends(plan: Plan, size: RunSize) -> tuple[Costs, Costs]:
    """By phase: where no round gains, and where every round does; in each, what is likely.

    The next round starts only when the one before gained, and only a gain is measured on the sealed test; so
    rounds and tests are not independent, and the price lies between the two. With folds it is that of the
    search and of those of all folds: what is not known of one is not known of all.
    """
    rounds, whole = plan.request.rounds, sizes_of(plan, size)
    ends = [
        _scenario(plan, size, whole, rounds=1, gained=False, known=False),
        _scenario(plan, size, whole, rounds=rounds, gained=True, known=False),
    ]
    for split in plan.folds:
        fold = plan.of_fold(split)
        sizes = sizes_of(fold, size)
        folds = (
            _scenario(fold, size, sizes, rounds=1, gained=False, known=True),
            _scenario(fold, size, sizes, rounds=rounds, gained=True, known=True),
        )
        ends = [
            {phase: cost.along(more.get(phase, FREE)) for phase, cost in end.items()}
            for end, more in zip(ends, folds, strict=True)
        ]
    return ends[0], ends[1]


def _scenario(
    plan: Plan, size: RunSize, sizes: Sizes, *, rounds: int, gained: bool, known: bool
) -> dict[Phase, Cost]:
    """Costs by phase of a run with so many rounds; `known` where the plain program was measured before."""
    search = _search(plan, sizes, rounds)
    info, specs, effort = plan.optimizer.info, plan.models.specs, sizes.effort
    costs = {
        phase: _cost(plan, size, phase, calls, _prompt_in_search(plan, size, sizes, phase))
        for phase, calls in search.items()
    }
    test = len(plan.split.test)
    unchanged = NOTHING if known else exactly(sizes.train + sizes.validation + test).times(size.calls)
    # The candidate of each round is measured on the validation set, where the search has not done so itself.
    own = sizes.validation * rounds
    checked = Interval(0, 0, own) if "evaluation" in search else exactly(own)
    if gained:
        optimizer = plan.optimizer
        runs = optimizer.runs_per_answer(effort) if isinstance(optimizer, CostlyAnswers) else ONE
        incumbent = 1 if plan.output.exists() else 0
        checked = checked.plus(runs.scaled(test)).plus(Interval(0, incumbent * test))
    model = specs["evaluation"]
    costs["evaluation"] = sum_of(
        [
            costs.get("evaluation", FREE),
            _cost(plan, size, "evaluation", unchanged, plain(size, model)),
            _cost(plan, size, "evaluation", checked.times(size.calls), changed(size, model, info, effort)),
        ]
    )
    if size.judge is not None:
        tried = tried_answers(sizes.validation) if gained and not known else NOTHING
        costs["judge"] = _judged(plan, size, size.judge, costs, tried)
    return costs


def _judged(plan: Plan, size: RunSize, judge: JudgeSize, costs: Costs, tried: Interval) -> Cost:
    """What a metric that asks a model asks: about every answer of the program, in whatever phase.

    And about those with which the metric is tried when a search has gained.
    """
    answers = costs["evaluation"].calls.along(costs.get("profiling", FREE).calls)
    runs = answers.scaled(2 / (size.calls.low + size.calls.high))
    calls = runs.times(_NEW_ANSWERS).plus(tried).times(judge.calls)
    spoken = replace(size, input_tokens=judge.input_tokens, output_tokens=judge.output_tokens, seen=None)
    return _cost(plan, size, "judge", calls, plain(spoken, plan.models.specs["judge"]))


def _search(plan: Plan, sizes: Sizes, rounds: int) -> dict[Phase, Interval]:
    """Calls of so many rounds: what is not known of one is not known of all, so their ends add."""
    first = plan.optimizer.estimate_calls(sizes)
    later = plan.optimizer.estimate_calls(replace(sizes, round=2)) if rounds > 1 else {}
    found = {}
    for name, calls in first.items():
        more = later.get(name, NOTHING).scaled(rounds - 1)
        found[_phase(name)] = calls.along(more)
    return found


def _prompt_in_search(plan: Plan, size: RunSize, sizes: Sizes, phase: Phase) -> Prompt:
    info, model = plan.optimizer.info, plan.models.specs[phase]
    if phase == "optimization":
        return proposal(size, model, info, sizes.train)
    return changed(size, model, info, sizes.effort)


def _cost(plan: Plan, size: RunSize, phase: Phase, calls: Interval, prompt: Prompt) -> Cost:
    """So many calls with such prompts."""
    spec: ModelSpec = plan.models.specs[phase]
    usd = prompt.usd(spec)
    threads = plan.request.num_threads
    one = seconds(size, spec, threads, side_by_side=phase == "evaluation")
    return Cost(
        calls,
        calls.times(prompt.tokens),
        None if usd is None else calls.times(usd),
        calls.times(one),
    )


def _shown(cost: Cost) -> dict[str, Any]:
    """The likely ends of each measure, rounded outwards to what means something."""
    minutes = cost.seconds.scaled(1 / 60)
    return {
        "calls": _whole(cost.calls),
        "tokens": _whole(cost.tokens),
        "usd": None if cost.usd is None else [round(cost.usd.low, 4), round(cost.usd.high, 4)],
        "minutes": [round(minutes.low, 2), round(minutes.high, 2)],
    }


def _whole(number: Interval) -> list[int]:
    return [int(number.low), int(-(-number.high // 1))]


def _phase(name: str) -> Phase:
    phases: Mapping[str, Phase] = {
        "profiling": "profiling",
        "optimization": "optimization",
        "evaluation": "evaluation",
        "judge": "judge",
    }
    return phases[name]
