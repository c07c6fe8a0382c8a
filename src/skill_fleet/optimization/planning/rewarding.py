"""Which reward a run judges answers by where no expected one is known."""

from pathlib import Path

from skill_fleet.core.programs.catalog import ProgramEntry
from skill_fleet.core.programs.rewards import SKILL_REWARD, find_reward
from skill_fleet.foundation.errors import UsageError
from skill_fleet.optimization.optimizer import OptimizerInfo
from skill_fleet.optimization.records.request import OptimizationRequest


def reward_of(
    request: OptimizationRequest, entry: ProgramEntry, info: OptimizerInfo, search: Path
) -> str | None:
    """The reward of a request, `module:function`; None where the optimizer asks for none.

    Args:
        request: As asked for.
        entry: The program; the built-in one has a reward of its own.
        info: The optimizer's; it asks for a reward by a parameter of that name.
        search: Where modules are looked up before the installed ones.

    Raises:
        UsageError: There is none, it cannot be used, or the optimizer takes none.
    """
    if not any(parameter.name == "reward" for parameter in info.parameters):
        if request.reward is not None:
            raise UsageError(
                f"--reward says nothing to {info.name}: it judges by the metric, with what is expected.",
                hint="A reward is for best_of_n and refine.",
            )
        return None
    name = request.reward or (SKILL_REWARD if entry.makes_skills else None)
    if name is None:
        raise UsageError(
            f"{info.name} needs a reward for the program {entry.name}.",
            hint="--reward module:function, (args, pred) -> a number in [0, 1]. When the program is used no "
            "expected answer is known, so a reward sees the inputs and the prediction only.",
        )
    find_reward(name, search=search)
    return name
