"""What is known early of MIPROv2: its demonstrations, its proposals, and its first trials.

DSPy's MIPROv2 bootstraps sets of demonstrations one after the other, proposes instructions one after the
other, then evaluates combinations one after the other. Nothing of the first two stages depends on a score of
the validation set, and Optuna draws the combinations of its first trials at random. All randomness comes from
two seeded generators, so a second MIPROv2 with the same settings draws the same.

The trials after those are chosen by scores; nothing is known of them early.
"""

import copy
import inspect
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import dspy
from dspy.propose import GroundedProposer
from dspy.propose.grounded_proposer import TIPS
from dspy.teleprompt import BootstrapFewShot
from dspy.teleprompt.mipro_optimizer_v2 import (
    BOOTSTRAPPED_FEWSHOT_EXAMPLES_IN_CONTEXT,
    LABELED_FEWSHOT_EXAMPLES_IN_CONTEXT,
)
from dspy.teleprompt.utils import create_minibatch

from skill_fleet.optimization.prefetch.bootstrap import (
    BOOTSTRAP_NAMES,
    prefetch_bootstrap,
    prefetch_runs,
)
from skill_fleet.optimization.prefetch.ghosts import Ghosts
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
# Of `MIPROv2.compile`.
_MINIBATCH_SIZE, _FULL_EVAL_STEPS, _VIEWED = 35, 5, 10
_ZERO_SHOT, _LABELS_ONLY, _UNSHUFFLED = -3, -2, -1

Demos = list[Any]


@dataclass(frozen=True)
class _Plan:
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
        return self.program.predictors()


@dataclass(frozen=True)
class _Trial:
    """A combination that is drawn at random, and the examples it is tried on."""

    chosen: Mapping[str, int]
    examples: Sequence[dspy.Example]


def prefetch_miprov2(
    ghosts: Ghosts,
    mipro: dspy.MIPROv2,
    student: dspy.Module,
    *,
    trainset: Sequence[dspy.Example],
    valset: Sequence[dspy.Example],
    seed: int,
    num_trials: int | None = None,
    minibatch: bool = True,
) -> None:
    """The stages of MIPROv2 up to its last random trial, as a script.

    Args:
        ghosts: Who makes the calls.
        mipro: One like the stock optimizer, and nobody else's; its metric says which example succeeded.
        student: The program.
        trainset: As given to `mipro.compile`.
        valset: As given to `mipro.compile`.
        seed: As given to `mipro.compile`, not 0.
        num_trials: As given to `mipro.compile`.
        minibatch: As given to `mipro.compile`.
    """
    plan = _planned(mipro, student, trainset, valset, seed, num_trials, minibatch=minibatch)
    proposer = ghosts.call((0,), partial(_proposer, mipro, plan))
    # The draws below are made in the stock order: sets, then proposals, then trials.
    demos = _demo_sets(ghosts, mipro, plan)
    proposals = _proposals(ghosts, mipro, plan, proposer, demos)
    prefetch_runs(ghosts, (3, 0), plan.program.deepcopy(), plan.validation)
    for number, trial in enumerate(_random_trials(mipro, plan, seed), start=1):
        ghosts.script(partial(_try, ghosts, mipro, plan, (3, number), trial, demos, proposals))


def _planned(
    mipro: dspy.MIPROv2,
    student: dspy.Module,
    trainset: Sequence[dspy.Example],
    valset: Sequence[dspy.Example],
    seed: int,
    num_trials: int | None,
    *,
    minibatch: bool,
) -> _Plan:
    mipro._set_random_seeds(seed)  # noqa: SLF001 - behind the guard, as all below
    train, validation = mipro._set_and_validate_datasets(list(trainset), list(valset))  # noqa: SLF001
    zero_shot = mipro.max_bootstrapped_demos == 0 and mipro.max_labeled_demos == 0
    candidates = mipro.num_candidates
    trials, validation, batched, instructions, sets = mipro._set_hyperparams_from_run_mode(  # noqa: SLF001
        student, num_trials, minibatch, zero_shot, validation, candidates, candidates
    )
    return _Plan(
        student.deepcopy(), train, validation, zero_shot, trials, batched, sets, min(instructions, sets)
    )


def _demo_sets(ghosts: Ghosts, mipro: dspy.MIPROv2, plan: _Plan) -> list[Future[list[Demos]]]:
    """The demonstrations of each predictor, by set."""
    labeled, bootstrapped = mipro.max_labeled_demos, mipro.max_bootstrapped_demos
    if plan.zero_shot:
        labeled, bootstrapped = LABELED_FEWSHOT_EXAMPLES_IN_CONTEXT, BOOTSTRAPPED_FEWSHOT_EXAMPLES_IN_CONTEXT
    sets = []
    for number in range(_ZERO_SHOT, plan.sets + _ZERO_SHOT):
        examples, size = list(plan.train), bootstrapped
        if number == _ZERO_SHOT:
            make = plan.program.reset_copy
        elif number == _LABELS_ONLY and labeled > 0:
            make = partial(dspy.LabeledFewShot(k=labeled).compile, plan.program, trainset=examples)
        else:
            if number != _UNSHUFFLED:
                mipro.rng.shuffle(examples)
                size = mipro.rng.randint(1, bootstrapped)
            bootstrap = _bootstrap(mipro, size, labeled)
            make = partial(prefetch_bootstrap, ghosts, (1, number), bootstrap, plan.program, examples)
        sets.append(ghosts.script(partial(_demos_of, make)))
    return sets


def _demos_of(make: Any) -> list[Demos]:
    return [predictor.demos for predictor in make().predictors()]


def _bootstrap(mipro: dspy.MIPROv2, size: int, labeled: int) -> BootstrapFewShot:
    return BootstrapFewShot(
        metric=mipro.metric,
        metric_threshold=mipro.metric_threshold,
        max_bootstrapped_demos=size,
        max_labeled_demos=labeled,
        teacher_settings=mipro.teacher_settings,
    )


def _proposer(mipro: dspy.MIPROv2, plan: _Plan) -> GroundedProposer:
    """The proposer; making it asks for a summary of the training set."""
    return GroundedProposer(
        program=plan.program,
        trainset=plan.train,
        prompt_model=mipro.prompt_model,
        view_data_batch_size=_VIEWED,
        num_demos_in_context=BOOTSTRAPPED_FEWSHOT_EXAMPLES_IN_CONTEXT,
        use_instruct_history=False,
        set_history_randomly=False,
        init_temperature=mipro.init_temperature,
    )


def _proposals(
    ghosts: Ghosts,
    mipro: dspy.MIPROv2,
    plan: _Plan,
    proposer: Future[GroundedProposer],
    demos: Sequence[Future[list[Demos]]],
) -> list[list[Future[str]]]:
    """The instructions of each predictor; the first is the one it has."""
    proposals = []
    for place in range(len(plan.predictors)):
        of_predictor = []
        for number in range(plan.instructions):
            tip = TIPS[mipro.rng.choice(list(TIPS))]
            rollout = mipro.rng.randint(0, 10**9)
            ask = partial(_propose, ghosts, plan, proposer, demos, place, number, tip, rollout)
            of_predictor.append(ghosts.script(ask))
        proposals.append(of_predictor)
    return proposals


def _propose(
    ghosts: Ghosts,
    plan: _Plan,
    proposer: Future[GroundedProposer],
    demos: Sequence[Future[list[Demos]]],
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


def _shown(plan: _Plan, demos: Sequence[Future[list[Demos]]], place: int, number: int) -> list[Demos]:
    """The sets of one predictor as far as the proposal of a number reads them, the others empty.

    It reads from its own set on until it has enough answers of the program. The first proposal shows none
    (and is not taken), so it need not wait.
    """
    shown: list[Demos] = [[] for _ in range(plan.sets)]
    wanted = BOOTSTRAPPED_FEWSHOT_EXAMPLES_IN_CONTEXT if number else 0
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


def _random_trials(mipro: dspy.MIPROv2, plan: _Plan, seed: int) -> list[_Trial]:
    """The combinations that Optuna draws before it looks at scores, as the stock study draws them."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    drawn = inspect.signature(optuna.samplers.TPESampler).parameters["n_startup_trials"].default
    instructions, demos = _unknown(plan)
    spaces = mipro._get_param_distributions(plan.program, instructions, demos)  # noqa: SLF001

    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True)
    )

    def note_full_pass() -> None:
        """A full evaluation, of whatever program: the sampler counts it."""
        study.add_trial(
            optuna.trial.create_trial(params=dict.fromkeys(spaces, 0), distributions=spaces, value=0.0)
        )

    note_full_pass()
    trials: list[_Trial] = []
    while len(trials) < plan.trials and len(study.trials) < drawn:
        trial = study.ask()
        mipro._select_and_insert_instructions_and_demos(  # noqa: SLF001
            plan.program.deepcopy(), instructions, demos, trial, defaultdict(dict), 0
        )
        examples = plan.validation
        if plan.minibatch and len(examples) > _MINIBATCH_SIZE:
            examples = create_minibatch(examples, _MINIBATCH_SIZE, mipro.rng)
        trials.append(_Trial(dict(trial.params), examples))
        study.tell(trial, 0.0)
        if plan.minibatch and (trial.number + 1) % (_FULL_EVAL_STEPS + 1) == 0:
            note_full_pass()
    return trials


def _unknown(plan: _Plan) -> tuple[dict[int, list[str]], dict[int, list[Demos]] | None]:
    """Instructions and demonstrations of each predictor, as many as there will be, none known."""
    places = range(len(plan.predictors))
    demos: dict[int, list[Demos]] | None = {i: [[] for _ in range(plan.sets)] for i in places}
    return {i: [""] * plan.instructions for i in places}, None if plan.zero_shot else demos


def _try(
    ghosts: Ghosts,
    mipro: dspy.MIPROv2,
    plan: _Plan,
    order: tuple[int, int],
    trial: _Trial,
    demos: Sequence[Future[list[Demos]]],
    proposals: Sequence[Sequence[Future[str]]],
) -> None:
    """Run a trial's program as soon as what it is made of is known."""
    import optuna

    program = plan.program.deepcopy()
    instructions, sets = _unknown(plan)
    for place, predictor in enumerate(plan.predictors):
        number = trial.chosen[f"{place}_predictor_instruction"]
        proposed = proposals[place][number]
        instructions[place][number] = proposed.result() if number else predictor.signature.instructions
        if sets is not None:
            number = trial.chosen[f"{place}_predictor_demos"]
            sets[place][number] = demos[number].result()[place]
    mipro._select_and_insert_instructions_and_demos(  # noqa: SLF001
        program,
        instructions,
        sets,
        optuna.trial.FixedTrial(dict(trial.chosen)),
        defaultdict(dict),
        0,
    )
    prefetch_runs(ghosts, order, program, trial.examples)
