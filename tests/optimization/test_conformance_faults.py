"""The conformance suite can fail: each broken optimizer fails the check that is meant for it alone."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import dspy
import pytest

from skill_fleet.llm.budget import Limits
from skill_fleet.llm.halt import Halt
from skill_fleet.optimization.conformance import OptimizerConformance, failures
from skill_fleet.optimization.conformance.bench import Bench
from skill_fleet.optimization.optimizer import Capabilities, Interval, OptimizerInfo, Parameter


class Sound:
    """Labeled demonstrations from a seeded draw, measured once: all that the suite asks for."""

    info = OptimizerInfo(
        name="sound",
        description="One draw of labeled demonstrations.",
        changes=("demos",),
        needs="Labels.",
        cost="One pass over the validation set.",
        parameters=(
            Parameter("auto", "choice", "light", "light|medium|heavy", "1, 2 or 3 draws"),
            Parameter("trials", "int", None, ">= 1", "draws"),
        ),
        capabilities=Capabilities(),
    )

    def estimate_calls(self, sizes):
        draws = sizes.effort.trials or ("light", "medium", "heavy").index(sizes.effort.auto) + 1
        return {"evaluation": Interval(0, draws * sizes.validation).times(sizes.calls_per_run)}

    def draw(self, search, student, seed):
        train = list(search.train)
        random.Random(seed).shuffle(train)
        return dspy.LabeledFewShot(k=self.demos(search)).compile(student, trainset=train, sample=False)

    def demos(self, search):
        return 8

    def measure(self, search, program):
        evaluate = dspy.Evaluate(
            devset=list(search.validation),
            metric=search.score,
            num_threads=search.effort.num_threads,
            display_progress=False,
            display_table=False,
        )
        return evaluate(program).score

    def improve(self, search):
        found = self.draw(search, search.student, search.seed)
        self.measure(search, found)
        return found


class ReturnsTheStudent(Sound):
    def improve(self, search):
        found = super().improve(search)
        for (_, own), (_, new) in zip(
            search.student.named_predictors(), found.named_predictors(), strict=True
        ):
            own.demos = new.demos
        return search.student


class SharesPredictors(Sound):
    """A shallow copy: whoever changes the result changes the student."""

    def improve(self, search):
        found = super().improve(search)
        outer = search.student.deepcopy()
        for name, predictor in search.student.named_predictors():
            predictor.demos = dict(found.named_predictors())[name].demos
            setattr(outer, name, predictor)
        return outer


class ChangesTheStudent(Sound):
    def improve(self, search):
        found = super().improve(search)
        for _, predictor in search.student.named_predictors():
            predictor.demos = [*predictor.demos, {"ticket": "x", "queue": "bugs"}]
        return found


class ChangesMoreThanItSays(Sound):
    def improve(self, search):
        found = super().improve(search)
        for _, predictor in found.named_predictors():
            predictor.signature = predictor.signature.with_instructions("Choose the queue of the ticket.")
        return found


class IgnoresTheSeed(Sound):
    def draw(self, search, student, seed):
        return super().draw(search, student, 7)


class SwallowsTheHalt(Sound):
    def improve(self, search):
        try:
            return super().improve(search)
        except BaseException:  # noqa: BLE001
            return self.draw(search, search.student, search.seed)


class ExceedsItsEstimate(Sound):
    def estimate_calls(self, sizes):
        return {phase: each.times(Interval(0, 0.3)) for phase, each in super().estimate_calls(sizes).items()}


class EstimatesWrongPhases(Sound):
    def estimate_calls(self, sizes):
        return {"profiling": super().estimate_calls(sizes)["evaluation"]}


class EstimatesUpsideDown(Sound):
    def estimate_calls(self, sizes):
        each = super().estimate_calls(sizes)["evaluation"]
        return {"evaluation": Interval(2 * each.most, each.most)}


class IsCheaperWithMoreEffort(Sound):
    def estimate_calls(self, sizes):
        draws = sizes.effort.trials or {"light": 3, "medium": 2, "heavy": 1}[sizes.effort.auto]
        return {"evaluation": Interval(0, 10 * sizes.validation / draws).times(sizes.calls_per_run)}


class FindsNothing(Sound):
    """It searches, and returns a copy of what it was given."""

    def improve(self, search):
        super().improve(search)
        return search.student.deepcopy()


WRONG = {"billing": "access", "access": "shipping", "shipping": "bugs", "bugs": "billing"}


class FindsWhatIsWorse(Sound):
    def improve(self, search):
        found = super().improve(search)
        for _, predictor in found.named_predictors():
            predictor.demos = [{**demo, "queue": WRONG[demo["queue"]]} for demo in predictor.demos]
        return found


class CannotBeSaved(Sound):
    """What makes the program better is not in its state: `forward` is patched, as stock KNN does."""

    def improve(self, search):
        found = super().improve(search)
        for _, predictor in found.named_predictors():
            kept = list(predictor.demos)
            predictor.demos = kept[:1]
            plain = predictor.forward

            def forward(_kept=kept, _plain=plain, **inputs):
                return _plain(demos=_kept, **inputs)

            predictor.forward = forward
        return found


class IsNotJson(Sound):
    """A demonstration holds an object that JSON does not know."""

    def improve(self, search):
        found = super().improve(search)
        for _, predictor in found.named_predictors():
            predictor.demos = [*predictor.demos, {"ticket": threading.Thread, "queue": "bugs"}]
        return found


class DiffersByThreads(Sound):
    def demos(self, search):
        return search.effort.num_threads


class IsNotDeterministic(Sound):
    """Draws from a generator that nobody seeded: neither threads nor replay nor resume find the same."""

    def draw(self, search, student, seed):
        return super().draw(search, student, random.SystemRandom().random())


class ChangesWhatIsNotAsked(Sound):
    """Reaches past `named_predictors`, which shows only what may change."""

    def improve(self, search):
        found = super().improve(search)
        if hasattr(found, "summarize"):
            found.summarize.demos = [{"ticket": "x", "summary": "y"}]
        return found


class AsksAnotherPhase(Sound):
    """Measures with the model that makes demonstrations."""

    def measure(self, search, program):
        with dspy.context(lm=search.lms["profiling"]):
            return super().measure(search, program)

    def estimate_calls(self, sizes):
        both = super().estimate_calls(sizes)["evaluation"]
        return {"profiling": both, "evaluation": both}


class MeasuresUnseen(Sound):
    """Measures by a loop of its own, which no tracker sees."""

    def measure(self, search, program):
        for example in search.validation:
            search.score(example, program(**example.inputs()))


class GoesOnAfterTheCap(Sound):
    """Keeps a door of its own to the model, which no cap closes."""

    def improve(self, search):
        try:
            return super().improve(search)
        except Halt:
            gate = search.lms["evaluation"].engine.gate
            gate._closed, gate.ceiling = None, Limits()
            self.measure(search, self.draw(search, search.student, search.seed))
            raise


@dataclass(frozen=True)
class Fault:
    kind: Callable
    fails: set


FAULTS = (
    Fault(ReturnsTheStudent, {"test_it_returns_a_new_program"}),
    Fault(SharesPredictors, {"test_it_returns_a_new_program", "test_it_leaves_the_student_alone"}),
    Fault(ChangesTheStudent, {"test_it_leaves_the_student_alone"}),
    Fault(ChangesMoreThanItSays, {"test_it_changes_what_it_declares"}),
    Fault(IgnoresTheSeed, {"test_the_seed_reaches_it"}),
    Fault(SwallowsTheHalt, {"test_it_stops_on_halt"}),
    Fault(FindsNothing, {"test_it_finds_something_better"}),
    Fault(FindsWhatIsWorse, {"test_it_finds_something_better"}),
    Fault(CannotBeSaved, {"test_what_it_returns_survives_saving"}),
    Fault(IsNotJson, {"test_what_it_returns_survives_saving"}),
    Fault(DiffersByThreads, {"test_threads_decide_nothing"}),
    Fault(
        IsNotDeterministic,
        {
            "test_threads_decide_nothing",
            "test_a_replay_costs_nothing",
            "test_a_stopped_search_ends_identical",
        },
    ),
    Fault(ChangesWhatIsNotAsked, {"test_only_the_named_predictors_change"}),
    Fault(AsksAnotherPhase, {"test_it_asks_the_models_of_its_phases"}),
    Fault(MeasuresUnseen, {"test_the_tracker_sees_its_candidates"}),
    Fault(GoesOnAfterTheCap, {"test_a_cap_is_exact"}),
)


OF_ESTIMATES = (
    Fault(ExceedsItsEstimate, {"test_it_stays_within_its_estimate"}),
    Fault(EstimatesWrongPhases, {"test_it_stays_within_its_estimate"}),
    Fault(EstimatesUpsideDown, {"test_it_stays_within_its_estimate"}),
    Fault(IsCheaperWithMoreEffort, {"test_further_effort_is_not_cheaper"}),
)
"""They search as `Sound` does."""


class Kept(Bench):
    """A bench whose searches are made once, for several optimizers that search alike."""

    def __init__(self, optimizer, trials):
        super().__init__(optimizer, trials)
        self._kept = {}

    def search(self, place, case):
        key = place, repr(case)
        if key not in self._kept:
            self._kept[key] = super().search(place, case)
        return self._kept[key]


def suite_of(kind):
    return type("Suite", (OptimizerConformance,), {"optimizer": kind, "trials": 1})


@pytest.mark.timeout(300)
def test_a_sound_optimizer_passes_and_a_false_estimate_fails_its_check_and_no_other():
    bench = Kept(Sound, 1)

    class Shared(OptimizerConformance):
        @classmethod
        def setup_class(cls):
            cls.bench = bench

        @classmethod
        def teardown_class(cls):
            """The bench goes with the last of them."""

    try:
        assert failures(Shared) == {}
        for fault in OF_ESTIMATES:
            bench.optimizer = fault.kind
            fails_its_check_and_no_other(fault, failures(Shared))
    finally:
        bench.close()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.kind.__name__)
def test_a_fault_fails_its_check_and_no_other(fault):
    fails_its_check_and_no_other(fault, failures(suite_of(fault.kind)))


def fails_its_check_and_no_other(fault, found):
    assert found.keys() == fault.fails, (fault.kind, found)
    assert all(sentence.endswith(".") for sentence in found.values()), found


def test_every_check_has_a_fault():
    checks = {name for name in dir(OptimizerConformance) if name.startswith("test_")}
    assert set().union(*(fault.fails for fault in (*FAULTS, *OF_ESTIMATES))) == checks


def test_one_that_promises_less_is_asked_for_less():
    class Humble(MeasuresUnseen):
        info = replace(Sound.info, capabilities=Capabilities(seeded=False, tracked=False))

        def draw(self, search, student, seed):
            return super().draw(search, student, 7)

    assert failures(suite_of(Humble)) == {}


def test_a_gain_of_one_that_does_not_learn_is_made_up():
    class Boaster(Sound):
        info = replace(Sound.info, capabilities=Capabilities(learns=False))

    assert failures(suite_of(Boaster)).keys() == {"test_it_finds_something_better"}
