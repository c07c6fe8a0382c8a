"""What a documented class chooses by: the examples scored for both programs, whatever failed."""

from dataclasses import replace

import dspy
import pytest

from skill_fleet.evaluation.user_metric import adapt_metric
from skill_fleet.foundation.errors import DataError, MetricError
from skill_fleet.optimization.compiling import Compilation, improved
from skill_fleet.optimization.search import Effort

EASY, HARD = (0, 2, 4, 6), (1, 3, 5, 7)


class Told(dspy.Module):
    """Answers `yes` to the questions in `right`, as soon as it is changed to those in `then`; else `no`.

    Args:
        then: Right after the change.
        breaks: Questions whose look-up breaks after the change.
    """

    def __init__(self, then=EASY, breaks=()):
        super().__init__()
        self.answer = dspy.Predict("question -> answer")
        self.then, self.breaks = then, breaks

    def forward(self, question):
        number, changed = int(question), self.changed
        if changed and number in self.breaks:
            raise ConnectionResetError("the look-up service went away")
        return dspy.Prediction(answer="yes" if number in (self.then if changed else EASY) else "no")

    @property
    def changed(self):
        return self.answer.signature.instructions == "Changed."


class Changing:
    """An optimizer that changes the instructions and measures nothing."""

    def improve(self, search):
        found = search.student.deepcopy()
        found.answer.signature = found.answer.signature.with_instructions("Changed.")
        return found


def right(gold, pred):
    return float(pred.answer == "yes")


def examples():
    numbers = range(8)
    return [dspy.Example(question=str(n), id=f"q{n}", group=f"g{n}").with_inputs("question") for n in numbers]


def compiled(rig, program, metric=right, failed_share=0.5):
    made = rig(line=replace(rig().line, max_failed_share=failed_share))
    phases = dict.fromkeys(("evaluation", "judge", "optimization", "profiling"), made.lm)
    effort = Effort(None, 1, 0, 0, 2)
    setup = Compilation(Changing(), adapt_metric(metric), effort, phases, seed=0, rounds=1, capped=False)
    return improved(setup, program, examples(), examples())


def test_a_program_that_breaks_on_what_is_hard_is_not_better_for_it(rig):
    assert not compiled(rig, Told(then=EASY, breaks=HARD)).changed


def test_a_program_that_breaks_on_what_is_easy_is_not_worse_for_it(rig):
    assert compiled(rig, Told(then=(*EASY, 1), breaks=EASY)).changed


def test_a_better_one_is_taken_and_an_equal_one_is_not(rig):
    assert compiled(rig, Told(then=(*EASY, 1))).changed
    assert not compiled(rig, Told(then=EASY)).changed


def test_a_metric_that_breaks_on_what_a_candidate_answers_is_refused(rig):
    def breaks(gold, pred):
        if int(gold.question) in HARD and pred.answer == "no":
            raise KeyError("no")
        return right(gold, pred)

    everything = (*EASY, *HARD)

    class Worse(Told):
        def forward(self, question):
            return super().forward(question) if self.changed else dspy.Prediction(answer="yes")

    with pytest.raises(MetricError, match=r"broke on 1 of 8 examples, like this: .*raised KeyError"):
        compiled(rig, Worse(then=everything[:-1]), breaks)


def test_a_metric_that_breaks_on_one_answer_of_the_plain_program_is_refused(rig):
    def breaks(gold, pred):
        return right(gold, pred) if gold.question != "3" else None

    with pytest.raises(MetricError, match="broke on 1 of 8 examples"):
        compiled(rig, Told(), breaks)


def test_a_set_without_a_score_is_refused_though_all_may_fail(rig):
    class Away(dspy.Module):
        def forward(self, question):
            raise ConnectionResetError("the look-up service went away")

    with pytest.raises(DataError, match="None of the 8 examples of a set has a score"):
        compiled(rig, Away(), failed_share=1.0)
