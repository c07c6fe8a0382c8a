"""Every command: help, JSON, streams, NO_COLOR."""

import json

import pytest
import typer

from skill_fleet.cli.app import build

COMMANDS = (
    "optimize estimate recommend create-skill evaluate validate compare optimizers doctor "
    "models:list models:add models:test simulate-provider "
    "dataset:build dataset:lint dataset:split dataset:show runs:list runs:show runs:resume "
    "artifacts:list artifacts:show artifacts:rollback artifacts:promote "
    "cache:path cache:stats cache:clear config:show serve worker keys:create keys:list keys:revoke "
    "jobs:list jobs:start jobs:status jobs:watch jobs:cancel jobs:pause jobs:resume jobs:logs jobs:delete "
    "jobs:create-skill jobs:result jobs:report"
).split()


def leaves(group, above=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*above, name))
        else:
            yield (*above, name), command


def test_these_are_the_commands():
    found = {":".join(words) for words, _ in leaves(typer.main.get_command(build()))}
    assert found == set(COMMANDS)


def test_every_command_has_json_and_quiet_and_says_what_it_is():
    for words, command in leaves(typer.main.get_command(build())):
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--json", "--quiet"} <= options, words
        assert command.help, words
        for parameter in command.params:
            assert getattr(parameter, "help", "help"), (words, parameter.name)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli, command):
    ended = cli(*command.split(":"), "--help")
    assert ended.code == 0
    assert ended.out.startswith(f"Usage: skill-fleet {command.replace(':', ' ')}")
    assert "--json" in ended.out
    assert not ended.err


def test_the_contracts_options_of_optimize(cli):
    said = cli("optimize", "--help").out
    for option in (
        "--program --metric --training-data --data --skills --val-data --test-data --holdout --optimizer "
        "--auto --trials --rounds --max-bootstrapped-demos --max-labeled-demos --num-threads --module "
        "--model --profiling-model --optimization-model --judge-model --min-groups --seed --max-cost "
        "--max-calls --max-minutes --output --dry-run --yes --no-input --json --quiet"
    ).split():
        assert option in said, option


def test_alone_it_prints_its_help(cli):
    for words in ((), ("runs",), ("cache",)):
        ended = cli(*words)
        assert ended.code == 0
        assert ended.out.startswith("Usage: skill-fleet")


@pytest.mark.parametrize(
    "words",
    [
        ("optimizers",),
        ("models",),
        ("models", "list"),
        ("config", "show"),
        ("config", "show", "--origin"),
        ("cache", "path"),
        ("cache", "stats"),
        ("cache", "clear"),
        ("dataset", "show"),
        ("dataset", "lint"),
        ("doctor",),
    ],
)
def test_json_is_all_there_is_on_stdout(cli, words):
    ended = cli(*words, "--json")
    assert ended.code == 0
    assert isinstance(ended.json, dict)
    assert not ended.err
    told = cli(*words)
    assert told.code == 0
    assert told.out.strip()
    assert "\x1b" not in told.out


def test_an_empty_list_is_empty(cli):
    assert cli("runs", "list", "--json").out == ""
    ended = cli("runs", "list")
    assert ended.out == ""
    assert "no run yet" in ended.err
    assert cli("runs", "list", "--quiet").err == ""


def test_workspace_may_stand_anywhere(cli, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for words in (
        ("--workspace", other, "cache", "path", "--json"),
        ("cache", "path", "--workspace", other, "--json"),
        ("cache", "path", "--json", f"--workspace={other}"),
    ):
        assert cli(*words).json["ledger"] == str(other / ".skill-fleet" / "ledger.sqlite")


def test_settings_and_their_origins(cli, ws, monkeypatch):
    (ws / "config").mkdir()
    (ws / "config" / "config.yaml").write_text("optimization:\n  rounds: 5\n")
    monkeypatch.setenv("SKILL_FLEET_OPTIMIZATION__SEED", "7")
    shown = cli("config", "show", "--origin", "--json").json
    assert shown["optimization.rounds"] == {"value": 5, "origin": str(ws / "config" / "config.yaml")}
    assert shown["optimization.seed"] == {"value": 7, "origin": "environment SKILL_FLEET_OPTIMIZATION__SEED"}
    assert shown["optimization.auto"]["origin"] == "default"


def test_no_key_and_no_password_is_shown(cli, ws, monkeypatch):
    (ws / "config").mkdir()
    (ws / "config" / "config.yaml").write_text(
        "models:\n  default: big\n  registry:\n    big:\n      model: openai/gpt-4o-mini\n"
        "      api_base: https://me:hunter2@example.org/v1\n      api_key_env: BIG_KEY\n"
    )
    monkeypatch.setenv("BIG_KEY", "sk-verysecret")
    for words in (("config", "show"), ("models",), ("doctor", "--offline")):
        for form in ((), ("--json",)):
            said = cli(*words, *form).out
            assert "verysecret" not in said
            assert "hunter2" not in said
    assert cli("models", "--json").json["models"][0]["key"] is True


def test_doctor_names_what_is_wrong(cli, ws):
    (ws / ".skill-fleet").write_text("in the way")
    ended = cli("doctor", "--json")
    assert ended.code == 1
    wrong = [check["name"] for check in ended.json["checks"] if check["status"] == "error"]
    assert wrong == ["state", "cache"]
    (ws / "config").mkdir()
    (ws / "config" / "config.yaml").write_text("optimisation: {rounds: 2}\n")
    broken = cli("doctor", "--json")
    assert broken.code == 1
    assert [check["name"] for check in broken.json["checks"]] == ["versions", "configuration"]


def test_no_control_character_reaches_the_terminal(cli, ws):
    evil = ws / "evil\x1b[31m"
    evil.mkdir()
    text = "---\nname: Bad\x1b]0;owned\x07 name\ndescription: \u202eDoes x.\n---\n\n\x1b[2J Do it.\n"
    (evil / "SKILL.md").write_text(text)
    for words in (("validate", "."), ("evaluate", "."), ("validate", "nowhere\x1b[2J")):
        ended = cli(*words)
        for said in (ended.out, ended.err):
            assert not set(said) & {"\x1b", "\x07", "\u202e"}


def test_a_bug_is_one_line(cli, monkeypatch):
    from skill_fleet.services import runs

    def broken(_context):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(runs, "list_all", broken)
    ended = cli("runs", "list", "--json")
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert "Unexpected ZeroDivisionError: oh. This is a bug; SKILL_FLEET_DEBUG=1" in ended.err
    assert ended.json["error"]["code"] == "bug"
    monkeypatch.setenv("SKILL_FLEET_DEBUG", "1")
    assert "Traceback" in cli("runs", "list").err


def test_json_text_is_ascii_and_exact(cli, ws):
    folder = ws / "grün"
    folder.mkdir()
    (folder / "SKILL.md").write_text("---\nname: grün\ndescription: Does x.\n---\n\nDo it.\n")
    ended = cli("validate", "--json", folder)
    assert ended.out.isascii()
    assert json.loads(ended.out)["path"] == "grün/SKILL.md"
