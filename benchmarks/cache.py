"""Calls a second through `FleetLM` and its journal, beside DSPy's own cache, at no latency: one table.

    uv run python benchmarks/cache.py [--seed 0] [--repeat 3] [--calls 1500]

The model answers at once, so what is left is what a call costs by itself. Each cell is a process of its own
with a fresh folder; the repetitions take turns, so that a machine whose speed drifts is unfair to nobody.

* `threads`: threads that call at once.
* `calls`: `miss`: nobody asked before; `hit`: asked before in this process; `hit, new process`: asked before
  by a process that has ended.
* `ours`: calls a second, median (least-most) of the repetitions.
* `DSPy disk`: the same through `dspy.LM` with DSPy's cache on disk alone; `DSPy default`: memory and disk.
* `ratio`: ours to DSPy's disk cache, median of the ratios of each repetition; `target`: what it has to be.
* `CPU`: microseconds of CPU a call, ours and DSPy's disk cache: other work on the machine disturbs it least.

The last row is 64 equal calls at once: how many the model is asked. It ends with exit code 1 when our count
is not 1. A speed below its target is marked and is no failure: the machine may be busy.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

THREADS = (1, 8, 32)
OURS, DISK, DEFAULT = "ours", "DSPy disk", "DSPy default"
TARGETS = {
    ("miss", 1): 1.0,
    ("miss", 8): 1.1,
    ("miss", 32): 1.8,
    ("hit", 1): 2.0,
    ("hit", 8): 2.0,
}
KINDS = ("miss", "hit", "hit, new process")
ANSWER = "A sentence of the answer, of some length. " * 10
PROMPT = "Write a paragraph about the thing that is described here. " * 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--calls", type=int, default=1500)
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.cell is not None:
        json.dump(cell(**json.loads(asked.cell)), sys.stdout)
        return 0
    began = time.perf_counter()
    rates = measured(asked.seed, asked.repeat, asked.calls)
    print("| threads | calls | ours | DSPy disk | DSPy default | ratio | target | | CPU |")
    print("|---|---|---|---|---|---|---|---|---|")
    for kind in KINDS:
        for threads in THREADS:
            print(row(kind, threads, rates))
    once = {who: started(who=who, threads=64, calls=1, seed=asked.seed, equal=True) for who in (OURS, DISK)}
    ours, theirs = (once[who]["model"] for who in (OURS, DISK))
    verdict = "ok" if ours == 1 else "BROKEN"
    print(f"| 64 | equal, at once | model asked {ours}x | model asked {theirs}x | – | 1 | {verdict} | – |")
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
    return 0 if ours == 1 else 1


# (kind, threads, who) -> calls a second and CPU seconds a call, of each repetition.
Rates = dict[tuple[str, int, str], list[tuple[float, float]]]


def measured(seed: int, repeat: int, calls: int) -> Rates:
    rates: Rates = defaultdict(list)
    order = random.Random(seed)
    for number in range(repeat):
        for threads in THREADS:
            turns = [OURS, DISK, DEFAULT]
            order.shuffle(turns)
            for who in turns:
                seen = started(who=who, threads=threads, calls=calls, seed=seed * 1000 + number)
                for kind in KINDS:
                    rates[kind, threads, who].append(tuple(seen[kind]))
    return rates


def started(**options: Any) -> dict[str, Any]:
    """What two processes in one fresh folder measured: the second finds what the first has stored."""
    seen: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for again in (False, True)[: 1 if options.get("equal") else 2]:
            request = json.dumps({**options, "folder": folder, "again": again})
            command = [sys.executable, __file__, "--cell", request]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seen |= json.loads(done.stdout)
    return seen


def row(kind: str, threads: int, rates: Rates) -> str:
    ours, disk, default = (rates[kind, threads, who] for who in (OURS, DISK, DEFAULT))
    ratio = statistics.median(mine[0] / peer[0] for mine, peer in zip(ours, disk, strict=True))
    target = TARGETS.get((kind, threads))
    verdict = "–" if target is None else "ok" if ratio >= target else "below"
    cells = [threads, kind, told(ours), told(disk), told(default), f"{ratio:.2f}"]
    cells += ["–" if target is None else f"{target:.1f}", verdict, f"{spent(ours)}, {spent(disk)}"]
    return "| " + " | ".join(map(str, cells)) + " |"


def told(seen: list[tuple[float, float]]) -> str:
    rates = [rate for rate, _ in seen]
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f})"


def spent(seen: list[tuple[float, float]]) -> str:
    return f"{statistics.median(cpu for _, cpu in seen) * 1e6:.0f}"


# What follows runs in a process of its own.


class AtOnce:
    """A model that answers at once, and counts.

    Args:
        slow: Seconds it takes all the same, for all to have asked.
    """

    def __init__(self, slow: float = 0.0) -> None:
        self.asked = 0
        self._slow = slow
        self._lock = threading.Lock()

    def complete(self, request: Any) -> Any:
        from dspy.lm15 import Message, Response, TextPart, Usage

        with self._lock:
            self.asked += 1
        if self._slow:
            time.sleep(self._slow)
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant([TextPart(ANSWER)]),
            finish_reason="stop",
            usage=Usage(input_tokens=100, output_tokens=100),
        )


def cell(
    who: str, threads: int, calls: int, seed: int, folder: str, *, again: bool, equal: bool = False
) -> dict[str, Any]:
    """Calls a second by kind, and how often the model was asked."""
    model = AtOnce(0.3 if equal else 0.0)
    lm, close = (ours if who == OURS else theirs)(model, Path(folder), memory=who == DEFAULT)
    prompts = [f"{PROMPT} Number {seed}-{number}." for number in range(calls)]
    if equal:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda _: lm(prompts[0]), range(threads)))
        close()
        return {"model": model.asked}
    lm("imports, connections and caches are warm")
    before = model.asked
    first = rate(lm, prompts, threads)
    expected = 0 if again else calls
    assert model.asked - before == expected, (model.asked - before, expected)
    seen = {"hit, new process": first} if again else {"miss": first, "hit": rate(lm, prompts, threads)}
    assert model.asked - before == expected
    close()
    return {**seen, "model": model.asked}


def rate(lm: Callable[[str], Any], prompts: list[str], threads: int) -> tuple[float, float]:
    """Calls a second of so many threads over all prompts, and CPU seconds a call."""
    ready = threading.Barrier(threads + 1)

    def work(first: int) -> None:
        ready.wait()
        for prompt in prompts[first::threads]:
            lm(prompt)

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, number) for number in range(threads)]
        ready.wait()
        began, used = time.perf_counter(), time.process_time()
        for future in futures:
            future.result()
        took, used = time.perf_counter() - began, time.process_time() - used
    return len(prompts) / took, used / len(prompts)


def ours(model: AtOnce, folder: Path, *, memory: bool) -> tuple[Any, Callable[[], None]]:
    """A `FleetLM` over the whole call path: journal, ledger, budget."""
    from skill_fleet.config.settings import ModelSpec
    from skill_fleet.foundation.clock import SYSTEM_CLOCK
    from skill_fleet.llm.budget import Account, Gate, Limits
    from skill_fleet.llm.calls.engine import Line, MeteredEngine
    from skill_fleet.llm.fleet_lm import FleetLM
    from skill_fleet.llm.journal.journal import Journal
    from skill_fleet.llm.pricing import price_of
    from skill_fleet.llm.providers.provider import Awaitable

    assert not memory
    journal = Journal(folder / "state" / "ledger.sqlite", folder / "cache" / "responses.sqlite")
    spec = ModelSpec(model="offline/at-once", temperature=0.5)
    line = Line(journal, "benchmark", SYSTEM_CLOCK)
    gate = Gate(Account(Limits(), SYSTEM_CLOCK))
    return FleetLM(
        MeteredEngine(Awaitable(model), spec, line, gate, price_of(spec)), temperature=0.5
    ), journal.close


def theirs(model: AtOnce, folder: Path, *, memory: bool) -> tuple[Any, Callable[[], None]]:
    """A `dspy.LM` with DSPy's cache."""
    import dspy

    dspy.configure_cache(disk_cache_dir=str(folder), enable_memory_cache=memory)
    lm = dspy.LM("offline/at-once", engine=model, num_retries=0, temperature=0.5)
    return lm, dspy.cache.disk_cache.close


if __name__ == "__main__":
    sys.exit(main())
