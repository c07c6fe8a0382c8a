"""Ask a provider for more than it takes: what is lost, what is turned away, and how long it takes.

    uv run python benchmarks/throttle.py [--threads 16,64] [--rps 10] [--items 300] [--latency 0.2]
                                         [--window SECONDS] [--says headers,nothing] [--no-stock]

`simulate-provider` runs in a process of its own. A program of one call is measured on so many examples: by
`measure`, through `FleetLM`, the metered engine and the limiter; and beside it by stock DSPy, `dspy.LM`
(`num_retries=3`, no cache) and `dspy.Evaluate`. Three servers: one whose answers carry `x-ratelimit-*` and
whose 429 says how long to wait; one that says only the latter, in whole seconds; one that says nothing. With
`--window` the limit is a sliding window of so many seconds, one by default, instead of a bucket that fills.

Columns: examples without a score (`measure`) or with the score 0 of a failure (stock); requests; share of
them turned away in the first second and after it; wall seconds, and these as a multiple of items / rps. Exit
code 1 when ours loses one, has 2 % or more turned away after the first second, takes over 1.10 of items /
rps, or is through in less than 0.9 of what a provider with this limit takes at least: then it had none. What
broke is listed below the table.
"""

import argparse
import contextlib
import io
import json
import logging
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy

from skill_fleet.config.settings import ModelSpec
from skill_fleet.evaluation.runner import measure
from skill_fleet.evaluation.score import Score
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.llm.budget import Account, Gate, Limits
from skill_fleet.llm.calls.engine import Line
from skill_fleet.llm.journal.journal import Journal
from skill_fleet.llm.limits.limiters import Limiters
from skill_fleet.llm.models import Connections, build_lm

ANSWER = "[[ ## answer ## ]]\nyes\n\n[[ ## completed ## ]]"
MODEL = "openai/simulated/one"
SAYS = {
    "headers": ("--rate-headers",),
    "Retry-After": ("--no-rate-headers", "--retry-after", "1"),
    "nothing": ("--no-rate-headers", "--no-retry-header"),
}


@dataclass(frozen=True)
class Row:
    """What one measurement came to.

    Attributes:
        lost: Examples without a score, or with that of a failure.
        requests: To the server.
        first: Share of them turned away in the first second.
        after: The same after it.
        wall: Seconds.
        limit: Seconds that so many examples take at the rate of the limit.
        at_once: How many of those seconds the requests are worth that the limit lets through at once.
    """

    lost: int
    requests: int
    first: float
    after: float
    wall: float
    limit: float
    at_once: float

    def cells(self) -> list[str]:
        shares = [f"{self.first:.0%}", f"{self.after:.1%}"]
        return [
            str(self.lost),
            str(self.requests),
            *shares,
            f"{self.wall:.1f}",
            f"{self.wall / self.limit:.2f}",
        ]

    def broken_laws(self) -> list[str]:
        """What ours did not keep, in words; nothing when all is well."""
        laws = {
            f"{self.lost} examples are lost": self.lost == 0,
            f"{self.after:.1%} turned away after the first second": self.after < 0.02,
            f"{self.wall:.1f} s, where {self.limit:.1f} are enough": self.wall <= 1.10 * self.limit,
            f"{self.wall:.1f} s, faster than the limit lets anybody through": self.wall
            >= 0.9 * (self.limit - self.at_once),
        }
        return [law for law, kept in laws.items() if not kept]


def main(words: Sequence[str] | None = None) -> int:
    asked = _asked(words)
    print(
        "| who | says | threads | items | lost | requests | turned away, 1st s | after | wall s | x limit |"
    )
    print("|" + "---|" * 10)
    broken: list[str] = []
    for threads in asked.threads:
        for says in asked.says:
            for who in ("skill-fleet", "stock DSPy")[: 1 if asked.no_stock else 2]:
                row = _row(asked, who, says, threads)
                if who == "skill-fleet":
                    broken += [f"{says}, {threads} threads: {law}" for law in row.broken_laws()]
                print(
                    "| " + " | ".join([who, says, str(threads), str(asked.items), *row.cells()]) + " |",
                    flush=True,
                )
    print(f"{len(broken)} broken laws" + "".join(f"\n* {law}" for law in broken), file=sys.stderr)
    return 1 if broken else 0


def _row(asked: argparse.Namespace, who: str, says: str, threads: int) -> Row:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _serving(asked, says, folder) as url:
            begun = time.perf_counter()
            measured = _ours if who == "skill-fleet" else _stock
            lost = measured(url, threads, asked.items, folder)
            wall = time.perf_counter() - begun
        records = [json.loads(line) for line in (folder / "served.ndjson").read_text().splitlines()]
    start = min(record["offset"] for record in records)
    early = [record["fault"] == "limit" for record in records if record["offset"] <= start + 1.0]
    late = [record["fault"] == "limit" for record in records if record["offset"] > start + 1.0]
    limit = asked.items / asked.rps
    # A bucket holds a second's worth of requests, a window lets its own through: a whole number of them.
    at_once = math.ceil(asked.rps * (asked.window or 1.0)) / asked.rps
    return Row(lost, len(records), _share(early), _share(late), wall, limit, at_once)


def _share(turned_away: list[bool]) -> float:
    return sum(turned_away) / len(turned_away) if turned_away else 0.0


@contextlib.contextmanager
def _serving(asked: argparse.Namespace, says: str, folder: Path) -> Iterator[str]:
    script = folder / "script.json"
    script.write_text(json.dumps([{"match": ".*", "answer": ANSWER}]))
    command = [sys.executable, "-m", "skill_fleet", "simulate-provider", "--json", "--model", "simulated/one"]
    command += ["--script", str(script), "--rps", str(asked.rps), "--latency", str(asked.latency)]
    command += ["--ledger", str(folder / "served.ndjson"), "--max-seconds", "900", *SAYS[says]]
    command += ["--window", str(asked.window)] if asked.window else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())["url"]
        finally:
            server.terminate()
            server.wait()


class _Yes:
    """The metric of ours."""

    def score(self, gold: Any, prediction: Any) -> Any:
        return Score(_yes(gold, prediction), {}, "")


def _yes(_gold: Any, prediction: Any, _trace: Any = None) -> float:
    return float(prediction.answer == "yes")


def _examples(number: int) -> list[Any]:
    return [
        dspy.Example(question=f"Is {i} a number?", id=f"q{i}").with_inputs("question") for i in range(number)
    ]


def _ours(url: str, threads: int, items: int, folder: Path) -> int:
    spec = ModelSpec(model=MODEL, api_base=url, temperature=0.0, max_tokens=50)
    journal = Journal(folder / "ledger", folder / "responses")
    line = Line(journal, "run", SYSTEM_CLOCK)
    connections = Connections.of({}, limiters=Limiters())
    lm = build_lm(spec, "evaluation", line, Gate(Account(Limits(), SYSTEM_CLOCK)), connections, "raise")
    try:
        found = measure(
            dspy.Predict("question -> answer"),
            _examples(items),
            _Yes(),
            lm=lm,
            num_threads=threads,
            max_failed_share=1.0,
        )
    finally:
        journal.close()
    return sum(getattr(outcome.score, "value", None) != 1.0 for outcome in found.outcomes)


def _stock(url: str, threads: int, items: int, _folder: Path) -> int:
    logging.getLogger("dspy").setLevel(logging.CRITICAL)
    lm = dspy.LM(
        MODEL,
        api_base=url,
        api_key="none",
        engine="lm15",
        cache=False,
        num_retries=3,
        max_tokens=50,
        temperature=0.0,
    )
    evaluate = dspy.Evaluate(
        devset=_examples(items),
        metric=_yes,
        num_threads=threads,
        display_progress=False,
        max_errors=items + 1,
    )
    with dspy.context(lm=lm), contextlib.redirect_stderr(io.StringIO()):
        found = evaluate(dspy.Predict("question -> answer"))
    return sum(score != 1.0 for _, _, score in found.results)


def _asked(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--threads", type=lambda text: [int(part) for part in text.split(",")], default=[16, 64]
    )
    parser.add_argument("--rps", type=float, default=10.0)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--window", type=float, nargs="?", const=1.0)
    parser.add_argument("--says", type=lambda text: text.split(","), default=list(SAYS))
    parser.add_argument("--no-stock", action="store_true")
    return parser.parse_args(words)


if __name__ == "__main__":
    raise SystemExit(main())
