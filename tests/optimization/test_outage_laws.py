"""What `benchmarks/outage.py` holds a run to whose provider was killed can break, each law for itself."""

from dataclasses import replace
from typing import Any

import pytest
from kill_harness import OUTCOME
from outage_harness import OUTAGE, Died

NOT_AMIDST = "answers before it was killed: not in the middle"
RESUME = "skill-fleet runs resume r"
WHOLE: dict[str, Any] = {
    **dict.fromkeys(OUTCOME, 0.5),
    "program_hash": "h",
    "rounds": [{"score": 0.5, "best": 0.5, "instructions": {}}],
    "calls": {"made": 103},
}
HELD = Died(
    asked=100,
    at=50,
    code=6,
    seconds=OUTAGE,
    said=f"stopped; go on with {RESUME}",
    stopped={"run_id": "r", "stop_reason": "provider", "resume": RESUME},
    resumed=WHOLE,
    whole=WHOLE | {"calls": {"made": 100}},
    refused=3,
    asked_again=40,
    answers=(60, 100),
    repeated=0,
)


@pytest.mark.parametrize(
    ("changed", "law"),
    [
        ({"code": 0}, "exit code 0"),
        ({"seconds": OUTAGE - 0.6}, "2.4 s to the end"),
        ({"seconds": OUTAGE + 3.1}, "6.1 s to the end"),
        ({"stopped": HELD.stopped | {"stop_reason": "budget"}}, "stopped by budget"),
        ({"stopped": HELD.stopped | {"resume": None}}, "no word on how to go on"),
        ({"said": "stopped"}, "no word on how to go on"),
        ({"said": f"{HELD.said} Traceback"}, "a traceback"),
        ({"resumed": WHOLE | {"program_hash": "other"}}, "another program"),
        *(({"resumed": WHOLE | {name: 0.4}}, "another result") for name in OUTCOME),
        ({"resumed": WHOLE | {"rounds": []}}, "another result"),
        ({"resumed": WHOLE | {"calls": {"made": 102}}}, "102 calls, not 103"),
        ({"repeated": 1}, "1 answers paid twice"),
        ({"asked_again": 41}, "41 asked again for (60, 100)"),
        ({"asked": 99}, "100 answers, not 99"),
        ({"refused": 0, "resumed": WHOLE | {"calls": {"made": 100}}}, "no attempt failed: it was not asked"),
        (
            {"answers": (100, 100), "asked_again": 0},
            f"100 of 100 {NOT_AMIDST}",
        ),
        (
            {"answers": (0, 100), "asked_again": 100},
            f"0 of 100 {NOT_AMIDST}",
        ),
    ],
)
def test_each_law_can_break(changed: dict[str, Any], law: str) -> None:
    assert HELD.faults() == []
    assert replace(HELD, **changed).faults() == [law]
