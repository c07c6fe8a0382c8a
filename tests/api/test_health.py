"""Alive, ready, and why not."""

import shutil
import types
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from api_frame import client_of
from fastapi import FastAPI

from skill_fleet.api.app import create_app
from skill_fleet.api.health import MIN_FREE_BYTES
from skill_fleet.foundation.errors import StorageError
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


def ready(app):
    response = client_of(app).get("/readyz")
    return response.status_code, response.json()["checks"]


def test_all_is_well(app: FastAPI) -> None:
    assert ready(app) == (200, {"database": "ok", "disk": "ok"})
    assert client_of(app).get("/healthz").json() == {"status": "ok"}


def test_no_key_is_needed_and_nothing_told_but_states(app: FastAPI, service: Service) -> None:
    service.keys.create("somebody", ["admin"])
    response = client_of(app).get("/readyz")
    assert response.status_code == 200
    assert str(service.context.workspace.root) not in response.text


def test_a_database_that_is_gone(app: FastAPI, service: Service) -> None:
    service.close()
    for file in service.database.folder.glob("jobs.sqlite*"):
        file.unlink()
    service.database.folder.rename(service.database.folder.with_name("elsewhere"))
    status, checks = ready(app)
    assert status == 503
    assert checks["database"] == "it does not answer (storage)"
    assert client_of(app).get("/healthz").status_code == 200


def test_tables_of_another_version(app: FastAPI, service: Service) -> None:
    service.database.write(lambda db: db.execute(sa.text("UPDATE alembic_version SET version_num = '9999'")))
    status, checks = ready(app)
    assert (status, checks["database"]) == (503, "its tables are not those of this version")


def test_the_worker_of_this_process(app: FastAPI) -> None:
    app.state.expects_worker = True
    assert ready(app)[1]["worker"] == "it is starting"
    app.state.worker = types.SimpleNamespace(failed=None, trouble=None)
    assert ready(app) == (200, {"database": "ok", "worker": "ok", "disk": "ok"})
    for trouble, code in ((StorageError("/home/me is full", code="disk"), "disk"), (KeyError("me"), "bug")):
        app.state.worker.trouble = trouble
        status, checks = ready(app)
        assert (status, checks["worker"]) == (503, f"it cannot work just now ({code}); it tries again")
    app.state.worker.failed = RuntimeError("the inside of it")
    status, checks = ready(app)
    assert status == 503
    assert checks["worker"] == "it failed; the log of the server says why"


def test_a_full_disk(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = types.SimpleNamespace(free=MIN_FREE_BYTES - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage)
    status, checks = ready(app)
    assert (status, checks["disk"]) == (503, "less than 64 MiB are free")
    usage.free += 1
    assert ready(app)[0] == 200


def test_not_ready_says_when_to_ask_again(app: FastAPI) -> None:
    app.state.expects_worker = True
    response = client_of(app).get("/readyz")
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
