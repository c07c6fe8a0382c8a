"""The API as its OpenAPI document tells it: generated requests, no 5xx, no answer that is not documented."""

import zlib

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from rest_server import make_workspace, opened, serving
from schemathesis.specs.openapi import checks

from skill_fleet.jobs.records import NewJob

EXAMPLES = 8
SLOW = dict.fromkeys(
    ("start_optimization", "estimate_optimization", "recommend_optimizer", "create_skill", "evaluate_batch"),
    4,
)
"""Operations for which another process is asked."""
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
NEVER_WRONG = frozenset(
    "is_alive is_ready get_metrics read_skill metrics_info read_configuration list_optimizers".split()
)
"""Their schema allows whatever can be sent."""
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with opened(make_workspace(tmp_path_factory.mktemp("workspace"))) as service:
        yield service


@pytest.fixture(scope="module")
def address(service):
    with serving(service) as address:
        yield address


@pytest.fixture(scope="module")
def schema(address):
    return schemathesis.openapi.from_url(f"{address}/openapi.json")


@pytest.fixture
def job_ids(service, request):
    """Jobs in every status, some of which a client wrote things about."""
    names = []
    for n, status in enumerate(
        ("queued", "running", "paused", "succeeded", "failed", "stopped", "cancelled")
    ):
        name = f"20260115-0930{n:02d}-{zlib.crc32(request.node.name.encode()):010x}"
        job, _ = service.jobs.create(NewJob(name, "optimization", {}, metadata={"é\x00": ["\u2028", 1e300]}))
        if status in {"paused", "cancelled"}:
            service.jobs.want(name, status, None)
        elif status != "queued":
            lease = service.jobs.claim(name, job.attempt, "worker-1")
            service.files.save(lease, {"report.md": b"# Report\n\n\xff\x00<b>\n"})
            if status != "running":
                error = {"code": "x", "message": "It went wrong.", "hint": ""} if status == "failed" else None
                service.jobs.conclude(lease, status, result={"simulated": True}, error=error, message="")
        names.append(name)
    return names


@pytest.fixture(autouse=True)
def short_streams(monkeypatch):
    """A stream of a job that goes on would be read for ever."""
    monkeypatch.setattr("skill_fleet.api.events.LONGEST_SECONDS", 0.1)
    monkeypatch.setattr("skill_fleet.api.events.KEEP_ALIVE_SECONDS", 0.05)


OPERATIONS = frozenset(
    """
    start_optimization job_status list_jobs delete_job cancel_job pause_job resume_job job_events job_result
    job_report list_optimizers read_configuration estimate_optimization recommend_optimizer evaluate_skill
    evaluate_content evaluate_batch metrics_info create_skill list_skills read_skill validate_skill is_alive
    is_ready get_metrics
    """.split()
)


def by_name(schema):
    found = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        found[operation.definition.raw["operationId"]] = operation
    return found


def test_every_operation_is_tried(schema):
    assert set(by_name(schema)) == OPERATIONS


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_answer_is_documented(schema, job_ids, name, mode):
    operation = by_name(schema)[name]
    if mode is schemathesis.GenerationMode.NEGATIVE and name in NEVER_WRONG:
        return

    @hypothesis.settings(
        max_examples=SLOW.get(name, EXAMPLES),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
    @hypothesis.given(
        case=operation.as_strategy(generation_mode=mode), job_id=st.sampled_from([*job_ids, None])
    )
    def tried(case, job_id):
        if mode is schemathesis.GenerationMode.POSITIVE and job_id and "job_id" in case.path_parameters:
            case.path_parameters["job_id"] = job_id
        case.call_and_validate(checks=CHECKS)

    tried()
