"""Caps on calls, dollars and minutes hold through a quarter of faults: by the provider's own books."""

import time

import pytest

from skill_fleet.simulator import Faults, Price, SimulatorSettings, running

CONFIG = """
models:
  default: remote
  registry:
    remote:
      model: openai/offline/rules-v1
      api_base: "{url}"
      max_tokens: 800
      timeout: 60
      price: {{ input_per_million: 1, output_per_million: 2 }}
calls: {{ first_pause: 0.02, longest_pause: 1.0 }}
"""
MIX = ("rate_limit", "server_error", "unavailable", "reset", "malformed")


@pytest.fixture
def capped(ws, own, cli):
    """Runs a search with 16 threads under a cap; how it ended, and what the provider counted."""

    def run(*cap, latency=0.0):
        faults = Faults(dict.fromkeys(MIX, 0.05))
        settings = SimulatorSettings(
            faults=faults, price=Price(1.0, 2.0), bill_errors=True, latency=latency, latency_sigma=0
        )
        with running(settings) as server:
            (ws / "config").mkdir(exist_ok=True)
            (ws / "config" / "config.yaml").write_text(CONFIG.format(url=server.url))
            ended = cli("optimize", *own, "--num-threads", "16", "--json", *cap)
            return ended, server.totals()

    return run


@pytest.mark.parametrize("most", [1, 17])
def test_not_one_request_more_than_the_cap(capped, most):
    ended, served = capped("--max-calls", str(most))
    assert (ended.code, ended.json["error"]["code"]) == (5, "budget")
    assert served.requests == ended.json["calls"]["made"] == most


def test_not_a_cent_more_than_the_cap(capped):
    ended, served = capped("--max-cost", "0.02")
    assert (ended.code, ended.json["error"]["code"]) == (5, "budget")
    least, most = ended.json["usd_range"]
    assert 0 < least <= served.billed_usd <= most <= 0.02
    assert served.requests == ended.json["calls"]["made"]


def test_no_request_after_the_minutes(capped):
    began = time.monotonic()
    ended, served = capped("--max-minutes", "0.03", latency=0.5)
    assert (ended.code, ended.json["error"]["code"]) == (5, "budget")
    assert served.requests == ended.json["calls"]["made"]
    assert time.monotonic() - began < 60  # of which a busy machine takes the most
