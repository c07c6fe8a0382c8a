"""A content filter that withholds everything, or a tenth: when an evaluation is given up, what it says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from skill_fleet.simulator import Faults, Running, SimulatorSettings, running
from skill_fleet.simulator.script import Rule

CONFIG = """
models:
  default: remote
  registry:
    remote:
      model: openai/offline/rules-v1
      api_base: "{url}"
      max_tokens: 800
      timeout: 20
      price: {{ input_per_million: 1.0, output_per_million: 2.0 }}
"""
EXAMPLES = 120


@pytest.fixture
def measured(ws: Path, own: tuple[str, ...]) -> tuple[str, ...]:
    """Options that measure the program on many examples; those that a filter may meet come first."""
    words = ["odd" if number < EXAMPLES // 10 else "plain" for number in range(EXAMPLES)]
    rows = [{"task": f"Name a shop for {word} thing {number}."} for number, word in enumerate(words)]
    (ws / "many.json").write_text(json.dumps(rows))
    return tuple(word.replace("things.json", "many.json") for word in own[:6])


def use(ws: Path, server: Running) -> None:
    (ws / "config").mkdir(exist_ok=True)
    (ws / "config" / "config.yaml").write_text(CONFIG.format(url=server.url))


@pytest.mark.parametrize("threads", [1, 8])
def test_where_everything_is_withheld_a_few_calls_are_paid_and_the_sentence_says_so(
    ws: Path, cli: Any, measured: tuple[str, ...], threads: int
) -> None:
    with running(SimulatorSettings(faults=Faults({"content_filter": 1.0}), latency=0.005)) as server:
        use(ws, server)
        ended = cli("evaluate", *measured, "--num-threads", threads)
        totals = server.totals()
    assert ended.code == 6
    assert totals.requests <= 14 if threads == 1 else 14 <= totals.requests <= 36
    (said,) = [line for line in ended.err.splitlines() if "withheld" in line]
    tried = f"{totals.requests} of the {totals.requests} examples tried (there are {EXAMPLES}) failed"
    assert tried in said
    dollars = (totals.billed_prompt_tokens + 2 * totals.billed_completion_tokens) / 1e6
    tokens = totals.billed_prompt_tokens + totals.billed_completion_tokens
    assert f"Spent until then: ${dollars:.4f} ({totals.requests} calls, {tokens:,} tokens)." in said


@pytest.mark.parametrize("threads", [1, 8])
def test_where_a_tenth_is_withheld_it_goes_through_though_these_are_the_first(
    ws: Path, cli: Any, measured: tuple[str, ...], threads: int
) -> None:
    script = (Rule(re.compile("odd thing"), None, "content_filter", None),)
    with running(SimulatorSettings(script=script)) as server:
        use(ws, server)
        ended = cli("evaluate", *measured, "--num-threads", threads, "--json")
    assert ended.code == 0, ended.err
    assert [one["reason"] for one in ended.json["excluded"]] == ["content_filter"] * (EXAMPLES // 10)


def test_a_comparison_gives_up_as_soon(ws: Path, cli: Any, measured: tuple[str, ...]) -> None:
    script = (Rule(re.compile("thing"), None, "content_filter", None),)
    with running(SimulatorSettings(script=script)) as server:
        use(ws, server)
        program, metric, data = measured[1], measured[3], measured[5]
        ended = cli("compare", program, program, "--metric", metric, "--data", data, "--num-threads", 1)
        assert server.totals().requests <= 14
    assert ended.code == 6
    assert "Spent until then: $0.0" in ended.err
