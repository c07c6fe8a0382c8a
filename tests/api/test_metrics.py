"""What Prometheus reads is what happened, in a bounded number of lines."""

from collections.abc import Iterator
from typing import Any

import pytest
from api_frame import client_of
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from skill_fleet.api.app import create_app
from skill_fleet.jobs.records import Lease, NewJob, Spending
from skill_fleet.services.context import open_context
from skill_fleet.services.service import Service, open_service


@pytest.fixture
def service(tmp_path) -> Iterator[Service]:
    service = open_service(open_context(tmp_path, environ={}))
    yield service
    service.close()


@pytest.fixture
def app(service: Service) -> FastAPI:
    return create_app(service)


def samples(app, **headers):
    response = client_of(app).get("/metrics", headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_an_empty_service(app: FastAPI) -> None:
    found = samples(app)
    assert found["skill_fleet_queue_depth", ()] == 0
    assert found["skill_fleet_oldest_queued_seconds", ()] == 0
    assert found["skill_fleet_model_calls_total", ()] == 0


def test_jobs_are_counted_by_kind_and_status(app: FastAPI, service: Service) -> None:
    for number in range(3):
        service.jobs.create(NewJob(f"20260101-000000-000000000{number}", "optimization", {}))
    service.jobs.want("20260101-000000-0000000002", "cancelled", None)
    found = samples(app)
    assert found["skill_fleet_jobs", (("kind", "optimization"), ("status", "queued"))] == 2
    assert found["skill_fleet_jobs", (("kind", "optimization"), ("status", "cancelled"))] == 1
    assert found["skill_fleet_queue_depth", ()] == 2
    assert 0 <= found["skill_fleet_oldest_queued_seconds", ()] < 60


def test_answers_are_timed_by_route_and_status(app: FastAPI) -> None:
    client = client_of(app)
    for _ in range(3):
        client.get("/healthz")
    found = samples(app)
    healthy = (("method", "GET"), ("route", "/healthz"), ("status", "200"))
    assert found["skill_fleet_http_request_seconds_count", healthy] == 3
    assert found["skill_fleet_http_request_seconds_sum", healthy] > 0


RESULT = {
    "optimizer": "gepa",
    "simulated": True,
    "accuracy": {"baseline": 0.1, "optimized": 0.75},
    "optimized": {"validation": 0.9, "test": 0.8},
    "verdict": "better",
    "rounds": [{"seconds": 0.5}, {"seconds": 4.0}, {"seconds": 100_000.0}],
}


def finished(service: Service, job_id: str, status: Any, result: Any, error: Any = None) -> None:
    job, _ = service.jobs.create(NewJob(job_id, "optimization", {}))
    lease = service.jobs.claim(job.job_id, job.attempt, "worker-1")
    assert isinstance(lease, Lease)
    service.jobs.progress(lease, spending=Spending(7, 0.25, 2))
    service.jobs.conclude(lease, status, result=result, error=error, message="")


def test_what_runs_came_to(app: FastAPI, service: Service) -> None:
    finished(service, "20260101-000000-0000000001", "succeeded", RESULT)
    unmeasured = {**RESULT, "accuracy": None, "optimized": None, "verdict": None, "optimizer": "simba"}
    finished(service, "20260101-000000-0000000002", "succeeded", unmeasured)
    failure = {"code": "provider", "message": "Away.", "hint": ""}
    finished(service, "20260101-000000-0000000003", "failed", None, failure)
    found = samples(app)
    of = (("optimizer", "gepa"), ("simulated", "true"))
    assert found["skill_fleet_last_accuracy", of] == 0.75
    assert found["skill_fleet_last_quality", of] == 0.8
    assert found["skill_fleet_last_verdict", (*of, ("verdict", "better"))] == 1
    assert not [key for key in found if "accuracy" in key[0] and "simba" in str(key)]
    assert found["skill_fleet_round_seconds_bucket", (("le", "1.0"), ("optimizer", "gepa"))] == 1
    assert found["skill_fleet_round_seconds_bucket", (("le", "5.0"), ("optimizer", "gepa"))] == 2
    assert found["skill_fleet_round_seconds_bucket", (("le", "+Inf"), ("optimizer", "gepa"))] == 3
    assert found["skill_fleet_round_seconds_sum", (("optimizer", "gepa"),)] == 100_004.5
    assert found["skill_fleet_job_failures_total", (("code", "provider"),)] == 1
    assert found["skill_fleet_model_calls_total", ()] == 21
    assert found["skill_fleet_spent_usd_total", ()] == 0.75
    assert found["skill_fleet_model_calls_of_unknown_price_total", ()] == 6


def test_what_clients_make_up_makes_no_line(app: FastAPI) -> None:
    client = client_of(app)

    def knock(name):
        client.get(f"/{name}")
        client.get(f"/api/v2/optimization/status/{name}")
        client.get(f"/api/v2/skills/{name}")
        client.request(name.upper(), "/healthz")
        client.request("GET", "/healthz", headers={"Host": name})

    knock("first")
    before = set(samples(app))
    for number in range(30):
        knock(f"thing{number}")
    new = set(samples(app)) - before
    assert not [name for name in new if "/metrics" not in str(name)]
    assert "thing1" not in client.get("/metrics").text


def test_with_a_key_metrics_need_it(app: FastAPI, service: Service) -> None:
    _, secret = service.keys.create("monitoring", ["read"])
    assert client_of(app).get("/metrics").status_code == 401
    assert samples(app, Authorization=f"Bearer {secret}")
    service.keys.create("other", ["run"])
