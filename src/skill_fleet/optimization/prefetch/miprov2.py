"""What is known early of MIPROv2: its demonstrations, its proposals, and its first trials.

DSPy's MIPROv2 bootstraps sets of demonstrations one after the other, proposes instructions one after the
other, then evaluates combinations one after the other. Nothing of the first two stages depends on a score of
the validation set, and Optuna draws the combinations of its first trials at random. All randomness comes from
two seeded generators, so a second MIPROv2 with the same settings draws the same.

The trials after those are chosen by scores; nothing is known of them early.
"""

import inspect
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dspy
from dspy.teleprompt import BootstrapFewShot, mipro_optimizer_v2
from dspy.teleprompt.utils import create_minibatch

from skill_fleet.optimization.prefetch.bootstrap import prefetch_bootstrap, prefetch_runs, run_once
from skill_fleet.optimization.prefetch.ghosts import Ghosts
from skill_fleet.optimization.prefetch.mipro_plan import Demos, DemoSets, Plan, planned
from skill_fleet.optimization.prefetch.mipro_proposals import Proposals, prefetch_proposals

# Defaults of `MIPROv2.compile`.
_MINIBATCH_SIZE, _FULL_EVAL_STEPS = 35, 5
_ZERO_SHOT, _LABELS_ONLY, _UNSHUFFLED = -3, -2, -1


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
    plan = planned(mipro, student, trainset, valset, seed, num_trials, minibatch=minibatch)
    if not ghosts.repeats((), partial(run_once, plan.program.deepcopy(), plan.validation[0])):
        return
    # The draws below are made in the stock order: sets, then proposals, then trials.
    demos = _demo_sets(ghosts, mipro, plan)
    proposals = prefetch_proposals(ghosts, mipro, plan, demos)
    prefetch_runs(ghosts, (3, 0), plan.program.deepcopy(), plan.validation)
    for number, trial in enumerate(_random_trials(mipro, plan, seed), start=1):
        ghosts.script(partial(_try, ghosts, mipro, plan, (3, number), trial, demos, proposals))


def _demo_sets(ghosts: Ghosts, mipro: dspy.MIPROv2, plan: Plan) -> DemoSets:
    """The demonstrations of each predictor, by set."""
    labeled, bootstrapped = mipro.max_labeled_demos, mipro.max_bootstrapped_demos
    if plan.zero_shot:
        labeled = mipro_optimizer_v2.LABELED_FEWSHOT_EXAMPLES_IN_CONTEXT
        bootstrapped = mipro_optimizer_v2.BOOTSTRAPPED_FEWSHOT_EXAMPLES_IN_CONTEXT
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


def _random_trials(mipro: dspy.MIPROv2, plan: Plan, seed: int) -> list[_Trial]:
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


def _unknown(plan: Plan) -> tuple[dict[int, list[str]], dict[int, list[Demos]] | None]:
    """Instructions and demonstrations of each predictor, as many as there will be, none known."""
    places = range(len(plan.predictors))
    demos: dict[int, list[Demos]] | None = {i: [[] for _ in range(plan.sets)] for i in places}
    return {i: [""] * plan.instructions for i in places}, None if plan.zero_shot else demos


def _try(
    ghosts: Ghosts,
    mipro: dspy.MIPROv2,
    plan: Plan,
    order: tuple[int, int],
    trial: _Trial,
    demos: DemoSets,
    proposals: Proposals,
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
