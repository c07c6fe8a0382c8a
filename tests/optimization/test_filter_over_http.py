"""A content filter that withholds what is said about two tickets, over HTTP and from the command line."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from kill_harness import Case, make_workspace
from outage_harness import configure, ended, served, started

from skill_fleet.config.load import load
from skill_fleet.optimization.planning.plan import make_plan
from skill_fleet.optimization.records.request import OptimizationRequest

pytestmark = pytest.mark.timeout(300)
ASKED = r"\[\[ ## ticket ## \]\]\s*"
IMPROVED = "If the ticket mentions.*"


def searched(root: Path) -> dict[str, str]:
    """Id and ticket of two examples of a workspace's search: one to train with, one to choose by."""
    request = OptimizationRequest(
        optimizer="gepa", program="triage:TriageProgram", metric="triage:exact", data="tickets.json"
    )
    split = make_plan(request, load(root, environ={})).split
    return {item.id: item.fields["ticket"] for item in (split.train[0], split.validation[0])}


def through_a_filter(place: Path, tickets: Iterable[str], case: Case, before: str = "") -> tuple[Path, Any]:
    """Optimize through a provider that withholds its answers about some tickets.

    Args:
        place: The workspace.
        tickets: Which.
        case: Optimizer and threads.
        before: What else the prompt has, as a regular expression.

    Returns:
        The run's folder, and its result.
    """
    asked = f"(?s){before}{ASKED}({'|'.join(map(re.escape, tickets))})"
    (place / "script.json").write_text(json.dumps([{"match": asked, "fault": "content_filter"}]))
    with served(0, "--script", str(place / "script.json")) as provider:
        configure(place, provider.url)
        code, result, said = ended(started(case.words(), place))
        assert code == 0, said
        assert result["calls"]["made"] == provider.requests()
    assert (result["status"], result["calls"]["excluded"]) == ("succeeded", 2)
    assert result["optimized"]["validation"] > result["baseline"]["validation"]
    return place / ".skill-fleet" / "runs" / result["run_id"], result


@pytest.mark.slow  # a provider and a whole run, both processes of their own
def test_what_is_withheld_from_the_first_is_set_aside_before_the_search(tmp_path: Path) -> None:
    place = make_workspace(tmp_path / "ws")
    withheld = searched(place)
    folder, result = through_a_filter(place, withheld.values(), Case("miprov2", 16))
    assert sorted(json.loads((folder / "set_aside.json").read_text())) == sorted(withheld)
    assert not (folder / "quarantine.json").exists()
    told = [one["message"] for one in result["warnings"] if one["code"] == "examples_excluded"]
    assert told == ["2 examples failed for good and were set aside."]


@pytest.mark.slow  # a provider and a whole run, both processes of their own
def test_what_is_withheld_in_the_search_is_set_aside_in_it(tmp_path: Path) -> None:
    place = make_workspace(tmp_path / "ws")
    withheld = searched(place)
    folder, result = through_a_filter(place, withheld.values(), Case("gepa", 16), IMPROVED)
    aside = json.loads((folder / "quarantine.json").read_text())
    assert sorted(one["item_id"] for one in aside) == sorted(withheld)
    assert all("content_filter" in one["reason"] for one in aside)
    told = [one["message"] for one in result["warnings"] if one["code"] == "examples_excluded"]
    assert len(told) == 2
    assert all(any(f"The example {name} failed" in words for words in told) for name in withheld)
