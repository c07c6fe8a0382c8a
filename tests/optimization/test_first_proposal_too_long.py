"""A model that only proposes, whose first prompt is longer than it takes, over HTTP."""

import json
import re

import pytest

from skill_fleet.config.load import load
from skill_fleet.optimization.records.runs import find_run
from skill_fleet.optimization.session import Control
from skill_fleet.simulator import SimulatorSettings, running
from skill_fleet.simulator.script import Rule

CONFIG = """
models:
  default: remote
  registry:
    remote: {{ model: openai/offline/rules-v1, api_base: "{url}", temperature: 0.7, timeout: 20 }}
    proposer: {{ model: openai/offline/rules-v1-s2, api_base: "{url}", temperature: 0.7, timeout: 20 }}
"""
INDUCED = "Please adhere to the following rules when making your prediction:"
"""DSPy's own words before rules."""
PROPOSAL = re.compile("natural_language_rules")


@pytest.fixture
def served(place):
    """A workspace whose models a simulated provider serves; the first proposal is too long for it."""
    script = (Rule(PROPOSAL, None, "context", 1),)
    settings = SimulatorSettings(script=script, models=("offline/rules-v1", "offline/rules-v1-s2"))
    with running(settings) as server:
        (place.root / "config").mkdir()
        (place.root / "config" / "config.yaml").write_text(CONFIG.format(url=server.url))
        place.loaded = load(place.root, environ={})
        yield server


def asked(place, threads):
    return place.request("infer_rules", num_threads=threads, rounds=1, models={"optimization": "proposer"})


def noted(place, result):
    return json.loads(find_run(place.loaded.workspace.runs, result.run_id).withheld.read_text())


@pytest.mark.parametrize("threads", [1, 8])
def test_the_rules_are_written_from_fewer_examples(place, served, threads):
    done = place.optimize(asked(place, threads))
    assert done.error is None, done.error
    result = done.result
    assert result.status == "succeeded"
    (one,) = noted(place, result)
    assert one["code"] == "context_window_exceeded"
    assert [line["withheld"] for line in result.rounds] == [1]
    assert all(INDUCED in text for text in result.instructions.values())
    assert result.optimized["validation"] > result.baseline["validation"]
    assert [record.fault for record in served.records()].count("context") == 1


def test_a_run_that_was_stopped_there_goes_on_without_it(place, served):
    control = Control()

    def stop(event):
        if event.kind == "withheld":
            control.interrupt()

    request = asked(place, 8)
    first = place.optimize(request, listener=stop, control=control).result
    assert first.stop_reason == "interrupted"
    again = place.resume(first.run_id, request)
    assert again.error is None, again.error
    assert len(noted(place, again.result)) == 1
    assert all(INDUCED in text for text in again.result.instructions.values())
    assert [record.fault for record in served.records()].count("context") == 1
