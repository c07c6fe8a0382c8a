"""The commands put together. Importing a command imports nothing heavy: its work is imported when it runs."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from skill_fleet import __version__
from skill_fleet.cli.grouped import untold
from skill_fleet.cli.headed import HeadedCommand, HeadedGroup
from skill_fleet.cli.options import Globals
from skill_fleet.foundation.errors import Interrupted, UsageError


class ReaderGone(Exception):
    """Who read our output has closed it."""


class _Commands(HeadedGroup):
    """Commands beside each other; what typer would end the process for is raised instead."""

    def invoke(self, ctx: Any) -> Any:  # type: ignore[explicit-override]  # from 3.12 on in typing
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("Interrupted.") from None
        except BrokenPipeError:
            raise ReaderGone from None


Command = Callable[..., Any]

_OURS = (
    (re.compile(r"Input should be a valid integer.*"), "it is not a whole number"),
    (re.compile(r"Input should be a valid number.*"), "it is not a number"),
    (re.compile(r"Input should be greater than or equal to"), "the least is"),
    (re.compile(r"Input should be less than or equal to"), "the most is"),
    (re.compile(r" ?\(Possible options: (.*)\)"), r". Did you mean \1?"),
    (re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)"), r"One word too many: \1"),
)
"""What the parser and its libraries say, and how we do."""
_WORK = "Programs and skills"
_SERVICE = "Service"
_SETUP = "Models and settings"


def run(words: Sequence[str]) -> int:
    """Run one command line.

    Returns:
        The exit code of a command that came to its end.

    Raises:
        SkillFleetError: Something the user can act upon; usage errors of the parser among them.
    """
    command = typer.main.get_command(build())
    try:
        code = command.main(args=list(words), prog_name="skill-fleet", standalone_mode=False)
    except typer.TyperException as error:
        raise UsageError(_sentence(error.format_message()), hint=_hint(error)) from None
    except typer.Abort:
        raise Interrupted("Interrupted.") from None
    return code if isinstance(code, int) else 0


def build() -> typer.Typer:
    """All commands, in the order in which help lists them."""
    from skill_fleet.cli import (
        artifacts,
        cache,
        catalog,
        compare,
        config,
        create,
        dataset,
        doctor,
        evaluate,
        job_results,
        job_skills,
        jobs,
        keys,
        models,
        optimize,
        runs,
        serve,
        simulate,
        validate,
        worker,
    )

    app = _group(
        "Write, measure and optimize agent skills: honest numbers, capped cost, runs that survive.",
        completion=True,
    )
    app.callback()(_globals)
    price = (
        "Say what optimize would take; only --profile spends.\n\n"
        "It takes the options of optimize, and starts nothing."
    )
    which = (
        "Say which optimizer to take, and by which rule.\n\n"
        "It takes the options of optimize but --optimizer, --profile and --output. It spends nothing."
    )
    _one(app, _WORK, "optimize", optimize.optimize)
    idle = ("dry_run", "yes", "no_input")  # so that one word makes either of the other
    _one(app, _WORK, "estimate", untold(optimize.optimize, *idle), price)
    chosen = ("optimizer", "profile", "output")
    _one(app, _WORK, "recommend", untold(optimize.optimize, *idle, *chosen), which)
    _one(app, _WORK, "create-skill", create.create_skill)
    _one(app, _WORK, "evaluate", evaluate.evaluate)
    _one(app, _WORK, "validate", validate.validate)
    _one(app, _WORK, "compare", compare.compare)
    _one(app, _SERVICE, "serve", serve.serve)
    _one(app, _SERVICE, "worker", worker.worker)
    _one(app, _SETUP, "doctor", doctor.doctor)
    _one(app, _SETUP, "optimizers", catalog.optimizers)
    _one(app, _SETUP, "simulate-provider", simulate.simulate_provider)
    data = _group("Build, check, split and show training sets.")
    _add(app, _WORK, "dataset", data, dataset.build, dataset.lint, dataset.split, dataset.show)
    _add(
        app,
        _WORK,
        "runs",
        _group("List, show and resume runs of optimize."),
        runs.list_,
        runs.show,
        runs.resume,
    )
    published = _group("List, show, roll back and promote published programs.")
    _add(
        app,
        _WORK,
        "artifacts",
        published,
        artifacts.list_,
        artifacts.show,
        artifacts.rollback,
        artifacts.promote,
    )
    _add(
        app,
        _SERVICE,
        "jobs",
        _group("Start, follow and end the jobs of a service."),
        jobs.list_,
        jobs.start,
        job_skills.create_skill,
        jobs.status,
        jobs.watch,
        jobs.cancel,
        jobs.pause,
        jobs.resume,
        job_results.logs,
        job_results.result,
        job_results.report,
        job_results.delete,
    )
    let_in = _group("Make, list and revoke the keys of a service.")
    _add(app, _SERVICE, "keys", let_in, keys.create, keys.list_, keys.revoke)
    registered = _group("List, add and test models.")
    registered.callback()(models.alone)
    _add(app, _SETUP, "models", registered, models.list_, models.add, test=models.try_out)
    _add(app, _SETUP, "config", _group("Show the settings, and where each comes from."), config.show)
    answers = _group("Show and clear the stored answers of models.")
    _add(app, _SETUP, "cache", answers, cache.path, cache.stats, cache.clear)
    return app


def _group(text: str, *, completion: bool = False) -> typer.Typer:
    return typer.Typer(
        cls=_Commands,
        help=text,
        rich_markup_mode=None,
        invoke_without_command=True,
        add_completion=completion,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        callback=_help_alone,
    )


def _help_alone(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def _one(app: typer.Typer, heading: str | None, name: str, command: Command, text: str | None = None) -> None:
    """A command; its help is what its docstring says, unless it is given."""
    app.command(name, cls=HeadedCommand, help=text, rich_help_panel=heading)(command)


def _add(
    app: typer.Typer, heading: str, name: str, group: typer.Typer, *commands: Command, **others: Command
) -> None:
    """Commands of two words.

    Args:
        app: Where to.
        heading: Over them, in help.
        name: The first word.
        group: What belongs to that.
        *commands: The second word is the function's name.
        **others: The second word is not.
    """
    for command in commands:
        _one(group, None, command.__name__.rstrip("_").replace("_", "-"), command)
    for word, command in others.items():
        _one(group, None, word, command)
    app.add_typer(group, name=name, rich_help_panel=heading)


def _globals(
    ctx: typer.Context,
    workspace: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The workspace; default: SKILL_FLEET_WORKSPACE, else here."),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"skill-fleet {__version__}")
        raise typer.Exit
    ctx.obj = Globals(workspace)
    _help_alone(ctx)


def _sentence(text: str) -> str:
    """A parser's message as one sentence on one line, without the words of its libraries."""
    said = " ".join(text.split()).replace("Value error, ", "").rstrip(".")
    for words, ours in _OURS:
        said = words.sub(ours, said)
    return said if said.endswith("?") else f"{said}."


def _hint(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"See: {context.command_path} --help." if context is not None else "See: skill-fleet --help."
