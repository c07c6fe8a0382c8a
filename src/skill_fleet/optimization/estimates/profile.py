"""A few real examples with the configured model: what a run of the program takes there.

Calls go through the journal, so a run later finds them answered. They are booked on the run they are made
for, and its caps hold for both together.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import dspy

from skill_fleet.config.load import Loaded
from skill_fleet.evaluation.judged import Judged
from skill_fleet.evaluation.measurement import Measurement
from skill_fleet.evaluation.runner import measure
from skill_fleet.evaluation.usage import AnswerUsage
from skill_fleet.foundation.clock import Clock
from skill_fleet.foundation.errors import ProviderError
from skill_fleet.foundation.files import read_json, write_json
from skill_fleet.llm.budget import Account, Gate
from skill_fleet.llm.calls.engine import Line, Retry
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.journals import open_journal
from skill_fleet.llm.models import Connections, build_lms
from skill_fleet.optimization.estimates.prompts import plain
from skill_fleet.optimization.estimates.run_size import RunSize, calls_of, perfectible, size_of_run
from skill_fleet.optimization.interval import Interval, exactly
from skill_fleet.optimization.planning.plan import Plan
from skill_fleet.optimization.records.runs import RunFolder
from skill_fleet.optimization.session import Control

OnDone = Callable[[int, int], None]
# The mean of a few answers' times against that of all: providers are slower at some hours.
_PACE = Interval(0.6, 1.6)


@dataclass(frozen=True)
class Profile:
    """What some training examples took.

    Attributes:
        examples: That have an answer.
        calls: Paid for now; what the journal had is none.
        tokens: Of those calls.
        usd: Of those calls; None where a price is unknown.
        seconds: It took.
        per_run: Calls of a run: low, high, and most.
        input_tokens: Of a call, on average; None where the model does not say.
        output_tokens: The same.
        seconds_a_call: On average; None where nothing was paid for.
        perfectible: Whether full marks are within reach.
    """

    examples: int
    calls: int
    tokens: int
    usd: float | None
    seconds: float
    per_run: tuple[float, float, float]
    input_tokens: float | None
    output_tokens: float | None
    seconds_a_call: float | None
    perfectible: bool

    def shown(self) -> dict[str, Any]:
        """What it took, for the estimate."""
        return {
            "examples": self.examples,
            "calls": self.calls,
            "tokens": self.tokens,
            "usd": self.usd,
            "seconds": round(self.seconds, 3),
        }


def profile_price(plan: Plan, examples: int) -> dict[str, Any]:
    """What a profile would take, by the simulator's measure: `examples`, `calls`, `usd` as intervals."""
    number = min(examples, len(plan.split.train))
    size = size_of_run(plan)
    spec = plan.models.specs["evaluation"]
    calls = exactly(number).times(size.calls)
    one = plain(size, spec).usd(spec)
    usd = None if one is None else calls.times(one)
    return {
        "examples": number,
        "calls": [math.floor(calls.low), math.ceil(calls.high)],
        "usd": None if usd is None else [round(usd.low, 4), round(usd.high, 4)],
    }


def take_profile(
    plan: Plan,
    loaded: Loaded,
    run_id: str,
    examples: int,
    *,
    clock: Clock,
    connections: Connections,
    control: Control | None = None,
    on_done: OnDone | None = None,
) -> Profile:
    """Run the program on the first training examples with the model of `evaluation`.

    Args:
        plan: The run it is for; its caps hold.
        loaded: Settings and workspace.
        run_id: What the calls are booked on.
        examples: How many, at most.
        clock: Time.
        connections: To the models.
        control: The user's hand on it.
        on_done: Told how many of how many are done.

    Raises:
        ProviderError: Most examples fail, or no call can succeed.
        BudgetExhausted: A cap is reached.
        Interrupted: The user stopped it.
        MetricError: The metric breaks on most answers.
    """
    journal = open_journal(loaded, clock)
    line = Line(journal, run_id, clock, Retry.of(loaded.settings.calls))
    try:
        gate = (control or Control()).watch(Gate(Account(plan.request.limits, clock)))
        started = clock.monotonic()
        lms = build_lms(plan.models, line, gate, connections, "raise")
        with dspy.context(disable_history=True):
            found = measure(
                plan.entry.build(),
                plan.examples("train")[:examples],
                Judged(plan.metric, lms["judge"]),
                lm=lms["evaluation"],
                num_threads=plan.request.num_threads,
                on_outcome=None if on_done is None else lambda done, all_of, _outcome: on_done(done, all_of),
                max_failed_share=loaded.settings.calls.max_failed_share,
                clock=clock,
            )
        spent = journal.spent(run_id)
    except Halt as halt:
        raise halt.error from None
    finally:
        line.close()
    usages = [outcome.usage for outcome in found.outcomes if outcome.usage is not None]
    if not usages:
        raise ProviderError(f"None of {len(found.outcomes)} examples was answered: nothing can be profiled.")
    inputs, outputs = _tokens_a_call(usages)
    per_run = calls_of([usage.calls for usage in usages])
    return Profile(
        examples=len(usages),
        calls=spent.calls,
        tokens=spent.input_tokens + spent.output_tokens,
        usd=None if spent.usd_unknown_calls else float(spent.usd),
        seconds=clock.monotonic() - started,
        per_run=(per_run.low, per_run.high, per_run.most),
        input_tokens=inputs,
        output_tokens=outputs,
        seconds_a_call=_seconds_a_call(found, line.traffic.made, line.traffic.from_journal),
        perfectible=perfectible([score.value for score in _scores(found)]),
    )


def profiled(plan: Plan, profile: Profile) -> RunSize:
    """One run of the program as the profile saw it; what it could not see is the simulator's."""
    before = size_of_run(plan)
    model = plan.models.names["evaluation"]
    told = profile.input_tokens is not None and profile.output_tokens is not None
    return replace(
        before,
        calls=Interval(*profile.per_run),
        input_tokens=before.input_tokens if profile.input_tokens is None else profile.input_tokens,
        output_tokens=before.output_tokens if profile.output_tokens is None else profile.output_tokens,
        perfectible=profile.perfectible,
        seen=plan.models.specs["evaluation"] if told else None,
        seconds=None if profile.seconds_a_call is None else _PACE.scaled(profile.seconds_a_call),
        words=f"{profile.examples} training examples with {model}",
    )


def save_profile(profile: Profile, folder: RunFolder) -> None:
    """Keep a profile with the run that it was made for."""
    write_json(folder.profile, asdict(profile))


def load_profile(folder: RunFolder) -> Profile | None:
    """The profile of a run, if one was made."""
    if not folder.profile.exists():
        return None
    kept = read_json(folder.profile, what="profile")
    return Profile(**{**kept, "per_run": tuple(kept["per_run"])})


def _scores(found: Measurement) -> list[Any]:
    return [outcome.score for outcome in found.outcomes if outcome.score is not None]


def _tokens_a_call(usages: Sequence[AnswerUsage]) -> tuple[float | None, float | None]:
    calls = max(1, sum(usage.calls for usage in usages))
    counted = [tokens for usage in usages for tokens in usage.tokens.values()]
    inputs = [tokens.input for tokens in counted]
    outputs = [tokens.output for tokens in counted]
    if None in inputs or None in outputs:
        return None, None
    return math.fsum(n or 0 for n in inputs) / calls, math.fsum(n or 0 for n in outputs) / calls


def _seconds_a_call(found: Measurement, made: int, from_journal: int) -> float | None:
    """Time an example took, by its calls; with answers of the journal among them it says nothing."""
    if made == 0 or from_journal > 0:
        return None
    return math.fsum(outcome.seconds for outcome in found.outcomes) / made
