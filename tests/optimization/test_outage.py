"""A provider that is killed in the middle of a run: stopped with a word, resumed without paying twice."""

from pathlib import Path

import pytest
from kill_harness import Case
from outage_harness import died


@pytest.mark.timeout(400)
@pytest.mark.slow  # three commands and two providers, all processes of their own
def test_a_killed_provider_stops_the_run_and_back_again_it_ends_the_same(tmp_path: Path) -> None:
    found = died(Case("gepa", 16), tmp_path)
    assert found.faults() == []
