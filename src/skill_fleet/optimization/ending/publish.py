"""What a run leaves at its output: the candidate, the plain baseline, or what was there.

Runs may share an output. What is there is looked at and replaced under one lock, and it is replaced only
while it is what this run has found there: what another run published meanwhile was never measured.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dspy

from skill_fleet.core.programs.artifact import (
    Loaded,
    copy_artifact,
    load_artifact,
    manifest_path,
    save_artifact,
)
from skill_fleet.core.programs.catalog import program_hash
from skill_fleet.core.programs.history import exclusive, holds, keep_version
from skill_fleet.core.programs.recipes.rebuild import code_digest
from skill_fleet.evaluation.statistics import Comparison
from skill_fleet.foundation.clock import iso
from skill_fleet.foundation.errors import IntegrityError, StorageError
from skill_fleet.llm.halt import Halt
from skill_fleet.optimization.ownership import require_own
from skill_fleet.optimization.session import Session

Published = Literal["candidate", "baseline", "incumbent"]


@dataclass(frozen=True)
class Incumbent:
    """The program that is at the output already."""

    program: dspy.Module
    hash: str


def find_incumbent(session: Session) -> Incumbent | None:
    """The program that was at the output before this run, if there was one.

    A run that was killed while it published finds its own program there, or half of it; what it is measured
    against is then the copy that it made when it began.

    Raises:
        Halt: Another process publishes for too long.
        SkillFleetError: There is a file that cannot be measured against: it is damaged or another program's.
    """
    with _alone(session):
        session.output_found = _digest(session.plan.output)
        return _found(session)


def _found(session: Session) -> Incumbent | None:
    output, copy = session.plan.output, session.folder.incumbent
    try:
        found = _loaded(session, output)
    except IntegrityError:
        if not session.folder.candidate.exists():
            raise
        found = _loaded(session, copy)
    else:
        if found is not None and _is_own(session, found):
            found = _loaded(session, copy)
        elif found is not None and _digest(copy) != session.output_found:
            copy_artifact(output, copy)
    return None if found is None else Incumbent(found.program, program_hash(found.program))


def _loaded(session: Session, path: Path) -> Loaded | None:
    if not path.exists():
        return None
    return load_artifact(path, program=session.plan.entry.name, search=session.loaded.workspace.root)


def _is_own(session: Session, found: Loaded) -> bool:
    """Whether an earlier process of this run published it; a kill may have kept its manifest from being."""
    if found.manifest is not None:
        return found.manifest.run_id == session.result.run_id
    if not session.folder.candidate.exists():
        return False
    plain = program_hash(session.plan.entry.build())
    candidate = _loaded(session, session.folder.candidate)
    return program_hash(found.program) in {
        plain,
        None if candidate is None else program_hash(candidate.program),
    }


def decide(
    incumbent: Incumbent | None, against_baseline: Comparison | None, against_incumbent: Comparison | None
) -> Published:
    """What belongs at the output.

    An incumbent goes only for a candidate shown to be better than it. Where nothing is, the candidate is
    written if it is shown to be better than the baseline, and the plain baseline otherwise.
    """
    if incumbent is not None:
        better = against_incumbent is not None and against_incumbent.verdict == "better"
        return "candidate" if better else "incumbent"
    better = against_baseline is not None and against_baseline.verdict == "better"
    return "candidate" if better else "baseline"


def keep_candidate(session: Session, candidate: dspy.Module) -> None:
    """Write the best program so far to the run's folder.

    Raises:
        StorageError: It cannot be written.
    """
    save_artifact(candidate, session.folder.candidate, _facts(session, candidate))
    session.result.program_hash = program_hash(candidate)


def publish(session: Session, choice: Published, candidate: dspy.Module, baseline: dspy.Module) -> None:
    """Write the chosen program to the output, and the candidate to the run's folder in any case.

    What it replaces is kept as a version first, unless this run published the same program before: then
    only its manifest is brought up to date. A program that came there after `find_incumbent` stays.

    Raises:
        Halt: The run is not this process's to publish any more, or nobody can say so, or another process
            publishes for too long.
        StorageError: A file cannot be written; what was there is as it was.
    """
    result = session.result
    keep_candidate(session, candidate)
    if choice != "incumbent" and not _replaced(session, candidate if choice == "candidate" else baseline):
        choice = "incumbent"
        session.warn("output_changed", _changed(session, program_hash(baseline)))
    result.published = choice
    result.artifact = session.loaded.workspace.relative(session.plan.output)
    result.manifest = session.loaded.workspace.relative(manifest_path(session.plan.output))
    session.emit("published", published=choice, artifact=result.artifact, program_hash=result.program_hash)


def _replaced(session: Session, chosen: dspy.Module) -> bool:
    """Put a program at the output; False where what is there came after it was looked at."""
    output, run_id = session.plan.output, session.result.run_id
    with _alone(session):
        there = holds(output, program_hash(chosen))
        if _digest(output) not in {None, session.output_found}:
            return there is not None  # another run may have found the same program
        require_own(session)
        if there is None or there.run_id != run_id:
            keep_version(output, at=iso(session.clock.now()), how="optimize")
        save_artifact(chosen, output, _facts(session, chosen))
        return True


def _changed(session: Session, plain: str) -> str:
    """That somebody else has published meanwhile, and what to do."""
    place, run_id = session.loaded.workspace.relative(session.plan.output), session.result.run_id
    kept = f"Another program came to {place} while this run was under way, so it was left there"
    if session.result.program_hash == plain:
        return f"{kept}; this run found none that is better than the plain one."
    return (
        f"{kept}: compare the two (skill-fleet compare {place} {run_id}), or publish this one in its place: "
        f"skill-fleet artifacts promote {run_id}"
    )


@contextmanager
def _alone(session: Session) -> Iterator[None]:
    """Let nobody else publish in the workspace; a run that cannot have that can be gone on with."""
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(session.loaded.workspace.state))
        except StorageError as error:
            raise Halt("storage", error) from None
        yield


def _digest(path: Path) -> str | None:
    """Of a file's bytes; None where there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error


def _facts(session: Session, program: dspy.Module) -> Mapping[str, Any]:
    """Provenance for the manifest; no optimizer made the plain program, and no verdict is about it."""
    result, plan = session.result, session.plan
    optimized = program_hash(program) != program_hash(plan.entry.build())
    spent = session.line.journal.spent(session.folder.run_id)
    split = plan.split
    return {
        "program": plan.entry.name,
        "source_digest": code_digest(
            plan.identity["program source"], program, search=session.loaded.workspace.root
        ),
        "simulated": result.simulated,
        "created_at": iso(session.clock.now()),
        "run_id": result.run_id,
        "optimizer": plan.optimizer.info.name if optimized else None,
        "seed": plan.request.seed,
        "models": plan.models.identity(),
        "data": {
            "digest": split.digest,
            "split_seed": split.seed,
            "examples": dict(result.examples),
            "test_reads": result.test_reads,
        },
        "scores": {
            "baseline": dict(result.baseline),
            "optimized": dict(result.optimized) if optimized else dict(result.baseline),
            "interval": result.interval,
        },
        "verdict": result.verdict if optimized else None,
        "resumed_over": plan.resumed_over,
        "cost": {
            "calls": spent.calls,
            "tokens": {"input": spent.input_tokens, "output": spent.output_tokens},
            "usd": None if spent.usd_unknown_calls else spent.usd,
        },
    }
