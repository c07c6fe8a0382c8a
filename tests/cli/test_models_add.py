"""`models add` and `models list`: the file of a user, and what must never be done to it."""

import re
import subprocess

import pytest

from warm_commands import warm_command

CONFIG = """\
# Ours.
models:
  default: offline   # for now

  registry:
    # The small one.
    small: {model: openai/gpt-4.1-mini, api_key_env: OPENAI_API_KEY}
budget: &caps
    max_calls: 500   # a day
"""


@pytest.fixture
def config(ws):
    """The path of the workspace's configuration, its folder made."""
    (ws / "config").mkdir()
    return ws / "config" / "config.yaml"


def test_the_first_model_makes_the_file(cli, ws):
    ended = cli("models", "add", "local", "--model", "ollama_chat/qwen3", "--default")
    assert ended.code == 0
    assert ended.out == f"local: ollama_chat/qwen3 added in {ws}/config/config.yaml.\n"
    assert "Next: skill-fleet models test local" in ended.err
    assert (ws / "config" / "config.yaml").read_text() == (
        "models:\n  registry:\n    local:\n      model: ollama_chat/qwen3\n"
        "      api_base: http://localhost:11434/v1\n  default: local\n"
    )
    assert cli("models", "add", "b", "--model", "openai/x", "--quiet").err == ""


def test_everything_that_can_be_said(cli, config):
    words = (
        "--model openai/gpt-4.1 --api-base https://llm.example/v1 --api-key-env TEAM_KEY --max-tokens 4000 "
        "--temperature 0.7 --rpm 60 --tpm 100000 --in-flight 4 --timeout 30 --price-in 2 --price-out 8"
    ).split()
    ended = cli("models", "add", "gpt-4.1", *words, "--phase", "judge", "--phase", "optimization", "--json")
    assert ended.json["price"] == {"input_per_million": 2.0, "output_per_million": 8.0}
    assert ended.json["created"]
    assert ended.json["next"] == "skill-fleet models test gpt-4.1"
    one = cli("models", "--json").json["models"][0]
    told = {key: one[key] for key in ("rpm", "tpm", "in_flight", "timeout", "temperature", "max_tokens")}
    assert told == {
        "rpm": 60, "tpm": 100000, "in_flight": 4, "timeout": 30.0, "temperature": 0.7, "max_tokens": 4000
    }  # fmt: skip
    assert one["phases"] == ["optimization", "judge"]
    assert (one["key"], one["key_variables"]) == (False, ["TEAM_KEY"])
    shown = cli("models", "list").out
    assert "60 requests/min, 100,000 tokens/min, 4 at once" in shown
    assert "2 in, 8 out" in shown


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_what_was_in_the_file_stays_to_the_byte(cli, config, newline, mark):
    text = (mark + CONFIG).replace("\n", newline)
    config.write_bytes(text.encode())
    assert cli("models", "add", "a.b", "--model", "xai/grok-4", "--phase", "judge").code == 0
    after = config.read_bytes().decode()
    entry = "    a.b:\n      model: xai/grok-4\n".replace("\n", newline)
    phases = "phases:\n    judge: a.b\n".replace("\n", newline)
    assert entry in after
    assert re.sub(rf"phases:{newline} +judge: a.b{newline}", "", after.replace(entry, "")) == text
    assert phases.split(newline)[0] in after
    assert cli("models", "list", "--json").json["models"][0]["model"] == "xai/grok-4"


def test_a_name_that_is_there_is_replaced_only_by_force(cli, config):
    config.write_text(CONFIG)
    ended = cli("models", "add", "small", "--model", "openai/gpt-4.1-nano", "--json")
    assert ended.code == 1
    assert ended.json["error"]["code"] == "exists"
    assert config.read_text() == CONFIG
    forced = cli("models", "add", "small", "--model", "openai/gpt-4.1-nano", "--force", "--json")
    assert forced.json["replaced"]
    assert config.read_text() == CONFIG.replace(
        "small: {model: openai/gpt-4.1-mini, api_key_env: OPENAI_API_KEY}",
        "small:\n      model: openai/gpt-4.1-nano",
    )


@pytest.mark.parametrize(
    "options",
    [
        ("--api-key-env", "sk-proj-Zk8Qw3Rt5Yp1Xv7B"),
        ("--api-key-env", "AIzaSyD4x8Lk2mN9pQ7rT5vW3yZ1bC6"),
        ("--api-key-env", "AKIAIOSFODNN7EXAMPLE"),
        ("--api-key-env", "Zk8Qw3Rt5Yp1Xv7BZk8Qw3Rt5Yp1Xv7B"),
        ("--api-key-env", "the.planted.secret"),
        ("--api-key-env", "PLANTED_KEY=Zk8Qw3Rt5"),
        ("--api-base", "https://user:Zk8Qw3Rt5@llm.example/v1"),
        ("--api-base", "https://llm.example/v1?api_key=Zk8Qw3Rt5"),
        ("--api-base", "https://llm.example/the.planted.secret/v1"),
    ],
)
def test_a_key_is_refused_and_not_repeated(cli, ws, options, monkeypatch):
    monkeypatch.setenv("PLANTED_TOKEN", "the.planted.secret")
    for form in ((), ("--json",)):
        ended = cli("models", "add", "a", "--model", "openai/x", *options, *form)
        assert ended.code == 2
        assert ended.err.count("\n") == 1
        assert "is not shown" in ended.err
        said = ended.out + ended.err
        for secret in ("Zk8Qw3Rt5", "AIzaSy", "AKIA", "planted.secret"):
            assert secret not in said
    assert not (ws / "config").exists()


@pytest.mark.parametrize("key", ["sk-proj-Zk8Qw3Rt5Yp1Xv7B", "Zk8Qw3Rt5" * 4, "the.planted.secret"])
@pytest.mark.parametrize(
    "words",
    [
        ("{}", "--model", "openai/x"),
        ("x/{}", "--model", "openai/x"),
        ("a", "--model", "{}"),
        ("a", "--model", "openai/{}"),
        ("a", "--model", "openai/x", "--api-base", "https://{}.example/v1"),
        ("a", "--command", "curl -H 'x-key: {}' https://llm.example"),
        ("a", "--command", "{} -p"),
        ("a", "--command", "claude -p", "--command-env", "{}"),
    ],
)
def test_a_key_in_any_place_is_refused_and_not_repeated(cli, ws, words, key, monkeypatch):
    monkeypatch.setenv("PLANTED_TOKEN", "the.planted.secret")
    ended = cli("models", "add", *(word.format(key) for word in words))
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "is not shown" in ended.err
    assert key not in ended.out + ended.err
    assert not (ws / "config").exists()


@pytest.mark.parametrize("name", ["gpt-4o-mini-2024-07-18", "qwen3-coder-30b-a3b-instruct-fp8", "sk-local"])
def test_names_of_models_are_no_keys(cli, name):
    ended = cli("models", "add", name, "--model", f"openai/{name}", "--api-base", "http://127.0.0.1:9/v1")
    assert ended.code == 0, ended.err


def test_a_key_given_as_a_models_name_elsewhere_is_not_repeated(cli, ws):
    ended = cli("models", "test", "sk-proj-Zk8Qw3Rt5Yp1Xv7B")
    assert ended.code == 2
    assert "There is no model named '[key]'" in ended.err


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "TEAM_2_KEY_FOR_THE_EVALUATION_OF_2026", "mykey"])
def test_names_of_variables_are_no_keys(cli, name):
    assert cli("models", "add", "a", "--model", "openai/x", "--api-key-env", name).code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a b", "--model", "openai/x"), "cannot be called 'a b'"),
        (("a/b", "--model", "openai/x"), "stands for a model that is not registered"),
        (("", "--model", "openai/x"), "cannot be called ''"),
        (("a" * 65, "--model", "openai/x"), "cannot be called"),
        (("a\nb: c", "--model", "openai/x"), "cannot be called"),
        (("a",), "give --model, or --command"),
        (("a", "--model", "gpt-4"), "is not of the form provider/name"),
        (("a", "--model", "openai/a\nb"), "'openai/a\\nb' is not of the form provider/name"),
        (("a", "--model", "nobody/x"), "There is no route to nobody/x"),
        (("a", "--model", "openai/x", "--timeout", "300"), "timeout: "),
        (("a", "--model", "openai/x", "--price-in", "1"), "go together"),
        (("a", "--model", "openai/x", "--api-base", "localhost:8000"), "not the address of a web server"),
        (("a", "--model", "azure/x"), "needs the address"),
        (("a", "--model", "command/nothing-known"), "There is no command line named"),
        (("a", "--command", "'open"), "--command cannot be read"),
        (("a", "--command", " "), "names no program"),
        (("a", "--model", "openai/x", "--command", "claude -p"), "are for models named command/"),
        (("a", "--model", "command/claude", "--temperature", "1"), "takes no temperature"),
        (("a", "--model", "openai/x", "--phase", "writing"), "phase"),
    ],
)
def test_what_is_off_is_said_in_one_line_and_nothing_is_written(cli, ws, words, said):
    ended = cli("models", "add", *words)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert said in ended.err
    assert not (ws / "config").exists()


def test_a_command(cli, config, monkeypatch, tmp_path):
    program = tmp_path / "answer me"
    program.write_text("#!/bin/sh\ncat > /dev/null\necho '[[ ## answer ## ]]'\necho blue\n")
    program.chmod(0o755)
    line = f"'{program}' --flag 'two words'"
    added = cli("models", "add", "prog", "--command", line, "--json")
    assert added.json["model"] == "command/answer-me"
    ended = cli(
        *("models", "add", "prog", "--model", "command/mine", "--command", line, "--command-env", "MINE"),
        *("--force", "--json"),
    )
    assert ended.json["command"] == [str(program), "--flag", "two words"]
    assert ended.json["remarks"] == []
    one = cli("models", "test", "prog", "--json").json["models"][0]
    assert one["answer"] == "blue"
    assert one["tokens"] == {"input": None, "output": None}
    assert one["usd"] is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("models:\n\tdefault: offline\n", 2),
        ("models: [a]\n", 2),
        ("- a\n", 2),
        ("a: 1\n---\nb: 2\n", 2),
        ("models: {default: nobody}\n", 2),
        ("optimisation: {rounds: 2}\n", 2),
        ("x: &x {registry: {}}\nmodels: *x\n", 2),
        (b"models: \xff\n", 1),
    ],
)
def test_a_file_that_is_wrong_before_is_left_as_it_is(cli, config, text, code):
    data = text if isinstance(text, bytes) else text.encode()
    config.write_bytes(data)
    ended = cli("models", "add", "a", "--model", "openai/x")
    assert ended.code == code
    assert ended.err.count("\n") == 1
    assert config.read_bytes() == data
    assert [one.name for one in config.parent.iterdir()] == ["config.yaml"], "nothing is left beside it"


def test_an_alias_is_not_written_through(cli, config):
    config.write_text(
        "models:\n  registry: &all\n    a: {model: openai/x}\n  default: offline\nphases: {judge: a}\n"
    )
    assert cli("models", "add", "b", "--model", "openai/y").code == 0
    config.write_text(
        "models:\n  registry:\n"
        "    a: &one {model: openai/x, rpm: 5}\n    b: *one\n    c: {<<: *one, rpm: 6}\n"
    )
    assert cli("models", "add", "d", "--model", "openai/y").code == 0
    found = {one["name"]: one["rpm"] for one in cli("models", "--json").json["models"]}
    assert found == {"a": 5, "b": 5, "c": 6, "d": None, "offline": None}
    before = config.read_text()
    ended = cli("models", "add", "b", "--model", "openai/z", "--force")
    assert ended.code == 2
    assert "Write it by hand" in ended.err
    assert config.read_text() == before


def test_a_read_only_file_and_a_link_are_respected(cli, config, ws):
    real = ws / "elsewhere.yaml"
    real.write_text(CONFIG)
    config.symlink_to(real)
    assert cli("models", "add", "a", "--model", "openai/x").code == 0
    assert config.is_symlink()
    assert "openai/x" in real.read_text()
    real.chmod(0o444)
    ended = cli("models", "add", "b", "--model", "openai/x")
    assert ended.code == 1
    assert "is read-only. chmod u+w" in ended.err


def test_the_built_in_model_is_not_made_something_else(cli, ws):
    ended = cli("models", "add", "offline", "--model", "openai/x", "--force")
    assert ended.code == 2
    assert "models.registry.offline.temperature is also set by: default" in ended.err
    assert not (ws / "config" / "config.yaml").exists()


def test_what_another_source_decides_is_said(cli, monkeypatch):
    monkeypatch.setenv("SKILL_FLEET_MODELS__DEFAULT", "offline")
    ended = cli("models", "add", "a", "--model", "openai/x", "--default")
    assert ended.code == 0
    assert "models.default stays offline: it is set by environment SKILL_FLEET_MODELS__DEFAULT." in ended.err
    monkeypatch.setenv("SKILL_FLEET_MODELS__REGISTRY__B__RPM", "3")
    ended = cli("models", "add", "b", "--model", "openai/x", "--force")
    assert ended.code == 2
    assert "environment SKILL_FLEET_MODELS__REGISTRY__B__RPM" in ended.err


def test_of_models_added_at_once_none_is_lost(cli, ws):
    processes = [
        subprocess.Popen(
            [warm_command(), "models", "add", f"m{n}", "--model", f"openai/x{n}", "-q"],
            cwd=ws,
        )
        for n in range(6)
    ]
    assert [process.wait(60) for process in processes] == [0] * 6
    names = {one["name"] for one in cli("models", "--json").json["models"]}
    assert names == {"offline", *(f"m{n}" for n in range(6))}


def test_options_before_the_second_word_are_not_lost_silently(cli):
    assert cli("models", "--json", "list").code == 2
    assert cli("models", "--json").json == cli("models", "list", "--json").json
