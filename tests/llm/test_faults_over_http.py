"""Each fault of the simulated provider through the real call path: what the page on faults says of it."""

from pathlib import Path
from typing import Any

import pytest
from dspy.utils.exceptions import LMError

from skill_fleet.config.settings import ModelSpec, PriceOverride
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.limits.limiter import Limiter
from skill_fleet.llm.providers.provider import Provider
from skill_fleet.simulator import CATALOGUE, Faults, SimulatorSettings, running

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "providers-and-faults.md"
BILLED = {"no": (0, False), "perhaps": (1, False), "yes": (1, True)}


def rows() -> dict[str, list[str]]:
    """Fault -> the other cells of its row."""
    lines = [line.strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    lines = [cells for cells in lines if len(cells) == 6]  # there are other tables
    return {name.strip(" `"): [cell.strip(" `") for cell in cells] for name, *cells in lines}


def ledger(made: Any) -> list[tuple[Any, ...]]:
    """The attempts at the call that met the fault."""
    query = "select state, reason, possibly_billed, input_tokens is not null from ledger.attempt order by id"
    return made.journal._db.execute(query).fetchall()[1:]  # the first found the provider well


def met(rig: Any, clock: Any, name: str, in_a_row: int) -> tuple[Any, BaseException | None]:
    """One call at a provider that has answered, and where the fault now happens so often in a row."""
    with running(
        SimulatorSettings(faults=Faults(slow_seconds=0.1, hang_seconds=2.0, in_a_row=in_a_row))
    ) as server:
        spec = ModelSpec(
            model="openai/offline/rules-v1",
            api_base=server.url,
            timeout=1.0 if name == "hang" else 60.0,
            max_tokens=400,
            price=PriceOverride(input_per_million=1, output_per_million=1),
        )
        made = rig(
            Provider(spec, {}),
            spec=spec,
            on_failure="raise",
            run=f"{name} {in_a_row}",
            limiter=Limiter(clock, longest_pause=60.0, outage_seconds=120.0),
        )
        made.lm("Are you there?")
        server.change(faults={name: 1.0})
        made.clock.slept.clear()
        end: BaseException | None = None
        try:
            made.lm("Say hello to the world.")
        except (LMError, Halt) as error:
            end = error
        assert server.totals().requests == made.spent.calls, "the ledger counts what the server counts"
        return made, end


def test_every_fault_has_its_row() -> None:
    assert set(rows()) == set(CATALOGUE)


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_fault_is_taken_as_the_page_says(rig: Any, clock: Any, name: str) -> None:
    _, attempts, reason, billed, for_good = rows()[name]
    made, end = met(rig, clock, name, 4)
    lines = ledger(made)
    if attempts in {"up to 6", "any"}:
        assert end is None, "four in a row are waited out"
        assert [line[0] for line in lines] == ["failed"] * 4 + ["settled"]
    else:
        assert len(lines) == 1
        assert made.clock.slept == []
    if not reason:
        assert end is None
        assert lines[0][:2] == ("settled", None)
        assert (lines[0][3] == 0) == ("unknown" in billed), "a usage that nobody told is unknown"
        return
    assert lines[0][1] == reason
    assert (lines[0][2], bool(lines[0][3])) == BILLED[billed]
    if attempts == "1":
        assert isinstance(end, Halt) == (for_good == "the run stops")


def test_a_provider_that_turns_everybody_away_is_given_up_after_a_while(rig: Any, clock: Any) -> None:
    assert rows()["rate_limit"][1::3] == ["any", "the run stops"]
    made, end = met(rig, clock, "rate_limit", 10**6)
    assert isinstance(end, Halt)
    assert end.error.code == "rate_limit"
    assert 120.0 <= sum(made.clock.slept) < 240.0
    assert len(ledger(made)) > 6


def test_an_error_of_the_server_that_nobody_else_is_there_to_compare_with_is_given_an_outage(
    rig: Any, clock: Any
) -> None:
    made, end = met(rig, clock, "server_error", 99)
    assert 100.0 <= sum(made.clock.slept) <= 130.0  # and what the calls themselves take
    assert len(ledger(made)) <= 16
    assert isinstance(end, LMError)
    assert made.gate.closed is None, "only this call fails"


@pytest.mark.parametrize("name", ["malformed", "length"])
def test_what_does_not_pass_is_tried_six_times(rig: Any, clock: Any, name: str) -> None:
    made, end = met(rig, clock, name, 99)
    assert len(ledger(made)) == 6
    assert isinstance(end, LMError)
    assert made.gate.closed is None, "only this call fails"
    assert (sum(made.clock.slept) > 3.0) == (name != "length"), "an answer is not shorter for waiting"
