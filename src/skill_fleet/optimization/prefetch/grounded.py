"""MIPROv2 that does without a proposal that is withheld.

DSPy's own knows what to do where a description of program or data fails: it proposes without. Where a
proposal itself fails it ends with an exception, and with it all that it has bootstrapped. Here the predictor
keeps the instruction it has in the place of that proposal, as it does in the place of the first one, which
DSPy asks for and never takes. So the search has one choice less; all that is drawn at random stays as it is.
"""

import contextlib
from typing import Any

import dspy
from dspy.propose import GroundedProposer, grounded_proposer
from dspy.teleprompt import mipro_optimizer_v2
from typing_extensions import override

from skill_fleet.core.dspy.source_code import read_alone
from skill_fleet.llm.calls.proposals import Withheld
from skill_fleet.optimization.prefetch.guard import Name, usable

_PROPOSE = tuple(
    """program trainset demo_candidates view_data_batch_size program_aware_proposer data_aware_proposer
    tip_aware_proposer fewshot_aware_proposer num_instruct_candidates""".split()
)
GROUNDED_NAMES = (
    Name("dspy.teleprompt.mipro_optimizer_v2:MIPROv2._propose_instructions", _PROPOSE),
    Name(
        "dspy.propose.grounded_proposer:GroundedProposer",
        tuple(
            """prompt_model program trainset view_data_batch_size use_dataset_summary program_aware
            use_task_demos num_demos_in_context use_instruct_history use_tip set_tip_randomly
            set_history_randomly verbose rng init_temperature""".split()
        ),
    ),
    Name("dspy.propose.grounded_proposer:get_dspy_source_code", ("module",)),
    Name(
        "dspy.propose.grounded_proposer:GroundedProposer.propose_instruction_for_predictor",
        ("program", "predictor", "pred_i", "demo_candidates", "demo_set_i", "trial_logs", "tip"),
    ),
    Name(
        "dspy.propose.grounded_proposer:GroundedProposer.propose_instructions_for_program",
        ("trainset", "program", "demo_candidates", "trial_logs", "N"),
    ),
)


class Proposer(GroundedProposer):
    """DSPy's, for which a proposal that is withheld is the instruction that the predictor has.

    It reads the program's code apart from DSPy's, which goes without where that fails: in one of several
    threads it may fail by chance.
    """

    def __init__(self, *, program: Any, program_aware: bool = True, **options: Any) -> None:
        super().__init__(program=program, program_aware=False, **options)
        if program_aware:
            with contextlib.suppress(Exception):  # then it goes without, as DSPy does
                self.program_code_string = read_alone(lambda: grounded_proposer.get_dspy_source_code(program))
                self.program_aware = True

    def propose_instruction_for_predictor(
        self, program: Any, predictor: Any, pred_i: int, *args: Any, **options: Any
    ) -> str:
        """One instruction for a predictor."""
        try:
            return str(
                super().propose_instruction_for_predictor(program, predictor, pred_i, *args, **options)
            )
        except Withheld:
            return str(program.predictors()[pred_i].signature.instructions)


class _Grounded(dspy.MIPROv2):
    """DSPy's with that proposer: its second step is DSPy's own but for the class it makes."""

    @override
    def _propose_instructions(
        self,
        program: Any,
        trainset: list[Any],
        demo_candidates: Any,
        view_data_batch_size: int,
        program_aware_proposer: bool,
        data_aware_proposer: bool,
        tip_aware_proposer: bool,
        fewshot_aware_proposer: bool,
        num_instruct_candidates: int,
    ) -> dict[int, list[str]]:
        proposer = Proposer(
            program=program,
            trainset=trainset,
            prompt_model=self.prompt_model,
            view_data_batch_size=view_data_batch_size,
            program_aware=program_aware_proposer,
            use_dataset_summary=data_aware_proposer,
            use_task_demos=fewshot_aware_proposer,
            num_demos_in_context=mipro_optimizer_v2.BOOTSTRAPPED_FEWSHOT_EXAMPLES_IN_CONTEXT,
            use_tip=tip_aware_proposer,
            set_tip_randomly=tip_aware_proposer,
            use_instruct_history=False,
            set_history_randomly=False,
            verbose=self.verbose,
            rng=self.rng,
            init_temperature=self.init_temperature,
        )
        proposed: dict[int, list[str]] = proposer.propose_instructions_for_program(
            trainset=trainset,
            program=program,
            demo_candidates=demo_candidates,
            N=num_instruct_candidates,
            trial_logs={},
        )
        for place, predictor in enumerate(program.predictors()):
            proposed[place][0] = predictor.signature.instructions
        return proposed


def mipro_class() -> type[dspy.MIPROv2]:
    """MIPROv2 that does without; DSPy's own, which then ends at such a proposal, where it was not checked."""
    return _Grounded if usable(GROUNDED_NAMES) else dspy.MIPROv2
