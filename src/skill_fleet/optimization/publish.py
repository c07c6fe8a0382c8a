"""What a run leaves at its output: the candidate, the plain baseline, or what was there."""

from collections.abc import Mapping
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
from skill_fleet.foundation.errors import IntegrityError
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
        SkillFleetError: There is a file that cannot be measured against: it is damaged or another program's.
    """
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
        elif found is not None and not copy.exists():
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
    only its manifest is brought up to date.

    Raises:
        StorageError: A file cannot be written; what was there is as it was.
    """
    result = session.result
    keep_candidate(session, candidate)
    if choice != "incumbent":
        chosen = candidate if choice == "candidate" else baseline
        with exclusive(session.loaded.workspace.state):
            there = holds(session.plan.output, program_hash(chosen))
            if there is None or there.run_id != result.run_id:
                keep_version(session.plan.output, at=iso(session.clock.now()), how="optimize")
            save_artifact(chosen, session.plan.output, _facts(session, chosen))
    result.published = choice
    result.artifact = session.loaded.workspace.relative(session.plan.output)
    result.manifest = session.loaded.workspace.relative(manifest_path(session.plan.output))
    session.emit("published", published=choice, artifact=result.artifact, program_hash=result.program_hash)


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
