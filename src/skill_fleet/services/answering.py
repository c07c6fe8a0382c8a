"""Answers the questions of a server: `python -m skill_fleet.services.answering`.

One JSON object a line on standard input: `{"number", "question", "payload"}`. For each a line on standard
output, `{"number", "length"}`, and after it the value: JSON of so many bytes. What went wrong is in the line:
`"error": {"code", "message", "hint", "kind"}`. Ends with its standard input. The other end is
`skill_fleet.services.asking`.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import IO, Any

from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.jobs.child_ears import die_with_parent
from skill_fleet.services.context import Context, open_context
from skill_fleet.services.job_requests import creation_asked, optimization_asked

Payload = Mapping[str, Any]


def check_optimization(context: Context, payload: Payload) -> dict[str, Any]:
    """Whether a job could start: everything that is looked for before a run begins in a terminal.

    Args:
        context: Where.
        payload: `request` of the job; `keys`: whether the models' keys have to be here too.

    Returns:
        `provider` of the model that runs the program, `optimizer` and `simulated`.
    """
    from skill_fleet.llm.models import Connections
    from skill_fleet.services.optimization import prepare_optimization, request_of

    within, asked = optimization_asked(context, payload["request"])
    plan = prepare_optimization(within, request_of(within, asked)).plan
    if payload.get("keys"):
        connections = Connections.of(context.loaded.environ)
        for spec in plan.models.specs.values():
            connections.to(spec)
    return {
        "provider": plan.models.specs["evaluation"].model.partition("/")[0],
        "optimizer": plan.optimizer.info.name,
        "simulated": plan.models.simulated,
    }


def check_creation(context: Context, payload: Payload) -> dict[str, Any]:
    """Whether a job that writes a skill could start; as `check_optimization`, without an optimizer."""
    from skill_fleet.core.programs.artifact import load_artifact
    from skill_fleet.foundation.errors import UsageError
    from skill_fleet.llm.models import Connections, check_limits, phase_models
    from skill_fleet.services.creation import CreationRequest
    from skill_fleet.services.optimization import limits_of

    within, asked = creation_asked(context, payload["request"])
    request = CreationRequest(**asked, limits=limits_of(within.settings))
    if request.program is not None:
        loaded = load_artifact(within.path(request.program), search=within.workspace.root)
        if not loaded.entry.makes_skills:
            raise UsageError(f"program holds {loaded.entry.name}, which writes no skills.")
    models = phase_models(within.loaded, {} if request.model is None else {"evaluation": request.model})
    check_limits(models, request.limits)
    spec = models.specs["evaluation"]
    if payload.get("keys"):
        Connections.of(context.loaded.environ).to(spec)
    return {"provider": spec.model.partition("/")[0], "simulated": spec.simulated}


def estimate(context: Context, payload: Payload) -> dict[str, Any]:
    """What a job of this request would take; see `estimate_optimization`."""
    from skill_fleet.services.optimization import estimate_optimization, prepare_optimization, request_of

    within, asked = optimization_asked(context, payload["request"])
    return estimate_optimization(prepare_optimization(within, request_of(within, asked)))


def recommend(context: Context, payload: Payload) -> dict[str, Any]:
    """Which optimizer for a request; see `recommend_optimizer`."""
    from skill_fleet.services.optimization import request_of
    from skill_fleet.services.recommendation import recommend_optimizer

    within, asked = optimization_asked(context, payload["request"])
    return recommend_optimizer(within, request_of(within, asked))


def optimizers(context: Context, _payload: Payload) -> dict[str, Any]:
    """Every optimizer, and those of other packages that cannot be used, each with the reason."""
    from skill_fleet.services.catalog import list_broken_optimizers, list_optimizers

    return {"optimizers": list_optimizers(context), "unusable": list_broken_optimizers()}


def evaluate_batch(context: Context, payload: Payload) -> dict[str, Any]:
    """The score of many skills of the library; see `services.skills`."""
    from skill_fleet.services import skills

    return skills.evaluate_batch(context, payload["paths"], payload.get("task", ""))


def validate_batch(context: Context, payload: Payload) -> dict[str, Any]:
    """The findings of many skills of the library; see `services.skills`."""
    from skill_fleet.services import skills

    return skills.validate_paths(context, payload["paths"], payload["profile"])


QUESTIONS: Mapping[str, Callable[[Context, Payload], Any]] = {
    "check_optimization": check_optimization,
    "check_creation": check_creation,
    "estimate": estimate,
    "recommend": recommend,
    "optimizers": optimizers,
    "evaluate_batch": evaluate_batch,
    "validate_batch": validate_batch,
}


def main() -> None:
    """Answer until standard input ends."""
    die_with_parent()
    answers = _own_stdout()
    for line in sys.stdin.buffer:
        said = json.loads(line)
        value, error = _answered(said["question"], said["payload"])
        head = {"number": said["number"], "length": len(value), **error}
        answers.write(json.dumps(head).encode() + b"\n" + value)
        answers.flush()


def _own_stdout() -> IO[bytes]:
    """The stream of the answers; whatever else is printed goes to standard error from now on."""
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return own


def _answered(question: str, payload: Payload) -> tuple[bytes, dict[str, Any]]:
    """The value, and what the head says of an error."""
    try:
        # Read again each time: the file may have changed, and a job would read it as it is then.
        value = QUESTIONS[question](open_context(), payload)
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode(), {}
    except SkillFleetError as error:
        kind = next(base for base in type(error).__mro__ if base.__module__ == SkillFleetError.__module__)
        told = {**error.to_json(), "kind": kind.__name__}
        return b"", {"error": told}
    except Exception as error:  # noqa: BLE001 - a bug here must not pass for a dead process
        traceback.print_exc()
        said = f"The question '{question}' failed: {type(error).__name__}."
        told = {"code": "error", "message": said, "hint": "", "kind": SkillFleetError.__name__}
        return b"", {"error": told}


if __name__ == "__main__":
    main()
