"""What a run says of its data before anything is spent."""

from dataclasses import replace

from skill_fleet.domain.lint import DataFinding
from skill_fleet.optimization.advice.small_data import data_warnings
from skill_fleet.optimization.planning.plan import make_plan


def findings(plan):
    """The plan, with much to be said of its data."""
    made = [DataFinding("contradiction", "warning", (), f"Pair {number}.") for number in range(40)]
    return replace(plan, findings=(*made, DataFinding("note", "info", (), "Nobody need know.")))


def test_dozens_of_a_kind_are_a_few_and_a_number(place):
    plan = findings(make_plan(place.request(), place.loaded))
    said = [message for code, message in data_warnings(plan) if code == "contradiction"]
    assert said[:2] == ["Pair 0.", "Pair 1."]
    assert said[2:] == ["And 38 more like these: skill-fleet dataset lint shows all."]
    assert "Nobody need know." not in [message for _, message in data_warnings(plan)]
