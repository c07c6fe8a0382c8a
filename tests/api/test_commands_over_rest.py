"""A client of the service can name no program: models are those that the operator has registered, by name."""

import json
from pathlib import Path

import pytest
from rest_server import client, make_workspace, opened, serving

from command_programs import script
from skill_fleet.jobs.records import ApiKey
from skill_fleet.services.configuration import configuration_view

RUNS = (
    "sh",
    "command/sh",
    "command/mine",
    "command/claude",
    "command/claude/opus",
    "command//bin/sh",
    "mine ",
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    return tmp_path_factory.mktemp("ran") / "ran"


@pytest.fixture(scope="module")
def service(tmp_path_factory, ran):
    root: Path = make_workspace(tmp_path_factory.mktemp("workspace"))
    command = script(root / "m", f"echo x >> {ran}; echo fine")
    registry = {
        "mine": {
            "model": "command/mine",
            "command": [*command, "--of-the-operator"],
            "command_env": ["MY_KEY"],
        }
    }
    config = {"models": {"registry": registry}}
    (root / "config" / "config.yaml").write_text(json.dumps(config))
    with opened(root) as service:
        yield service


@pytest.fixture(scope="module")
def rest(service):
    with serving(service) as address, client(address) as made:
        yield made


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("phase", ["evaluation", "judge"])
def test_a_command_that_is_not_registered_by_that_name_is_refused(rest, ran, name, phase):
    for call in ("start", "estimate", "recommend"):
        answer = rest.post(f"/optimization/{call}", json={"optimizer": "gepa", "models": {phase: name}})
        assert answer.status_code in {400, 422}, answer.text
        assert answer.json()["code"] in {"unknown_name", "invalid_request"}
    assert not ran.exists()


@pytest.mark.parametrize("name", RUNS)
def test_nor_for_a_skill(rest, ran, name):
    answer = rest.post("/skills", json={"task": "Write tests", "model": name})
    assert answer.status_code in {400, 422}, answer.text
    assert not ran.exists()


@pytest.mark.parametrize(
    "more",
    [
        {"models": {"evaluation": {"model": "command/x", "command": ["sh"]}}},
        {"models": {"evaluation": ["sh", "-c", "id"]}},
        {"command": ["sh"]},
        {"model": "command/sh"},
        {"registry": {"x": {"model": "command/x", "command": ["sh"]}}},
        {"program": "os:system"},
        {"metric": "os:system"},
    ],
)
def test_no_field_of_a_request_takes_a_command(rest, ran, more):
    answer = rest.post("/optimization/start", json={"optimizer": "gepa", **more})
    assert answer.status_code in {400, 422}, answer.text
    assert not ran.exists()


def test_one_that_is_registered_may_be_named(rest):
    answer = rest.post("/optimization/estimate", json={"optimizer": "gepa", "models": {"evaluation": "mine"}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["usd"] is None


def test_what_it_runs_is_shown_to_who_may_see_everything(service, rest):
    shown = rest.get("/optimization/config").text
    assert "--of-the-operator" in shown
    reader = ApiKey("k", "k", ("read", "run"), None, None, 0.0, None, None)
    told = json.dumps(configuration_view(service.context, reader))
    assert "--of-the-operator" not in told
    assert "MY_KEY" not in told
    assert "command/mine" in told
