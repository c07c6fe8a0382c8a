"""What is wrong here, and what to do about it.

Looks at this machine only, and at the service's database where one is named; never at anything else.
"""

import importlib.metadata
import os
import platform
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from skill_fleet import __version__
from skill_fleet.config.load import model_spec
from skill_fleet.config.settings import PHASES
from skill_fleet.domain.library import Library
from skill_fleet.domain.trainset import load_trainset
from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.llm.journals import open_journal
from skill_fleet.optimization.runs import unfinished
from skill_fleet.services.configuration import without_password
from skill_fleet.services.context import Context, open_context

if TYPE_CHECKING:
    from skill_fleet.jobs.worker_store import WorkerStore

Status = Literal["ok", "warning", "error"]
_LITTLE_SPACE = 1_000_000_000
_NO_SPACE = 50_000_000
_USUAL_KEYS = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: Of what.
        status: `error` where something will not work, `warning` where it may not.
        message: What was found.
        hint: What to do, or an empty text.
    """

    name: str
    status: Status
    message: str
    hint: str = ""


def examine(workspace: Path | None) -> list[Check]:
    """Everything there is to look at; where the configuration is wrong, that and the versions.

    Args:
        workspace: As for `open_context`.
    """
    checks = [_versions()]
    try:
        context = open_context(workspace)
    except SkillFleetError as error:
        return [*checks, Check("configuration", "error", error.message, error.hint)]
    looks: tuple[Callable[[Context], Iterator[Check]], ...] = (
        _configuration,
        _models,
        _state,
        _journal,
        _data,
        _runs,
        _plugins,
        _service,
    )
    for look in looks:
        checks += look(context)
    return checks


def check_json(check: Check) -> dict[str, Any]:
    """A check as a JSON value."""
    return dict(vars(check))


def _versions() -> Check:
    names = ("dspy", "gepa", "optuna")
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return Check("versions", "ok", f"skill-fleet {__version__}, {found}, Python {platform.python_version()}.")


def _configuration(context: Context) -> Iterator[Check]:
    files = sorted({origin for origin in context.loaded.origins.values() if origin.endswith(".yaml")})
    own = ", ".join(files) if files else "the defaults only; no config.yaml here"
    yield Check("configuration", "ok", f"{context.workspace.root}: {own}.")


def _models(context: Context) -> Iterator[Check]:
    settings = context.settings
    names = {model_spec(settings, getattr(settings.phases, phase))[0] for phase in PHASES}
    for name in sorted(names):
        _, spec = model_spec(settings, name)
        if spec.offline:
            hint = "For real results: add a model to config/config.yaml and make it models.default."
            yield Check(
                "model", "warning", f"{name}: the built-in simulator, not a language model. No cost.", hint
            )
            continue
        provider = spec.model.partition("/")[0]
        wanted = (spec.api_key_env,) if spec.api_key_env else _USUAL_KEYS.get(provider, ())
        if any(context.loaded.environ.get(key) for key in wanted):
            yield Check("model", "ok", f"{name}: {spec.model}, key present.")
        elif wanted and (spec.api_key_env or spec.api_base is None):
            variables = " or ".join(wanted)
            yield Check("model", "error", f"{name}: {spec.model} has no key.", f"export {variables}=…")
        else:
            place = without_password(spec.api_base) or "its provider"
            yield Check("model", "ok", f"{name}: {spec.model} at {place}.")
        if spec.max_tokens is None:
            hint = f"Set models.registry.{name}.max_tokens: --max-cost needs it."
            yield Check("model", "warning", f"{name}: an answer has no longest length.", hint)


def _state(context: Context) -> Iterator[Check]:
    for name, folder in (("state", context.workspace.state), ("cache", context.workspace.cache)):
        nearest = next(place for place in (folder, *folder.parents) if place.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK):
            wrong = "not writable" if nearest.is_dir() else "not a directory"
            yield Check(name, "error", f"{folder} cannot be written: {nearest} is {wrong}.")
            continue
        free = shutil.disk_usage(nearest).free
        if free < _LITTLE_SPACE:
            status: Status = "error" if free < _NO_SPACE else "warning"
            yield Check(name, status, f"{folder}: only {free / 1e6:.0f} MB free.", "Free some disk space.")
        else:
            yield Check(name, "ok", f"{folder}: writable, {free / 1e9:.0f} GB free.")


def _journal(context: Context) -> Iterator[Check]:
    if context.loaded.database is not None:
        yield _shared_journal(context)
        return
    for name, path in (("ledger", context.workspace.ledger), ("responses", context.workspace.responses)):
        if not path.exists():
            continue
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
                verdict = str(db.execute("pragma quick_check(1)").fetchone()[0])
        except sqlite3.Error as error:
            verdict = str(error)
        if verdict == "ok":
            yield Check(name, "ok", f"{path}: sound, {path.stat().st_size / 1e6:.1f} MB.")
        else:
            hint = "Move it aside; a new one is made."
            yield Check(name, "error", f"{path} is damaged: {verdict}.", hint)


def _shared_journal(context: Context) -> Check:
    try:
        with closing(open_journal(context.loaded, context.clock)) as journal:
            stats, place = journal.stats(), journal.place
    except SkillFleetError as error:
        return Check("journal", "error", error.message, error.hint)
    return Check("journal", "ok", f"{place}: {stats['attempts']} attempts, {stats['responses']} answers.")


def _data(context: Context) -> Iterator[Check]:
    try:
        trainset = load_trainset(context.workspace.trainset)
        yield Check("training set", "ok", f"{context.workspace.trainset}: {len(trainset.items)} examples.")
    except SkillFleetError as error:
        yield Check("training set", "error", error.message, error.hint)
    try:
        skills = sum(1 for _ in Library(context.workspace.skills).files())
        yield Check("library", "ok", f"{context.workspace.skills}: {skills} skills.")
    except SkillFleetError as error:
        yield Check("library", "error", error.message, error.hint)


def _runs(context: Context) -> Iterator[Check]:
    try:
        left = [folder for folder in unfinished(context.workspace.runs) if not folder.is_job]
    except SkillFleetError as error:
        yield Check("runs", "warning", error.message, error.hint)
        return
    if left:
        hint = f"skill-fleet runs resume {left[0].run_id}"
        yield Check("runs", "warning", f"{len(left)} unfinished, the newest {left[0].run_id}.", hint)
    else:
        yield Check("runs", "ok", "None is unfinished.")


def _plugins(_context: Context) -> Iterator[Check]:
    from skill_fleet.optimization.registry import installed_optimizers

    for one in installed_optimizers():
        if one.problem:
            hint = f"Repair, update or uninstall {one.package}; the other optimizers are not touched by it."
            yield Check("optimizer", "warning", one.problem, hint)
        elif one.package != "skill-fleet":
            yield Check("optimizer", "ok", f"{one.name}: of {one.package} {one.version}.")


def _service(context: Context) -> Iterator[Check]:
    """The service's database, where there is one: nothing is made here."""
    url = context.loaded.database
    if url is None and not (context.workspace.service / "jobs.sqlite").exists():
        return
    from skill_fleet.jobs.database import open_database
    from skill_fleet.jobs.migrate import HEAD, revision
    from skill_fleet.jobs.worker_store import WorkerStore
    from skill_fleet.llm.database_engine import wrong_revision

    try:
        with closing(open_database(context.workspace, url)) as database:
            found = revision(database)
            if found is None:
                hint = "They are made by: skill-fleet serve, or worker."
                yield Check("database", "warning", f"{database.place} has no tables yet.", hint)
                return
            if found != HEAD:
                wrong = wrong_revision(database.place, found)
                status: Status = "error" if wrong.code == "new_tables" else "warning"
                yield Check("database", status, wrong.message, wrong.hint)
                return
            yield Check("database", "ok", f"{database.place}: reachable, its tables are of this version.")
            yield _workers(context, WorkerStore(database))
    except SkillFleetError as error:
        yield Check("database", "error", error.message, error.hint)


def _workers(context: Context, store: "WorkerStore") -> Check:
    expiry = context.settings.server.heartbeat_seconds
    hopeful = [worker for worker in store.list() if worker.state == "alive"]
    silent = {worker: store.silent_for(worker.worker_id) for worker in hopeful}
    alive = [worker for worker, age in silent.items() if age is not None and age <= expiry]
    if not alive:
        return Check("workers", "warning", "None is alive: jobs wait.", "skill-fleet serve, or worker.")
    hosts = ", ".join(sorted({worker.host for worker in alive}))
    return Check("workers", "ok", f"{len(alive)} alive, on {hosts}.")
