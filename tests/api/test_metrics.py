"""What Prometheus reads is what happened, in a bounded number of lines."""

from collections.abc import Iterator

import pytest
from api_frame import client_of
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from skill_fleet.api.app import create_app
from skill_fleet.jobs.records import NewJob
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
