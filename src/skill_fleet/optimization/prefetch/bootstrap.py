"""What is known early of bootstrapping: the attempts that no success can make unnecessary.

DSPy's `BootstrapFewShot` goes through the examples one after the other until enough of them succeeded. While
those that succeeded and those under way are fewer than that, the next example is certain to be tried: it
starts at once, and nothing is paid that the stock run would not pay.
"""

import copy
import random
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import partial
from typing import Any

import dspy
from dspy.teleprompt import BootstrapFewShot

from skill_fleet.optimization.prefetch.ghosts import Ghosts, Order
from skill_fleet.optimization.prefetch.guard import Name

_BOOTSTRAP = "dspy.teleprompt.bootstrap:BootstrapFewShot"
BOOTSTRAP_NAMES = (
    Name(f"{_BOOTSTRAP}.compile", ("student", "teacher", "trainset")),
    Name(f"{_BOOTSTRAP}._prepare_student_and_teacher", ("student", "teacher")),
    Name(f"{_BOOTSTRAP}._prepare_predictor_mappings", ()),
    Name(f"{_BOOTSTRAP}._bootstrap", ("max_bootstraps",)),
    Name(f"{_BOOTSTRAP}._bootstrap_one_example", ("example", "round_idx")),
    Name(f"{_BOOTSTRAP}._train", ()),
    Name("dspy.teleprompt.vanilla:LabeledFewShot.compile", ("student", "trainset", "sample")),
)
RANDOM_SEARCH_NAMES = (
    *BOOTSTRAP_NAMES,
    Name(
        "dspy.teleprompt.random_search:BootstrapFewShotWithRandomSearch.compile",
        ("student", "teacher", "trainset", "valset", "restrict", "labeled_sample"),
    ),
)
Traces = dict[str, list[Any]]
_LABELS_ONLY, _UNSHUFFLED = -2, -1


def prefetch_bootstrap(
    ghosts: Ghosts,
    order: Order,
    bootstrap: BootstrapFewShot,
    student: dspy.Module,
    trainset: Sequence[dspy.Example],
) -> dspy.Module:
    """What `bootstrap.compile(student, trainset=trainset)` returns, its calls made early.

    To be called from a script. The teleprompter must be nobody else's; it scores with its metric.

    Raises:
        CancelledError: The ghosts were ended.
        Halt: A call was refused.
    """
    _prepare(bootstrap, student, trainset)
    found = _successes(ghosts, order, bootstrap)
    bootstrap.name2traces = {
        name: [demo for index in sorted(found) for demo in found[index][name]]
        for name in bootstrap.name2predictor
    }
    bootstrap.validation = [x for index, x in enumerate(bootstrap.trainset) if index not in found]
    random.Random(0).shuffle(bootstrap.validation)
    return bootstrap._train()  # noqa: SLF001


def prefetch_few_shot(
    ghosts: Ghosts, bootstrap: BootstrapFewShot, student: dspy.Module, trainset: Sequence[dspy.Example]
) -> None:
    """The attempts of one bootstrapping at once, as a script.

    Args:
        ghosts: Who makes the calls.
        bootstrap: One like the stock optimizer, and nobody else's; its metric says which example succeeded.
        student: The program.
        trainset: As given to `bootstrap.compile`.
    """
    _prepare(bootstrap, student, trainset)

    def first() -> None:
        _attempted(_alone(bootstrap), bootstrap.trainset[0])

    if bootstrap.max_bootstrapped_demos > 0 and ghosts.repeats((), first):
        prefetch_bootstrap(ghosts, (), bootstrap, student, trainset)


def prefetch_random_search(
    ghosts: Ghosts,
    search: dspy.BootstrapFewShotWithRandomSearch,
    metric: Callable[..., Any],
    student: dspy.Module,
    trainset: Sequence[dspy.Example],
    valset: Sequence[dspy.Example],
) -> None:
    """All candidates of DSPy's random search at once, as a script: none depends on another's score.

    The stock run begins with the program as it is, so the ghosts begin behind it.

    Args:
        ghosts: Who makes the calls.
        search: The stock optimizer, for its settings; one without `stop_at_score`.
        metric: Says whether an example succeeded.
        student: The program.
        trainset: As given to `search.compile`.
        valset: As given to `search.compile`.
    """

    def candidate(seed: int) -> None:
        order = (seed,)
        program = _candidate(ghosts, order, search, metric, student, trainset, seed)
        prefetch_runs(ghosts, order, program, valset)

    first = _candidate(ghosts, (), search, metric, student, trainset, _LABELS_ONLY)
    if ghosts.repeats((), partial(run_once, first, valset[0])):
        for seed in range(_LABELS_ONLY, search.num_candidate_sets):
            ghosts.script(partial(candidate, seed))


def prefetch_runs(
    ghosts: Ghosts, order: Order, program: dspy.Module, examples: Sequence[dspy.Example]
) -> None:
    """Run a program on examples, as an evaluation of it will, without scoring."""
    for example in examples:
        ghosts.call(order, partial(run_once, program, example))


def run_once(program: dspy.Module, example: dspy.Example) -> None:
    """Run a program on one example."""
    program(**example.inputs())


def _candidate(
    ghosts: Ghosts,
    order: Order,
    search: dspy.BootstrapFewShotWithRandomSearch,
    metric: Callable[..., Any],
    student: dspy.Module,
    trainset: Sequence[dspy.Example],
    seed: int,
) -> dspy.Module:
    """The program that the random search makes of a seed."""
    examples = list(trainset)
    if seed == _LABELS_ONLY:
        return dspy.LabeledFewShot(k=search.max_labeled_demos).compile(student, trainset=examples)
    size = search.max_num_samples
    if seed != _UNSHUFFLED:
        random.Random(seed).shuffle(examples)
        size = random.Random(seed).randint(search.min_num_samples, size)
    bootstrap = BootstrapFewShot(
        metric=metric,
        metric_threshold=search.metric_threshold,
        max_bootstrapped_demos=size,
        max_labeled_demos=search.max_labeled_demos,
        teacher_settings=search.teacher_settings,
        max_rounds=search.max_rounds,
    )
    return prefetch_bootstrap(ghosts, order, bootstrap, student, examples)


def _prepare(bootstrap: BootstrapFewShot, student: dspy.Module, trainset: Sequence[dspy.Example]) -> None:
    bootstrap.trainset = list(trainset)
    bootstrap._prepare_student_and_teacher(student, None)  # noqa: SLF001 - behind the guard, as all below
    bootstrap._prepare_predictor_mappings()  # noqa: SLF001


def _successes(ghosts: Ghosts, order: Order, bootstrap: BootstrapFewShot) -> dict[int, Traces]:
    """The demonstrations of the examples that succeed, by the example's place."""
    found: dict[int, Traces] = {}
    under_way: dict[Future[_Attempt], int] = {}
    tried = 0
    while True:
        while tried < len(bootstrap.trainset) and _certain(bootstrap, len(found), under_way.values()):
            attempt = partial(_attempted, _alone(bootstrap), bootstrap.trainset[tried])
            under_way[ghosts.call(order, attempt)] = tried
            tried += 1
        if not under_way:
            return found
        for future in wait(under_way, return_when=FIRST_COMPLETED).done:
            index, attempt_made = under_way.pop(future), future.result()
            if attempt_made.traces is not None:
                found[index] = attempt_made.traces
            if attempt_made.broke:
                _hide(bootstrap, bootstrap.trainset[index])


@dataclass(frozen=True)
class _Attempt:
    """One example, tried.

    Attributes:
        traces: The demonstrations it gives; None when it did not succeed.
        broke: The program raised.
    """

    traces: Traces | None
    broke: bool


def _certain(bootstrap: BootstrapFewShot, found: int, under_way: Iterable[int]) -> bool:
    """Whether the next example will be tried, whatever comes of those under way, and with this prompt.

    The prompt shows demonstrations from the data. An example that is tried does not see itself among them;
    when the program raises on it, DSPy leaves it out for all that follow.
    """
    pending = list(under_way)
    if found + len(pending) >= bootstrap.max_bootstrapped_demos:
        return False
    return not any(
        demo == bootstrap.trainset[index]
        for index in pending
        for predictor in bootstrap.teacher.predictors()
        for demo in predictor.demos
    )


def _alone(bootstrap: BootstrapFewShot) -> BootstrapFewShot:
    """A copy for one attempt: the teacher's demonstrations change during it."""
    own = copy.copy(bootstrap)
    own.teacher = bootstrap.teacher.deepcopy()
    own._prepare_predictor_mappings()  # noqa: SLF001
    own.name2traces = {name: [] for name in own.name2predictor}
    return own


def _attempted(own: BootstrapFewShot, example: dspy.Example) -> _Attempt:
    before = _shown(own.teacher)
    succeeded = any(own._bootstrap_one_example(example, number) for number in range(own.max_rounds))  # noqa: SLF001
    return _Attempt(own.name2traces if succeeded else None, broke=_shown(own.teacher) != before)


def _shown(teacher: dspy.Module) -> list[int]:
    return [len(predictor.demos) for predictor in teacher.predictors()]


def _hide(bootstrap: BootstrapFewShot, example: dspy.Example) -> None:
    """Show an example no longer, as DSPy does after the program raised on it."""
    for predictor in bootstrap.teacher.predictors():
        predictor.demos = [demo for demo in predictor.demos if demo != example]
