"""What is said in a terminal, in the words of who asked over REST or for a job.

The sentences of errors name options (`--max-cost`), commands (`skill-fleet runs resume`) and files of this
machine. A client sent fields of a body, resumes a job, and need not know where the workspace lies.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from skill_fleet.services.job_ending import Ended

FIELDS: Mapping[str, str] = {
    "--auto": "auto",
    "--best-of": "best_of",
    "--folds": "folds",
    "--force": '"force": true',
    "--max-bootstrapped-demos": "max_bootstrapped_demos",
    "--max-calls": "budget.max_calls",
    "--max-cost": "budget.max_cost",
    "--max-labeled-demos": "max_labeled_demos",
    "--max-minutes": "budget.max_minutes",
    "--max-tokens": "budget.max_tokens",
    "--min-groups": "min_groups",
    "--module": "modules",
    "--num-threads": "num_threads",
    "--optimizer": "optimizer",
    "--output": "save_path",
    "--prefer": "prefer",
    "--program": "program",
    "--refine": "refine",
    "--repeats": "repeats",
    "--rounds": "rounds",
    "--seed": "seed",
    "--task": "task",
    "--trials": "trials",
}
"""Option of the terminal -> field of the body that says the same."""

# What stands in a command that is quoted is the terminal's own.
_OPTION = re.compile(r"skill-fleet [^,;()\n]*|(?<![\w-])--[a-z][a-z-]*")
_NOTHING = re.compile(r"\$0\.0+(?![\d.])")
_RESUME = re.compile(r"skill-fleet runs resume( [0-9][\w-]*)?( --resume-anyway)?")
_ANYWAY = re.compile(r" Or go on with what is there now: skill-fleet runs resume \S+ --resume-anyway\.")
_SAID = frozenset({"message", "hint"})


def in_fields(sentence: str) -> str:
    """A sentence with the fields of the body in place of the options that mean them."""
    named = _OPTION.sub(lambda found: FIELDS.get(found[0], found[0]), sentence)
    return _NOTHING.sub("$0", named)


def without_root(text: str, root: str) -> str:
    """A text without the directory in which the workspace lies; empty: none is cut."""
    return text.replace(f"{root}/", "").replace(root, ".") if root else text


def of_job(sentence: str, job_id: str, root: str) -> str:
    """A sentence about a run, as it is said of its job."""
    resumed = _RESUME.sub(f"skill-fleet jobs resume {job_id}", _ANYWAY.sub("", sentence))
    return without_root(in_fields(resumed.replace("resume the run", "resume the job")), root)


def told(data: Mapping[str, Any], job_id: str, root: str) -> dict[str, Any]:
    """The data of an event, an error or a warning, said of the job and without a path of this machine."""

    def walked(name: str, value: Any) -> Any:
        if isinstance(value, str):
            return of_job(value, job_id, root) if name in _SAID else without_root(value, root)
        if isinstance(value, Mapping):
            return {key: walked(key, one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [walked(name, one) for one in value]
        return value

    return {name: walked(name, value) for name, value in data.items()}


def ended_as_job(ended: Ended, job_id: str, root: str) -> Ended:
    """The end of a job as clients are told of it; its result is only touched where it speaks to people."""
    result = ended.result
    if result is not None:
        spoken = {name: result[name] for name in ("error", "warnings") if result.get(name)}
        result = {**result, **told(spoken, job_id, root)}
    return replace(
        ended,
        result=result,
        error=None if ended.error is None else told(ended.error, job_id, root),
        message=of_job(ended.message, job_id, root),
    )
