"""The OpenAPI document: whole, with names that stay, examples that hold, and every refusal."""

import json

import pytest
from api_frame import HandClock
from api_frame import frame as framed_app

from skill_fleet.api import examples, job_schemas, schemas
from skill_fleet.services.job_requests import CreationBody, OptimizationBody, ResumeBody

CONTRACT = {
    "POST /api/v2/optimization/start": "start_optimization",
    "GET /api/v2/optimization/status/{job_id}": "job_status",
    "GET /api/v2/optimization/optimizers": "list_optimizers",
    "GET /api/v2/optimization/config": "read_configuration",
    "DELETE /api/v2/optimization/jobs/{job_id}": "delete_job",
    "GET /api/v2/optimization/jobs": "list_jobs",
    "GET /api/v2/optimization/jobs/{job_id}/events": "job_events",
    "POST /api/v2/optimization/jobs/{job_id}/pause": "pause_job",
    "POST /api/v2/optimization/jobs/{job_id}/resume": "resume_job",
    "POST /api/v2/optimization/jobs/{job_id}/cancel": "cancel_job",
    "GET /api/v2/optimization/jobs/{job_id}/result": "job_result",
    "GET /api/v2/optimization/jobs/{job_id}/report": "job_report",
    "POST /api/v2/optimization/estimate": "estimate_optimization",
    "POST /api/v2/optimization/recommend": "recommend_optimizer",
    "POST /api/v2/evaluation/evaluate": "evaluate_skill",
    "POST /api/v2/evaluation/evaluate-content": "evaluate_content",
    "POST /api/v2/evaluation/evaluate-batch": "evaluate_batch",
    "GET /api/v2/evaluation/metrics-info": "metrics_info",
    "POST /api/v2/skills": "create_skill",
    "GET /api/v2/skills": "list_skills",
    "GET /api/v2/skills/{path}": "read_skill",
    "POST /api/v2/skills/validate": "validate_skill",
    "GET /healthz": "is_alive",
    "GET /readyz": "is_ready",
    "GET /metrics": "get_metrics",
}


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    found = framed_app(tmp_path_factory.mktemp("workspace"), HandClock()).openapi()
    return json.loads(json.dumps(found))


@pytest.fixture(scope="module")
def operations(document):
    return {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if not path.startswith("/probe")
    }


def test_it_is_the_contract(operations):
    assert {name: operation["operationId"] for name, operation in operations.items()} == CONTRACT
    assert len(set(CONTRACT.values())) == len(CONTRACT)


def test_every_operation_says_what_it_does(operations):
    for name, operation in operations.items():
        assert operation["summary"], name
        assert operation["description"].endswith((".", "`")), name


def test_every_refusal_is_a_problem_document(operations):
    for name, operation in operations.items():
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and not (name == "GET /readyz" and status == "503"):
                schema = answer["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}, (name, status)
        assert {"401", "413", "500"} <= operation["responses"].keys(), name
        assert "default" not in operation["responses"], name


def test_every_reference_leads_somewhere(document):
    named = document["components"]["schemas"]

    def look(value):
        if isinstance(value, dict):
            if "$ref" in value:
                assert value["$ref"].removeprefix("#/components/schemas/") in named
            for inner in value.values():
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    look(document)


def test_every_body_has_an_example(document, operations):
    for name, operation in operations.items():
        for content in operation.get("requestBody", {}).get("content", {}).values():
            kind = content["schema"].get("$ref", "").removeprefix("#/components/schemas/")
            shown = content.get("examples") or document["components"]["schemas"][kind].get("examples")
            assert shown, name


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (OptimizationBody, examples.START_BODY),
        (ResumeBody, examples.RESUME_BODY),
        (CreationBody, examples.CREATE_BODY),
        (schemas.EvaluateBody, examples.EVALUATE_BODY),
        (schemas.EvaluateContentBody, examples.CONTENT_BODY),
        (schemas.EvaluateBatchBody, examples.BATCH_BODY),
        (schemas.ValidateBody, examples.VALIDATE_BODY),
        (job_schemas.Started, examples.STARTED),
        (job_schemas.JobView, examples.JOB),
        (job_schemas.Event, examples.EVENT),
    ],
)
def test_an_example_is_one(kind, value):
    kind.model_validate(value)


def test_who_may_is_told(operations):
    for name, operation in operations.items():
        if name in {"GET /healthz", "GET /readyz"}:
            assert operation["security"] == []
        else:
            assert {"key": []} in operation["security"], name
    runs = {
        operation["operationId"] for operation in operations.values() if operation.get("x-scope") == "run"
    }
    assert runs == {
        "start_optimization", "delete_job", "pause_job", "resume_job", "cancel_job", "create_skill"
    }  # fmt: skip


def test_every_job_can_be_reached_by_the_links_of_its_view(operations):
    paths = {name.partition(" ")[2] for name in operations}
    for link in examples.LINKS.values():
        assert link.replace(examples.JOB_ID, "{job_id}") in paths
