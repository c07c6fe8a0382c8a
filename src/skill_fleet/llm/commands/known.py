"""Command lines that answer a prompt: the known ones by their name, and what a model's entry says.

The flags are from the programs' own documentation. Each reads the prompt on stdin, prints plain text, keeps
no session where it can be told so, and has its tools switched off as far as it lets itself be told.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from skill_fleet.config.settings import COMMAND, ModelSpec
from skill_fleet.foundation.errors import ConfigError, ProviderError, UnknownName


@dataclass(frozen=True)
class KnownCommand:
    """A program whose headless mode is known.

    Attributes:
        arguments: The program and what it is told.
        note: What to know before using it.
        model_option: What stands before the name of a model, where one is given; empty: the name alone.
        needs_model: Whether it cannot go without one.
        last: What comes after everything else.
        environment: Variables, none of them secret, by which it finds its settings and its login.
    """

    arguments: tuple[str, ...]
    note: str
    model_option: tuple[str, ...] = ()
    needs_model: bool = False
    last: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()


KNOWN_COMMANDS: Mapping[str, KnownCommand] = {
    "claude": KnownCommand(
        (
            *("claude", "-p", "--output-format", "text"),
            *("--tools", "", "--strict-mcp-config", "--no-session-persistence"),
        ),
        "Claude Code. No tool and no MCP server is there for it; it reads what is in ~/.claude/CLAUDE.md.",
        model_option=("--model",),
        environment=("USER", "CLAUDE_CONFIG_DIR"),
    ),
    "codex": KnownCommand(
        (
            *("codex", "exec", "--skip-git-repo-check", "--sandbox", "read-only"),
            *("--ephemeral", "--color", "never"),
        ),
        "Codex. Its shell cannot be switched off by a documented flag: it may run commands that only read.",
        model_option=("--model",),
        last=("-",),
        environment=("USER", "CODEX_HOME"),
    ),
    "gemini": KnownCommand(
        ("gemini", "--output-format", "text", "--approval-mode", "default"),
        "Gemini CLI. Tools that would ask are refused where nobody can be asked; those that only read stay.",
        model_option=("--model",),
        environment=("USER", "GEMINI_CLI_HOME", "GOOGLE_CLOUD_PROJECT"),
    ),
    "qwen": KnownCommand(
        ("qwen", "--output-format", "text", "--approval-mode", "default"),
        "Qwen Code, a relative of Gemini CLI. That the flags are the same is taken from there: not sure.",
        model_option=("--model",),
        environment=("USER",),
    ),
    "copilot": KnownCommand(
        ("copilot", "-s", "--no-ask-user"),
        "Copilot CLI. Without --allow-tool nothing may be run. -s is documented beside -p; that it does the "
        "same for a prompt on stdin is not sure.",
        model_option=("--model",),
        environment=("USER", "XDG_CONFIG_HOME"),
    ),
    "llm": KnownCommand(
        ("llm", "prompt", "--no-stream", "--no-log"),
        "llm (llm.datasette.io). No tools unless told; its keys are those of `llm keys`. For a temperature "
        "write an entry with -o temperature 0.7.",
        model_option=("--model",),
        environment=("LLM_USER_PATH", "LLM_MODEL", "XDG_CONFIG_HOME"),
    ),
    "ollama": KnownCommand(
        ("ollama", "run", "--nowordwrap", "--hidethinking"),
        "Ollama by its command line; it fetches a model that it does not have. ollama_chat/<model> is the "
        "better way to it: usage is known there.",
        needs_model=True,
        environment=("OLLAMA_HOST",),
    ),
}


def command_line(spec: ModelSpec) -> tuple[str, ...]:
    """The program and its arguments, as configured or as known by its name.

    Raises:
        ConfigError: It is neither, or its model is missing or looks like an option.
    """
    if spec.command is not None:
        return spec.command
    name, model = _name_and_model(spec)
    known = KNOWN_COMMANDS.get(name)
    if known is None:
        near = UnknownName("command line", name, KNOWN_COMMANDS)
        raise ConfigError(
            near.message, hint=f"{near.hint} Any other: set models.registry.<name>.command in config.yaml."
        )
    if known.needs_model and not model:
        raise ConfigError(
            f"The model {spec.model} names no model for {name} to run.",
            hint=f"For example {COMMAND}/{name}/qwen3.",
        )
    if model.startswith("-"):
        raise ConfigError(f"The model {spec.model} would be taken for an option of {name}.")
    chosen = (*known.model_option, model) if model else ()
    return (*known.arguments, *chosen, *known.last)


def variables_of(spec: ModelSpec) -> tuple[str, ...]:
    """Names of the variables a command gets besides those that every program needs."""
    known = KNOWN_COMMANDS.get(_name_and_model(spec)[0])
    usual = known.environment if known is not None and spec.command is None else ()
    return (*usual, *spec.command_env)


def find_program(spec: ModelSpec, environ: Mapping[str, str]) -> Path:
    """Where the program of a command is.

    Raises:
        ConfigError: There is no such command line, or its place is relative: it starts in an empty folder.
        ProviderError: The program is not there, or may not be run.
    """
    named = command_line(spec)[0]
    if named.startswith("~/"):
        named = environ.get("HOME", "~") + named[1:]
    if "/" in named and not named.startswith("/"):
        raise ConfigError(
            f"The command of {spec.model} is at a relative path, {named}, and starts in an empty folder.",
            hint="Give the path in full, or the name of a program on PATH.",
        )
    found = shutil.which(named, path=environ.get("PATH", ""))
    if found is None:
        there = Path(named).is_file()
        raise ProviderError(
            f"The program {named} of the model {spec.model} "
            f"{'may not be executed' if there else 'is not there' if '/' in named else 'is not on PATH'}.",
            hint=f"chmod +x {named}" if there else "Install it, or give its path in models.registry.",
            code="configuration",
        )
    return Path(found).absolute()


def identity_of(spec: ModelSpec) -> list[str] | None:
    """What tells one command from another, besides the model's name; None of a model that is no command."""
    return list(command_line(spec)) if spec.is_command else None


def account_of(spec: ModelSpec) -> tuple[str, ...] | None:
    """What a command's limits are of: a known one's login, whatever its model; else the whole command line.

    None of a model that is no command.
    """
    if not spec.is_command:
        return None
    return (COMMAND, *(spec.command or _name_and_model(spec)[:1]))


def _name_and_model(spec: ModelSpec) -> tuple[str, str]:
    """`command/<name>/<model>`: the name, and the model or nothing."""
    name, _, model = spec.model.partition("/")[2].partition("/")
    return name, model
