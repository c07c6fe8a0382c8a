"""The page about the simulated provider says of each fault what the program does."""

import re
from pathlib import Path

from skill_fleet.simulator import CATALOGUE

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-limits-with-a-simulated-provider.md"
ROW = re.compile(r"^\| `(\w+)` \| .*? \| (yes|no) \| (passes|for good) \|$", re.MULTILINE)


def test_every_fault_is_in_the_table_with_what_it_costs_and_whether_it_passes():
    shown = {
        name: (billed == "yes", lasts == "for good") for name, billed, lasts in ROW.findall(PAGE.read_text())
    }
    assert shown == {name: (fault.worked, fault.permanent) for name, fault in CATALOGUE.items()}
