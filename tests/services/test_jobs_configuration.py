"""The configuration as clients, the terminal and the doctor show it: whole, and without a secret."""

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from service_rig import opened_rig, rig

from skill_fleet.config.settings import Settings
from skill_fleet.jobs.records import ApiKey
from skill_fleet.llm.models import phase_models
from skill_fleet.services.catalog import list_models
from skill_fleet.services.configuration import configuration_view, database_in_words, show_settings
from skill_fleet.services.context import Context, open_context
from skill_fleet.services.doctor import examine

__all__ = ["opened_rig", "rig"]

URL = "postgresql://me:hunter2@db.example:5433/fleet?password=hunter2"
OWN = """
models:
  registry:
    local: { model: openai/x, api_base: "http://me:hunter2@box.example:8080/v1", api_key_env: BOX_KEY }
    odd: { model: openai/y, api_base: "http://me:p@ss-hunter2@box.example/v1?api_key=hunter2" }
    own: { model: command/mine, command: [mine, --api-key, hunter2, --token=hunter2, "http://a:hunter2@h/"] }
server: { allowed_hosts: [fleet.example] }
"""


def key(*scopes: str) -> ApiKey:
    return ApiKey("k", "k", scopes, None, None, 0.0, None, None)


@pytest.fixture
def context(workspace: Path) -> Context:
    (workspace / "config/config.yaml").write_text(OWN)
    return open_context(workspace, environ={"SKILL_FLEET_DATABASE_URL": URL, "BOX_KEY": "hunter2"})


def test_clients_see_every_setting_in_force(context):
    view = json.loads(json.dumps(configuration_view(context, key("admin"))))
    database = view.pop("database")
    assert view.keys() == Settings.model_fields.keys()
    assert view["server"]["allowed_hosts"] == ["fleet.example"]
    assert view["models"]["registry"]["local"]["api_base"] == "http://[key]@box.example:8080/v1"
    assert database == {"kind": "postgresql", "place": "PostgreSQL, fleet on db.example"}
    assert configuration_view(context, None) == configuration_view(context, key("admin"))


@pytest.mark.parametrize("scopes", [("read",), ("run",), ("read", "run"), ()])
def test_addresses_are_for_who_may_see_everything(context, scopes):
    view = configuration_view(context, key(*scopes))
    assert "example" not in json.dumps({**view, "server": None})
    assert "BOX_KEY" not in json.dumps(view)
    assert view["database"] == {"kind": "postgresql"}
    assert view["models"]["registry"]["local"]["model"] == "openai/x"


def test_no_secret_is_shown_anywhere(context):
    for shown in (
        configuration_view(context, None),
        configuration_view(context, key("read")),
        show_settings(context),
        list_models(context),
        phase_models(context.loaded, {"evaluation": "odd", "judge": "own"}).identity(),
    ):
        assert "hunter2" not in json.dumps(shown)
    row = show_settings(context)[-1]
    assert row["value"] == configuration_view(context, None)["database"]
    assert row["value"]["place"] == "PostgreSQL, fleet on db.example"
    assert row["origin"] == "environment SKILL_FLEET_DATABASE_URL"


def test_without_a_database_the_service_keeps_files(workspace):
    context = open_context(workspace, environ={})
    assert configuration_view(context, None)["database"] == {"kind": "sqlite", "place": None}
    kept = configuration_view(context, None)["database"]
    assert show_settings(context)[-1] == {"key": "database", "value": kept, "origin": "default"}


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (None, None),
        ("postgresql://u:hunter2@h/x", "PostgreSQL, x on h"),
        ("postgresql:///x?host=/run/hunter2", "PostgreSQL, x on this machine"),
        ("postgres://u:hunter2@[::1]:5432/a%20b", "PostgreSQL, a b on ::1"),
        ("postgresql://u:hunter2@h", "PostgreSQL, its default on h"),
        ("postgresql://u:hunter2@[::1/x", "PostgreSQL"),
        ("postgresql://u:hunter2%40hunter2@h:bad/x", "PostgreSQL, x on h"),
    ],
)
def test_a_database_in_words(url, words):
    assert database_in_words(url) == words


def checks_of(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, url: str | None
) -> dict[str, tuple[str, str]]:
    if url is None:
        monkeypatch.delenv("SKILL_FLEET_DATABASE_URL", raising=False)
    else:
        monkeypatch.setenv("SKILL_FLEET_DATABASE_URL", url)
    return {check.name: (check.status, check.message) for check in examine(workspace)}


def test_the_doctor_says_nothing_of_a_service_that_was_never_used(workspace, monkeypatch):
    assert not {"database", "workers"} & checks_of(workspace, monkeypatch, None).keys()
    assert not (workspace / ".skill-fleet").exists()


def test_the_doctor_looks_at_the_database_and_the_workers(rig, workspace, monkeypatch):
    url = rig.service.context.loaded.database
    found = checks_of(workspace, monkeypatch, url)
    assert found["database"][0] == "ok"
    assert found["workers"][0] == "warning"
    rig.service.workers.register("w1", host="box", pid=1, version="1")
    assert checks_of(workspace, monkeypatch, url)["workers"] == ("ok", "1 alive, on box.")
    rig.service.workers.say_goodbye("w1")
    assert checks_of(workspace, monkeypatch, url)["workers"][0] == "warning"


def test_the_doctor_says_that_a_database_is_away_or_empty(workspace, monkeypatch, postgres_url):
    empty = checks_of(workspace, monkeypatch, postgres_url)["database"]
    assert (empty[0], "no tables" in empty[1]) == ("warning", True)
    away = checks_of(workspace, monkeypatch, "postgresql://me:hunter2@127.0.0.1:1/x")["database"]
    assert away[0] == "error"
    assert "hunter2" not in away[1]


def test_a_damaged_embedded_database_is_named(workspace, monkeypatch):
    file = workspace / ".skill-fleet/service/jobs.sqlite"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no database at all " * 100)
    assert checks_of(workspace, monkeypatch, None)["database"][0] == "error"


def test_a_command_is_shown_with_everything_but_its_keys(context):
    shown = ["mine", "--api-key", "[key]", "--token=[key]", "http://[key]@h/"]
    assert configuration_view(context, None)["models"]["registry"]["own"]["command"] == shown
    (listed,) = (one for one in list_models(context) if one["name"] == "own")
    assert listed["command"] == shown
    rows = {row["key"]: row["value"] for row in show_settings(context)}
    assert rows["models.registry.own.command"] == shown
    assert rows["models.registry.odd.api_base"] == "http://[key]@box.example/v1?api_key=[key]"
