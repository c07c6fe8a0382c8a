"""MIPROv2's proposals, asked for as soon as what they show is known."""

import copy
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

import dspy
from dspy.propose import grounded_proposer
from dspy.teleprompt import mipro_optimizer_v2

from skill_fleet.optimization.prefetch.ghosts import Ghosts
from skill_fleet.optimization.prefetch.grounded import Proposer
from skill_fleet.optimization.prefetch.mipro_plan import Demos, DemoSets, Plan

Proposals = Sequence[Sequence[Future[str]]]
"""By predictor, then by number."""
_VIEWED = 10  # `view_data_batch_size` of `MIPROv2.compile`


def prefetch_proposals(
    ghosts: Ghosts,
    mipro: dspy.MIPROv2,
    plan: Plan,
    demos: DemoSets,
) -> Proposals:
    """The proposals, drawn in the stock order at once, asked for when they can be.

    The first of each predictor is asked for and not taken: the instruction it has stands there.
    """
    proposer = ghosts.call((0,), partial(_proposer, mipro, plan))
    proposals = []
    for place in range(len(plan.predictors)):
        of_predictor = []
        for number in range(plan.instructions):
            tip = grounded_proposer.TIPS[mipro.rng.choice(list(grounded_proposer.TIPS))]
            rollout = mipro.rng.randint(0, 10**9)
            ask = partial(_propose, ghosts, plan, proposer, demos, place, number, tip, rollout)
            of_predictor.append(ghosts.script(ask))
        proposals.append(of_predictor)
    return proposals


def _proposer(mipro: dspy.MIPROv2, plan: Plan) -> Proposer:
    """The proposer; making it asks for a summary of the training set."""
    return Proposer(
        program=plan.program,
        trainset=plan.train,
        prompt_model=mipro.prompt_model,
        view_data_batch_size=_VIEWED,
        num_demos_in_context=mipro_optimizer_v2.BOOTSTRAPPED_FEWSHOT_EXAMPLES_IN_CONTEXT,
        use_instruct_history=False,
        set_history_randomly=False,
        init_temperature=mipro.init_temperature,
    )


def _propose(
    ghosts: Ghosts,
    plan: Plan,
    proposer: Future[Proposer],
    demos: DemoSets,
    place: int,
    number: int,
    tip: str,
    rollout: int,
) -> str:
    shown = _shown(plan, demos, place, number)
    own = copy.copy(proposer.result())
    own.use_tip = bool(tip)
    own.rng = _Drawn(rollout)
    ask = partial(
        own.propose_instruction_for_predictor,
        program=plan.program,
        predictor=plan.predictors[place],
        pred_i=place,
        demo_candidates={place: shown},
        demo_set_i=number,
        trial_logs={},
        tip=tip,
    )
    return ghosts.call((2, place, number), ask).result()


def _shown(plan: Plan, demos: DemoSets, place: int, number: int) -> list[Demos]:
    """The sets of one predictor as far as the proposal of a number reads them, the others empty.

    It reads from its own set on until it has enough answers of the program. The first proposal shows none
    (and is not taken), so it need not wait.
    """
    shown: list[Demos] = [[] for _ in range(plan.sets)]
    wanted = mipro_optimizer_v2.BOOTSTRAPPED_FEWSHOT_EXAMPLES_IN_CONTEXT if number else 0
    for index in (*range(number, plan.sets), *range(number)):
        if wanted <= 0:
            break
        shown[index] = demos[index].result()[place]
        wanted -= sum("augmented" in demo for demo in shown[index])
    return shown


class _Drawn:
    """A generator whose next number was drawn already: in the stock order, not in that of the threads."""

    def __init__(self, number: int) -> None:
        self._number = number

    def randint(self, _low: int, _high: int) -> int:
        """The number."""
        return self._number
