"""Optimizations through a simulated provider with faults: ours and stock DSPy's, and what each should keep.

The provider lives in a process of its own and keeps books of what it served and billed. A case is run without
faults and with them; `chaos_laws` compares the two runs with each other and the bill with the books.
"""

import contextlib
import json
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import dspy
from chaos_watch import watched
from dspy.clients.base_lm import GLOBAL_HISTORY
from prefetch_problem import quiet

from skill_fleet.config.load import Loaded, load
from skill_fleet.core.programs.catalog import program_hash
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.foundation.files import write_json
from skill_fleet.optimization.planning.plan import Plan, make_plan
from skill_fleet.optimization.records.request import OptimizationRequest
from skill_fleet.optimization.records.runs import new_run
from skill_fleet.optimization.run import run

MODEL = "offline/rules-v1"
TRIALS = {"miprov2": 4, "copro": 1, "simba": 1}
"""`--trials` of a search; 2 where nothing is said."""
PRICE = (1.0, 2.0)
_EXAMPLES = 24
_OF_A_GROUP = 2
_TRAINSET = Path(__file__).resolve().parents[2] / "config" / "training" / "trainset.json"
# A client gives up after so long where a server may hang.
_TIMEOUT = 1.5
# Where nothing hangs nobody is given up, however long a busy machine takes.
_PATIENCE = 60.0
_SLOW_SECONDS = 0.05
# The client has these to read, and their usage with them.
_READ = {None, "slow_first_byte", "drip", "empty", "blank", "length", "content_filter"}


@dataclass(frozen=True)
class Case:
    """One optimization: faults and the share of requests that meet each, optimizer, threads, seed."""

    faults: tuple[tuple[str, float], ...] = ()
    optimizer: str = "gepa"
    threads: int = 8
    seed: int = 0

    @property
    def clean(self) -> "Case":
        """The same without faults."""
        return Case((), self.optimizer, self.threads, self.seed)


@dataclass(frozen=True)
class Books:
    """What the provider served and billed in all.

    Attributes:
        requests: How many came.
        faults: Fault -> how many met it.
        tokens: Billed.
        usd: Billed.
        read_tokens: Billed with answers that the client could read, usage included.
        read_usd: The same in dollars.
        most_in_flight: Requests under way at once.
    """

    requests: int
    faults: Mapping[str, int]
    tokens: int
    usd: float
    read_tokens: int
    read_usd: float
    most_in_flight: int


@dataclass(frozen=True)
class Outcome:
    """What came of an optimization.

    Attributes:
        status: Of a run; of stock DSPy `succeeded`, or the exception that ended it.
        hash: Of the program that was found; None where there is none.
        scores: Mean quality of the plain and of the found program, by set.
        calls: As the side itself counts them.
        tokens: The same; `[low, high]` where it gives a range, else the same number twice.
        usd: The same; None where it does not know.
        possibly_billed: Attempts that ours says may have been billed.
        excluded: Examples in no mean.
        failed_scores: Scores that a failure was given, wherever scores are given (`chaos_watch`).
        error: Code and sentence of what ended it.
        wall: Seconds.
        resume: How to go on with a run of ours that was stopped; empty where it was not, or nobody says.
    """

    status: str
    hash: str | None
    scores: Mapping[str, float | None]
    calls: int
    tokens: Sequence[int | None]
    usd: Sequence[float | None]
    possibly_billed: int
    excluded: int
    failed_scores: int
    error: str
    wall: float
    resume: str = ""


class Provider:
    """A process that serves one simulated provider after the other, each with new books."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, case: Case) -> str:
        """A new provider with the faults of a case; returns its address."""
        self._pipe.send((dict(case.faults), case.seed))
        return str(self._pipe.recv())

    def end(self) -> Books:
        """The books of the provider, which is gone then."""
        self._pipe.send(None)
        return Books(**self._pipe.recv())

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(timeout=10)
        self._process.kill()


def _serve(pipe: Connection) -> None:
    from skill_fleet.simulator import Faults, Limits, Price, SimulatorSettings, running

    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            rates, seed = pipe.recv()
            settings = SimulatorSettings(
                seed=seed,
                faults=Faults(rates, slow_seconds=_SLOW_SECONDS),
                limits=Limits(retry_after=0.01),
                price=Price(*PRICE),
            )
            with running(settings) as server:
                pipe.send(server.url)
                pipe.recv()
                found = _books(server)
            pipe.send(found)


def _books(server: Any) -> dict[str, Any]:
    totals = server.totals()
    read = [one for one in server.records() if one.fault in _READ and one.delivered is not False]
    return {
        "requests": totals.requests,
        "faults": totals.by_fault,
        "tokens": totals.billed_prompt_tokens + totals.billed_completion_tokens,
        "usd": totals.billed_usd,
        "read_tokens": sum(one.billed_prompt_tokens + one.billed_completion_tokens for one in read),
        "read_usd": sum(one.usd or 0.0 for one in read),
        "most_in_flight": totals.most_in_flight,
    }


def place(root: Path, case: Case, url: str) -> tuple[Plan, Loaded]:
    """A workspace with a small part of the shipped training set and the provider as its model."""
    model = {
        "model": f"openai/{MODEL}",
        "api_base": url,
        "temperature": 0.0,
        "max_tokens": 2000,
        "timeout": _timeout(case),
        "price": {"input_per_million": PRICE[0], "output_per_million": PRICE[1]},
    }
    # Pauses are short so that no time goes by with sleeping; how often is asked stays as it is by default.
    settings = {
        "models": {"default": "chaos", "registry": {"chaos": model}},
        "calls": {"first_pause": 0.01, "longest_pause": 0.05},
    }
    write_json(root / "config" / "config.yaml", settings)
    write_json(root / "data.json", _examples())
    loaded = load(root, environ={"XDG_CONFIG_HOME": str(root / "nobody")})
    request = OptimizationRequest(
        optimizer=case.optimizer,
        data="data.json",
        auto=None,
        trials=TRIALS.get(case.optimizer, 2),
        rounds=1,
        num_threads=case.threads,
        seed=case.seed,
        output="found.json",
    )
    return make_plan(request, loaded), loaded


def _timeout(case: Case) -> float:
    return _TIMEOUT if "hang" in dict(case.faults) else _PATIENCE


def _examples() -> list[dict[str, Any]]:
    """The first examples of each of the first groups."""
    kept: dict[str, list[dict[str, Any]]] = {}
    for item in json.loads(_TRAINSET.read_text()):
        members = kept.setdefault(item["group"], [])
        if len(members) < _OF_A_GROUP:
            members.append(item)
    return [item for members in kept.values() if len(members) == _OF_A_GROUP for item in members][:_EXAMPLES]


def ours(root: Path, case: Case, url: str) -> Outcome:
    """The product's own run."""
    plan, loaded = place(root, case, url)
    folder = new_run(loaded.workspace.runs, SYSTEM_CLOCK)
    with watched() as failed, quiet():
        began = time.monotonic()
        value = run(plan, folder, loaded).result.to_json()
        wall = time.monotonic() - began
    error = value["error"]
    return Outcome(
        value["status"],
        value["program_hash"],
        _flat(value["baseline"], value["optimized"]),
        value["calls"]["made"],
        value["tokens_range"],
        value["usd_range"],
        value["calls"]["possibly_billed"],
        value["calls"]["excluded"],
        len(failed),
        "" if error is None else f"{error['code']}: {error['message']}",
        wall,
        value["resume"] or "",
    )


def stock(root: Path, case: Case, url: str) -> Outcome:
    """The same program, data and settings with DSPy's own optimizer, evaluation and client."""
    plan, _ = place(root, case, url)
    lm = dspy.LM(
        f"openai/{MODEL}", api_base=url, api_key="none", num_retries=3, cache=False,
        temperature=0.0, max_tokens=2000, timeout=_timeout(case),
    )  # fmt: skip
    scores: dict[str, float | None] = {}
    found, error = None, ""
    with watched() as failed, quiet(), dspy.context(lm=lm):
        began = time.monotonic()
        try:
            judge = dspy.Evaluate(
                devset=plan.examples("test"), metric=plan.metric.metric, num_threads=case.threads
            )
            plain = plan.entry.build()
            scores["baseline.test"] = judge(plain).score / 100
            found = _compiled(plan, case, lm)
            scores["optimized.test"] = judge(found).score / 100
        except Exception as caught:  # noqa: BLE001 - how stock DSPy ends is what is looked at
            error = f"{type(caught).__name__}: {' '.join(str(caught).split())[:160]}"
        wall = time.monotonic() - began
    # The most complete of DSPy's own counters: `lm.history` misses copies, `track_usage` misses threads.
    history = list(GLOBAL_HISTORY)
    usages = [entry.get("usage") or {} for entry in history]
    used = sum((one.get("prompt_tokens") or 0) + (one.get("completion_tokens") or 0) for one in usages)
    known = all(entry.get("cost") is not None for entry in history)
    usd = sum(entry["cost"] for entry in history) if known else None
    status = "succeeded" if not error else error.split(":")[0]
    program = None if found is None else program_hash(found)
    return Outcome(
        status, program, scores, len(history), [used, used], [usd, usd], 0, 0, len(failed), error, wall
    )


def _compiled(plan: Plan, case: Case, lm: Any) -> dspy.Module:
    program, trials = plan.entry.build(), TRIALS.get(case.optimizer, 2)
    data = {"trainset": plan.examples("train"), "valset": plan.examples("validation")}
    if case.optimizer == "gepa":

        def _words(
            gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None
        ) -> Any:
            return plan.metric.feedback(gold, pred, trace, pred_name, pred_trace)

        gepa = dspy.GEPA(
            metric=_words,
            reflection_lm=lm,
            num_threads=case.threads,
            seed=case.seed,
            max_full_evals=trials,
        )
        return gepa.compile(program, **data)
    mipro = dspy.MIPROv2(
        metric=plan.metric.metric,
        auto=None,
        num_candidates=max(2, round(trials / 1.5)),
        max_bootstrapped_demos=8,
        max_labeled_demos=4,
        num_threads=case.threads,
        metric_threshold=0.8,
    )
    return mipro.compile(program, **data, num_trials=trials, minibatch=False, seed=case.seed + 1)


def _flat(baseline: Mapping[str, Any], optimized: Mapping[str, Any]) -> dict[str, float | None]:
    sides = {"baseline": baseline, "optimized": optimized}
    return {f"{side}.{part}": mean for side, means in sides.items() for part, mean in means.items()}


def as_json(outcome: Outcome) -> str:
    """An outcome as one line, for another process."""
    return json.dumps(asdict(outcome))
