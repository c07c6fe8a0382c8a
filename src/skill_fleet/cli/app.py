"""The commands put together. Importing a command imports nothing heavy: its work is imported when it runs."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from skill_fleet import __version__
from skill_fleet.cli.options import Globals
from skill_fleet.foundation.errors import Interrupted, UsageError


class ReaderGone(Exception):
    """Who read our output has closed it."""


class _Commands(TyperGroup):
    """Commands beside each other; what typer would end the process for is raised instead."""

    def invoke(self, ctx: Any) -> Any:  # type: ignore[explicit-override]  # from 3.12 on in typing
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("Interrupted.") from None
        except BrokenPipeError:
            raise ReaderGone from None


Command = Callable[..., Any]


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
    """All commands. Help is drawn on a terminal and plain text elsewhere."""
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
    app.command("optimize")(optimize.optimize)
    price = "Say what optimize would take; spends nothing, but for --profile."
    app.command("estimate", help=price)(optimize.optimize)
    app.command("recommend", help="Say which optimizer, by which rule; spends nothing.")(optimize.optimize)
    app.command("create-skill")(create.create_skill)
    app.command("evaluate")(evaluate.evaluate)
    app.command("validate")(validate.validate)
    app.command("compare")(compare.compare)
    _add(app, "dataset", "Training sets.", dataset.build, dataset.lint, dataset.split, dataset.show)
    _add(app, "runs", "Finished and unfinished runs.", runs.list_, runs.show, runs.resume)
    _add(
        app,
        "artifacts",
        "Published programs and their versions.",
        artifacts.list_,
        artifacts.show,
        artifacts.rollback,
        artifacts.promote,
    )
    _add(app, "cache", "The stored answers of models.", cache.path, cache.stats, cache.clear)
    app.command("serve")(serve.serve)
    app.command("worker")(worker.worker)
    app.command("simulate-provider")(simulate.simulate_provider)
    _add(
        app,
        "jobs",
        "The jobs of a service.",
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
    _add(app, "keys", "Keys that let clients into a service.", keys.create, keys.list_, keys.revoke)
    app.command("optimizers")(catalog.optimizers)
    _add(app, "models", "The models.", models.list_, models.add, alone=models.alone, test=models.try_out)
    _add(app, "config", "The settings.", config.show)
    app.command("doctor")(doctor.doctor)
    return app


def _group(text: str, *, completion: bool = False) -> typer.Typer:
    mode: Any = "rich" if sys.stdout.isatty() else None
    return typer.Typer(
        cls=_Commands,
        help=text,
        rich_markup_mode=mode,
        invoke_without_command=True,
        add_completion=completion,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        callback=_help_alone,
    )


def _help_alone(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def _add(
    app: typer.Typer,
    name: str,
    text: str,
    *commands: Command,
    alone: Command | None = None,
    **others: Command,
) -> None:
    """A command of two words; the second is the function's name.

    Args:
        app: Where to.
        name: The first word.
        text: Its help.
        *commands: What the second word may be.
        alone: What the first word does by itself; None is help.
        **others: Commands whose second word is not the function's name.
    """
    group = _group(text)
    if alone is not None:
        group.callback()(alone)
    for command in commands:
        group.command(command.__name__.rstrip("_").replace("_", "-"))(command)
    for word, command in others.items():
        group.command(word)(command)
    app.add_typer(group, name=name)


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
    """A parser's message as one sentence on one line."""
    said = " ".join(text.split()).replace("Value error, ", "").rstrip(".")
    return said if said.endswith(("?", ")")) else f"{said}."


def _hint(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"See: {context.command_path} --help." if context is not None else "See: skill-fleet --help."
