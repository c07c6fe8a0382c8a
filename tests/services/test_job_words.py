"""What clients are told is in the words of what they sent, and nothing of the machine is in it."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))

from job_harness import stand

from skill_fleet.foundation.errors import BudgetExhausted, IntegrityError, StorageError
from skill_fleet.foundation.files import write_json
from skill_fleet.services.job_ending import Ended, ended_by
from skill_fleet.services.job_requests import BudgetBody, CreationBody, OptimizationBody
from skill_fleet.services.job_views import job_view
from skill_fleet.services.job_words import FIELDS, ended_as_job, in_fields, of_job, told

JOB = "20260101-000000-0123456789"
ROOT = "/srv/secret/place"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("--trials and --auto exclude each other.", "trials and auto exclude each other."),
        ("--max-cost cannot hold: cap --max-calls.", "budget.max_cost cannot hold: cap budget.max_calls."),
        ("The price is $0.0000 of $0.0040.", "The price is $0 of $0.0040."),
        ("See: skill-fleet optimize --max-cost 3.", "See: skill-fleet optimize --max-cost 3."),
        ("--host and ---auto are no fields.", "--host and ---auto are no fields."),
    ],
)
def test_options_become_the_fields_that_mean_them(said: str, meant: str) -> None:
    assert in_fields(said) == meant


def test_every_field_that_is_named_can_be_sent() -> None:
    known = {*OptimizationBody.model_fields, *CreationBody.model_fields}
    known |= {f"budget.{name}" for name in BudgetBody.model_fields}
    assert {name for option, name in FIELDS.items() if option != "--force"} <= known
    assert "force" in CreationBody.model_fields


def test_a_run_is_resumed_as_its_job() -> None:
    command = f"Go on with: skill-fleet jobs resume {JOB}."
    assert of_job(f"Go on with: skill-fleet runs resume {JOB}.", JOB, ROOT) == command
    assert of_job("Go on with: skill-fleet runs resume.", JOB, ROOT) == command


def test_a_job_cannot_be_resumed_over_changes() -> None:
    hint = f"Start a new run. Or go on with what is there now: skill-fleet runs resume {JOB} --resume-anyway."
    error = IntegrityError("It cannot be resumed.", hint=hint)
    ended = ended_as_job(ended_by(error, None), JOB, ROOT)
    assert ended.error is not None
    assert ended.error["hint"] == "Start a new run."


def test_a_full_disk_is_told_without_its_path(tmp_path: Path) -> None:
    blocked = tmp_path / "runs"
    blocked.write_text("no directory")
    with pytest.raises(StorageError) as found:
        write_json(blocked / JOB / "result.json", {})
    assert str(tmp_path) in found.value.message
    ended = ended_as_job(ended_by(found.value, None), JOB, str(tmp_path))
    assert ended.status == "stopped"
    assert str(tmp_path) not in str(ended)
    assert "runs/" in ended.message


def test_what_a_result_says_is_told_so_and_what_it_found_is_untouched() -> None:
    said = {"code": "x", "message": f"{ROOT}/a is full.", "hint": "skill-fleet runs resume"}
    found = {"instructions": f"Read {ROOT}/--auto", "error": said, "warnings": [said], "usd": None}
    ended = ended_as_job(Ended("stopped", found, said, said["message"]), JOB, ROOT)
    clean = {"code": "x", "message": "a is full.", "hint": f"skill-fleet jobs resume {JOB}"}
    assert ended == Ended("stopped", {**found, "error": clean, "warnings": [clean]}, clean, "a is full.")


def test_an_event_names_no_place_of_the_machine() -> None:
    data: dict[str, Any] = {
        "n": 1,
        "path": f"{ROOT}/x",
        "deep": [{"message": f"--auto in {ROOT}"}],
        "w": None,
    }
    assert told(data, JOB, ROOT) == {"n": 1, "path": "x", "deep": [{"message": "auto in ."}], "w": None}
    assert told(data, JOB, "")["path"] == f"{ROOT}/x"


def test_a_cap_is_told_in_one_sentence() -> None:
    error = BudgetExhausted(
        "The cap of $0.0000 is reached: --max-calls 22000 would do.", hint="Raise the cap."
    )
    ended = ended_as_job(ended_by(error, None), JOB, ROOT)
    assert ended.message == "The cap of $0 is reached: budget.max_calls 22000 would do."


@pytest.mark.parametrize(
    ("status", "kept", "shown"),
    [
        ("cancelled", "Paused.", "Cancelled."),
        ("cancelled", "Cancelled; the best so far is kept.", "Cancelled; the best so far is kept."),
        ("cancelled", "Round 1 of 2: searching, 3 calls.", "Cancelled."),
        ("paused", "Round 1 of 2: searching, 3 calls.", "Paused."),
        ("queued", "Round 1 of 2: searching, 3 calls.", "Waiting for a worker."),
        ("running", "Round 1 of 2: searching, 3 calls.", "Round 1 of 2: searching, 3 calls."),
    ],
)
def test_the_message_of_a_job_is_that_of_its_status(
    tmp_path: Path, status: Any, kept: str, shown: str
) -> None:
    with stand(tmp_path) as one:
        job = one.job("a", {})
    assert job_view(replace(job, status=status, message=kept))["message"] == shown
