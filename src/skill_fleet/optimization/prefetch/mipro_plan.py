"""What MIPROv2 decides before its first call, and the names of DSPy that its prefetch relies on."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import dspy

from skill_fleet.optimization.prefetch.bootstrap import BOOTSTRAP_NAMES
from skill_fleet.optimization.prefetch.guard import Name

_MIPRO = "dspy.teleprompt.mipro_optimizer_v2:MIPROv2"
_PROPOSER = "dspy.propose.grounded_proposer:GroundedProposer"
MIPROV2_NAMES = (
    *BOOTSTRAP_NAMES,
    Name(
        f"{_MIPRO}.compile",
        tuple(
            """student trainset teacher valset num_trials max_bootstrapped_demos max_labeled_demos seed
            minibatch minibatch_size minibatch_full_eval_steps program_aware_proposer data_aware_proposer
            view_data_batch_size tip_aware_proposer fewshot_aware_proposer requires_permission_to_run
            provide_traceback""".split()
        ),
    ),
    Name(f"{_MIPRO}._set_random_seeds", ("seed",)),
    Name(f"{_MIPRO}._set_and_validate_datasets", ("trainset", "valset")),
    Name(
        f"{_MIPRO}._set_hyperparams_from_run_mode",
        tuple(
            """program num_trials minibatch zeroshot_opt valset num_instruct_candidates
            num_fewshot_candidates""".split()
        ),
    ),
    Name(
        f"{_MIPRO}._select_and_insert_instructions_and_demos",
        tuple(
            """candidate_program instruction_candidates demo_candidates trial trial_logs trial_num""".split()
        ),
    ),
    Name(
        f"{_MIPRO}._get_param_distributions",
        ("program", "instruction_candidates", "demo_candidates"),
    ),
    Name(
        f"{_PROPOSER}.propose_instruction_for_predictor",
        ("program", "predictor", "pred_i", "demo_candidates", "demo_set_i", "trial_logs", "tip"),
    ),
    Name(
        f"{_PROPOSER}.propose_instructions_for_program",
        ("trainset", "program", "demo_candidates", "trial_logs", "N"),
    ),
    Name(
        "dspy.propose.grounded_proposer:GenerateModuleInstruction.forward",
        tuple(
            """demo_candidates pred_i demo_set_i program previous_instructions data_summary
            num_demos_in_context tip""".split()
        ),
    ),
    Name("dspy.teleprompt.utils:create_minibatch", ("trainset", "batch_size", "rng")),
)
Demos = list[Any]
DemoSets = Sequence[Future[list[Demos]]]
"""By set, then by predictor."""


@dataclass(frozen=True)
class Plan:
    """What MIPROv2 decides before its first call.

    Attributes:
        program: A copy of the student.
        train: Training examples.
        validation: Validation examples, in MIPROv2's order.
        zero_shot: Demonstrations serve the proposals only.
        trials: Combinations to try.
        minibatch: Trials are on samples of the validation examples.
        sets: Sets of demonstrations.
        instructions: Instructions a predictor, the one it has included.
    """

    program: dspy.Module
    train: list[dspy.Example]
    validation: list[dspy.Example]
    zero_shot: bool
    trials: int
    minibatch: bool
    sets: int
    instructions: int

    @property
    def predictors(self) -> list[Any]:
        """Of the program, in order."""
        return self.program.predictors()


def planned(
    mipro: dspy.MIPROv2,
    student: dspy.Module,
    trainset: Sequence[dspy.Example],
    valset: Sequence[dspy.Example],
    seed: int,
    num_trials: int | None,
    *,
    minibatch: bool,
) -> Plan:
    """The plan that `mipro.compile` makes of these; its generator is left where the sets are drawn."""
    mipro._set_random_seeds(seed)  # noqa: SLF001 - behind the guard, as all below
    train, validation = mipro._set_and_validate_datasets(list(trainset), list(valset))  # noqa: SLF001
    zero_shot = mipro.max_bootstrapped_demos == 0 and mipro.max_labeled_demos == 0
    candidates = mipro.num_candidates
    trials, validation, batched, instructions, sets = mipro._set_hyperparams_from_run_mode(  # noqa: SLF001
        student, num_trials, minibatch, zero_shot, validation, candidates, candidates
    )
    return Plan(
        student.deepcopy(), train, validation, zero_shot, trials, batched, sets, min(instructions, sets)
    )
