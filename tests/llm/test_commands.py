"""Which program a command is: its entry, the known names, its place, and what makes it another model."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dspy.lm15 import Message, Request

from command_programs import script
from skill_fleet.config.load import load
from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.errors import ConfigError, ProviderError, UsageError
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.commands.known import KNOWN_COMMANDS, account_of, command_line, find_program, identity_of
from skill_fleet.llm.commands.model import CommandModel, environment_of
from skill_fleet.llm.limits.limiter import Quota
from skill_fleet.llm.models import Connections, PhaseModels, check_limits, inner_of, phase_models


def spec(model: str = "command/mine", **more: Any) -> ModelSpec:
    return ModelSpec(model=model, **more)


@pytest.mark.parametrize("name", KNOWN_COMMANDS)
def test_every_known_command_takes_a_model_and_says_what_to_know(name: str) -> None:
    known = KNOWN_COMMANDS[name]
    told = command_line(spec(f"command/{name}/some/model:7b"))
    assert told[0] == name == known.arguments[0]
    place = told.index("some/model:7b")
    assert told[place - len(known.model_option) : place] == known.model_option
    assert told[place + 1 :] == known.last
    assert known.note.endswith(".")
    assert not any("KEY" in variable or "TOKEN" in variable for variable in known.environment)
    if known.needs_model:
        with pytest.raises(ConfigError, match="names no model"):
            command_line(spec(f"command/{name}"))
    else:
        assert command_line(spec(f"command/{name}")) == (*known.arguments, *known.last)


def test_an_entry_stands_before_what_is_known() -> None:
    assert command_line(spec("command/claude", command=["my-claude", "--fast"])) == ("my-claude", "--fast")


def test_an_unknown_name_and_a_model_like_an_option_are_refused() -> None:
    with pytest.raises(ConfigError, match="no command line named 'cluade'") as refused:
        command_line(spec("command/cluade"))
    assert "Did you mean 'claude'" in refused.value.hint
    with pytest.raises(ConfigError, match="taken for an option"):
        command_line(spec("command/claude/--dangerously-skip-permissions"))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("model: openai/m\n      command: [x]", "are for models named command/<name>"),
        ("model: openai/m\n      command_env: [X]", "are for models named command/<name>"),
        ("model: command/x\n      command: claude -p", "must be a list"),
        ("model: command/x\n      command: []", "names no program"),
        ("model: command/x\n      command: ['  ']", "names no program"),
        ("model: command/x\n      temperature: 0.5", "takes no temperature"),
        ("model: command/x\n      max_tokens: 5", "takes no max_tokens"),
        ("model: command/x\n      api_key_env: K", "takes no api_key_env"),
        ("model: command/x\n      api_base: http://x", "takes no api_base"),
    ],
)
def test_an_entry_that_does_not_fit_is_refused_where_it_stands(
    workspace: Path, entry: str, said: str
) -> None:
    (workspace / "config" / "config.yaml").write_text(f"models:\n  registry:\n    mine:\n      {entry}\n")
    with pytest.raises(ConfigError, match=r"models\.registry\.mine") as refused:
        load(workspace, environ={})
    assert said in refused.value.message


def test_four_at_once_unless_configured() -> None:
    assert spec().at_once == 4
    assert spec(in_flight=9).at_once == 9
    assert spec("openai/m").at_once is None


def test_a_program_is_looked_for_on_the_path_it_is_given(tmp_path: Path) -> None:
    script(tmp_path / "answer", "cat")
    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    for command in ("answer", "~/answer", str(tmp_path / "answer")):
        assert find_program(spec(command=[command]), environ) == tmp_path / "answer"


@pytest.mark.parametrize(
    ("command", "kind", "said"),
    [
        ("no-such-program", ProviderError, "is not on PATH"),
        ("/no/such/program", ProviderError, "is not there"),
        ("{folder}/plain", ProviderError, "may not be executed"),
        ("./answer", ConfigError, "relative path"),
        ("bin/answer", ConfigError, "relative path"),
    ],
)
def test_a_program_that_cannot_be_run_is_told_before_any_call(
    tmp_path: Path, command: str, kind: type[Exception], said: str
) -> None:
    (tmp_path / "plain").write_text("x")
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    with pytest.raises(kind, match=said):
        inner_of(spec(command=[command.replace("{folder}", str(tmp_path))]), environ)


def test_the_exit_code_of_a_missing_program_is_that_of_providers() -> None:
    with pytest.raises(ProviderError) as refused:
        inner_of(spec("command/claude"), {"PATH": "/nowhere"})
    assert (refused.value.exit_code, refused.value.code) == (6, "configuration")


def test_the_environment_is_what_every_program_needs_and_what_is_named() -> None:
    kept = {"PATH": "/bin", "HOME": "/h", "LANG": "C", "LC_ALL": "C", "TMPDIR": "/t", "HTTPS_PROXY": "p"}
    kept |= {"no_proxy": "n", "LC_TIME": "C"}
    ours = {"OPENAI_API_KEY": "sk-1", "SKILL_FLEET_DATABASE_URL": "postgresql://a:b@c/d", "SHELL": "/bin/sh"}
    ours |= {
        "SKILL_FLEET_API_KEY": "x",
        "LD_PRELOAD": "evil.so",
        "PYTHONPATH": "/p",
        "ANTHROPIC_API_KEY": "k",
    }
    assert environment_of(spec(command=["x"]), {**kept, **ours}) == kept
    named = environment_of(spec(command=["x"], command_env=["ANTHROPIC_API_KEY"]), {**kept, **ours})
    assert named == {**kept, "ANTHROPIC_API_KEY": "k"}
    known = environment_of(spec("command/claude"), {**kept, **ours, "CLAUDE_CONFIG_DIR": "/c"})
    assert known == {**kept, "CLAUDE_CONFIG_DIR": "/c"}


def test_a_changed_command_is_another_model(workspace: Path) -> None:
    loaded = load(workspace, environ={})
    before = phase_models(loaded).identity()

    def identity(command: str) -> Any:
        one = spec(command=["x", command])
        return PhaseModels({"evaluation": "m"}, {"evaluation": one}).identity()

    assert identity("a") != identity("b")
    assert identity_of(spec(command=["x", "a"])) == ["x", "a"]
    assert "command" not in before["evaluation"]  # runs begun before there were commands go on


@pytest.mark.parametrize("limits", [Limits(usd=1.0), Limits(tokens=1000)])
def test_caps_that_could_not_hold_are_refused(limits: Limits) -> None:
    price = {"input_per_million": 1, "output_per_million": 1}
    models = PhaseModels({"evaluation": "m"}, {"evaluation": spec(command=["x"], price=price)})
    with pytest.raises(UsageError, match="cannot hold for command/mine") as refused:
        check_limits(models, limits, ("evaluation",))
    assert "--max-calls" in refused.value.hint
    check_limits(models, Limits(calls=5, minutes=1.0), ("evaluation",))


def test_another_system_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "killpg")
    with pytest.raises(ConfigError, match="POSIX"):
        CommandModel(spec(command=["cat"]), dict(os.environ))


def test_a_login_is_one_account_and_so_is_a_command_line() -> None:
    assert account_of(spec("command/claude/opus")) == account_of(spec("command/claude/haiku"))
    assert account_of(spec("command/claude")) != account_of(spec("command/codex"))
    assert account_of(spec(command=["x", "a"])) != account_of(spec(command=["x", "b"]))
    assert account_of(spec("openai/m")) is None


def test_four_at_once_and_no_more_whoever_asks(tmp_path: Path) -> None:
    """Sixteen threads, one command that says how many of it there were."""
    running = tmp_path / "running"
    running.mkdir()
    meet = (
        f"while [ ! -e {tmp_path}/met ] && [ $(ls | wc -l) -lt 4 ]; do sleep 0.05; done; touch {tmp_path}/met"
    )
    text = f"cd {running}; touch $$; {meet}; ls | wc -l; sleep 0.1; rm $$"
    entry = spec(command=script(tmp_path / "m", text))
    connections = Connections.of(dict(os.environ))
    limiter = connections.limiter(entry)
    assert limiter is not None
    inner = connections.to(entry)
    quota = Quota(entry.model, entry.rpm, entry.tpm, entry.at_once)

    def one(number: int) -> int:
        ticket = limiter.admit(quota, 10, lambda: False)
        assert ticket is not None
        answer = inner.complete(Request(model="m", messages=(Message.user(f"{number}"),)))
        ticket.answered(None)
        return int(answer.message.text or 0)

    with ThreadPoolExecutor(16) as pool:
        seen = list(pool.map(one, range(24)))
    assert max(seen) == 4
