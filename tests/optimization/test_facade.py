"""The documented optimizer classes, on models whose answers are known."""

import hashlib
import inspect
import json
import logging
import re

import dspy
import pytest

import skill_fleet.optimization as public
from skill_fleet.core.programs.catalog import clean_state, program_hash
from skill_fleet.foundation.errors import DataError, MetricError, ProviderError, UsageError
from skill_fleet.llm.testing import ScriptedModel, request_text
from skill_fleet.optimization import (
    GEPA,
    BestOfN,
    BootstrapFewShotWithRandomSearch,
    Evaluate,
    MIPROv2,
    estimate_cost,
)

REQUIRED = inspect.Parameter.empty
DOCUMENTED = {
    MIPROv2: {
        "metric": REQUIRED,
        "num_threads": 1,
        "num_trials": 10,
        "max_labeled_demos": 4,
        "max_rounds": 2,
        "max_bootstrapped_demos": 8,
        "teacher_settings": None,
    },
    BootstrapFewShotWithRandomSearch: {"metric": REQUIRED, "max_bootstrapped_demos": 4, "max_rounds": 1},
    GEPA: {"metric": REQUIRED},
    BestOfN: {"module": REQUIRED, "n": 3, "reward_fn": None},
    Evaluate: {"devset": REQUIRED, "num_threads": 1, "metric": None, "display_progress": False},
}
OPTIMIZERS = (MIPROv2, BootstrapFewShotWithRandomSearch, GEPA)
FAST = {
    MIPROv2: {"num_trials": 4, "max_bootstrapped_demos": 2, "max_labeled_demos": 2},
    BootstrapFewShotWithRandomSearch: {"num_trials": 3, "max_bootstrapped_demos": 2},
    GEPA: {"num_trials": 3},
}


class Answer(dspy.Module):
    """One predictor, so that a run of the program is one call."""

    def __init__(self):
        super().__init__()
        self.answer = dspy.Predict("question -> answer")

    def forward(self, question):
        return self.answer(question=question)


def luck(gold, pred, trace=None):
    """A score that follows from the answer alone: different for every prompt, the same every time."""
    return int(hashlib.sha256(pred.answer.encode()).hexdigest()[:4], 16) / 0xFFFF


def questions(count, start=0):
    return [
        {"question": f"What is {number}?", "answer": str(number)} for number in range(start, start + count)
    ]


def compiled(kind, lm, *, metric=luck, train=6, validation=4, **options):
    with dspy.context(lm=lm):
        return kind(metric, **{**FAST[kind], **options}).compile(
            Answer(), trainset=questions(train), valset=questions(validation, 100)
        )


@pytest.fixture
def lines():
    """What the logger `dspy` says at INFO."""
    said = []

    class Listener(logging.Handler):
        def emit(self, record):
            said.append((record.levelno, record.getMessage()))

    listener = Listener()
    logging.getLogger("dspy").addHandler(listener)
    yield said
    logging.getLogger("dspy").removeHandler(listener)


@pytest.mark.parametrize(("kind", "expected"), DOCUMENTED.items(), ids=lambda v: getattr(v, "__name__", ""))
def test_the_arguments_have_the_documented_names_and_defaults(kind, expected):
    parameters = inspect.signature(kind.__init__).parameters  # DSPy hides those of a module's class
    assert {name: parameters[name].default for name in expected} == expected


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_documented_argument_is_taken_by_every_optimizer(kind):
    optimizer = kind(
        metric=luck,
        num_threads=4,
        num_trials=10,
        max_labeled_demos=4,
        max_rounds=2,
        max_bootstrapped_demos=8,
        teacher_settings=None,
    )
    assert list(inspect.signature(optimizer.compile).parameters) == ["student", "trainset", "valset"]


def test_the_public_names_are_there_and_no_others():
    assert {name: getattr(public, name).__name__ for name in public.__all__} == {
        name: name for name in public.__all__
    }
    with pytest.raises(AttributeError, match="MIPROv3"):
        public.MIPROv3  # noqa: B018 - looking it up is the test


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_result_is_better_and_the_student_is_untouched(kind, rig):
    model = rig()
    student = Answer()
    before = json.dumps(student.dump_state())
    with dspy.context(lm=model.lm):
        better = kind(luck, **FAST[kind]).compile(student, trainset=questions(6), valset=questions(4, 100))
        score = {
            name: Evaluate(devset=questions(4, 100), metric=luck)(p)
            for name, p in (("plain", student), ("better", better))
        }
    assert score["better"] > score["plain"]
    assert json.dumps(student.dump_state()) == before
    assert not getattr(student, "_compiled", False)
    assert type(better) is Answer
    assert better is not student
    assert vars(better).keys() == vars(student).keys()  # no candidates of the search hang on it
    assert all(predictor.lm is None for predictor in better.predictors())


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_seed_decides_the_result_at_any_number_of_threads(kind, rig, tmp_path):
    from skill_fleet.llm.journal.journal import Journal

    found = []
    for number, (seed, threads) in enumerate(((7, 1), (7, 4), (8, 1))):
        store = Journal(tmp_path / f"{number}.ledger", tmp_path / f"{number}.responses")
        program = compiled(kind, rig(store=store).lm, seed=seed, num_threads=threads)
        store.close()
        found.append(program_hash(program))
    assert found[0] == found[1]
    assert found[0] != found[2]


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_repeating_a_finished_compile_calls_nobody(kind, rig):
    model = rig()
    first = compiled(kind, model.lm, seed=3)
    made = model.model.attempts
    again = compiled(kind, model.lm, seed=3)
    assert clean_state(again) == clean_state(first)
    assert model.model.attempts == made


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_plain_dspy_model_does(kind):
    lm = dspy.LM("openai/scripted", engine=ScriptedModel(), cache=False, temperature=0.7)
    program = compiled(kind, lm)
    assert clean_state(program) != clean_state(Answer())


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_what_is_saved_loads_with_plain_dspy(kind, rig, tmp_path):
    program = compiled(kind, rig().lm)
    program.save(str(tmp_path / "program.json"))
    state = json.loads((tmp_path / "program.json").read_text())
    assert state["answer"]["lm"] is None
    loaded = Answer()
    loaded.load(str(tmp_path / "program.json"))
    assert clean_state(loaded) == clean_state(program)


def test_rounds_are_logged_and_end_when_one_gains_nothing(rig, lines):
    compiled(MIPROv2, rig().lm, metric=lambda gold, pred, trace=None: 0.5, max_rounds=4)
    rounds = [line for level, line in lines if level == logging.INFO and line.startswith("Round ")]
    best = [line for level, line in lines if level == logging.INFO and line.startswith("Best instructions: ")]
    assert rounds == ["Round 1: score=0.500"]
    assert best == [
        "Best instructions: {'answer': 'Given the fields `question`, produce the fields `answer`.'}"
    ]


def test_a_further_round_starts_from_the_best_and_never_ends_below_it(rig, lines):
    model = rig()
    with dspy.context(lm=model.lm):
        scores = []
        for rounds in (1, 2, 3):
            program = compiled(BootstrapFewShotWithRandomSearch, model.lm, max_rounds=rounds)
            scores.append(float(Evaluate(devset=questions(4, 100), metric=luck)(program)))
    assert scores == sorted(scores)
    logged = [float(line.rpartition("=")[2]) for _, line in lines if re.match(r"Round \d+: score=\d", line)]
    assert max(logged) == pytest.approx(scores[-1] / 100, abs=1e-3)


def test_without_a_validation_set_half_of_the_examples_are_held_out_by_the_seed(rig):
    def scored_with(seed):
        model = rig(run=f"run-{seed}")
        with dspy.context(lm=model.lm):
            optimizer = BootstrapFewShotWithRandomSearch(luck, num_trials=1, seed=seed)
            train, validation = optimizer._parts(Answer(), questions(9), None)
        return [example.question for example in train], [example.question for example in validation]

    train, validation = scored_with(0)
    assert len(train) == 5
    assert len(validation) == 4
    assert set(train) | set(validation) == {item["question"] for item in questions(9)}
    assert scored_with(0) == (train, validation)
    assert scored_with(1) != (train, validation)


@pytest.mark.parametrize(
    ("train", "validation", "says"),
    [
        ([], None, "cannot be split"),
        (questions(1), None, "cannot be split"),
        ([], questions(2), "at least one training"),
        (questions(2), [], "one validation example"),
        (["What?", "Why?"], None, "not a str"),
    ],
)
def test_too_few_or_unusable_examples_are_named_before_any_call(rig, train, validation, says):
    model = rig()
    with dspy.context(lm=model.lm), pytest.raises(DataError, match=says):
        MIPROv2(luck).compile(Answer(), trainset=train, valset=validation)
    assert model.model.attempts == 0


@pytest.mark.parametrize("option", ["num_threads", "num_trials", "max_rounds"])
def test_counts_below_one_are_refused(option):
    with pytest.raises(UsageError, match=option):
        MIPROv2(luck, **{option: 0})


@pytest.mark.parametrize(
    "metric",
    [lambda gold: 1.0, lambda gold, pred, trace, other: 1.0, "exact", None],
    ids=["one", "four", "a name", "none"],
)
def test_a_metric_of_the_wrong_shape_is_refused_at_once(metric):
    with pytest.raises(UsageError, match="metric"):
        MIPROv2(metric)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("result", [1.5, -0.1, float("nan"), None, "good"])
def test_a_metric_out_of_range_is_an_error_and_no_score(kind, result, rig):
    with pytest.raises(MetricError, match="no number in"):
        compiled(kind, rig().lm, metric=lambda gold, pred, trace=None: result)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_metric_that_raises_everywhere_stops_before_the_search(kind, rig):
    def broken(gold, pred, trace=None):
        raise KeyError("expected")

    model = rig()
    with pytest.raises(MetricError, match="broken raised KeyError"):
        compiled(kind, model.lm, metric=broken)
    assert model.model.attempts <= 6


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_metric_that_breaks_in_the_search_is_no_zero(kind, rig):
    calls = []

    def breaks_later(gold, pred, trace=None):
        calls.append(gold.question)
        if len(calls) > 12:
            raise KeyError("expected")
        return luck(gold, pred)

    with pytest.raises(MetricError, match="breaks_later raised KeyError"):
        compiled(kind, rig().lm, metric=breaks_later)


def test_examples_that_fail_for_good_are_set_aside_and_said(rig):
    def refuse(number, request):
        if "What is 3?" in request_text(request).rpartition("[[ ## question ## ]]")[2]:
            raise dspy.ContextWindowExceededError(model="scripted")

    model = rig(ScriptedModel(fault=refuse))
    with pytest.warns(UserWarning, match=r"1 of 6 examples have no score and are set aside\."):
        program = compiled(BootstrapFewShotWithRandomSearch, model.lm)
    assert clean_state(program) != clean_state(Answer())
    assert not any("What is 3?" in str(demo) for demo in program.answer.demos)


def test_a_model_that_refuses_everything_is_the_error(rig):
    def refuse(number, request):
        raise dspy.LMAuthError("no", model="scripted")

    with pytest.raises(ProviderError):
        compiled(MIPROv2, rig(ScriptedModel(fault=refuse)).lm)


def test_what_is_expected_reaches_no_prompt_though_a_caller_names_it_an_input(rig):
    asked = []

    def remember(request):
        asked.append(request_text(request))

    model = rig(ScriptedModel(answer=remember))
    train = [
        dspy.Example(question=f"What is {n}?", expected_answer="SECRET").with_inputs(
            "question", "expected_answer"
        )
        for n in range(4)
    ]
    with dspy.context(lm=model.lm):
        GEPA(luck, num_trials=2).compile(Answer(), trainset=train, valset=train)
    assert asked
    assert not any("SECRET" in text for text in asked)


def test_ids_and_groups_of_plain_dicts_reach_no_prompt(rig):
    asked = []

    def remember(request):
        asked.append(request_text(request))

    model = rig(ScriptedModel(answer=remember))
    items = [{**q, "id": f"ident-{i}", "group": "flock"} for i, q in enumerate(questions(6))]
    with dspy.context(lm=model.lm):
        MIPROv2(luck, **FAST[MIPROv2]).compile(Answer(), trainset=items, valset=questions(4, 100))
    assert any("What is 3?" in text for text in asked)
    assert not any("ident-" in text or "flock" in text for text in asked)


def test_callbacks_that_are_configured_go_on_hearing(rig):
    from dspy.utils.callback import BaseCallback

    class Ear(BaseCallback):
        def __init__(self):
            self.evaluations = 0

        def on_evaluate_end(self, call_id, outputs, exception=None):
            self.evaluations += 1

    ear = Ear()
    with dspy.context(callbacks=[ear]):
        compiled(BootstrapFewShotWithRandomSearch, rig().lm)
    assert ear.evaluations > 0


def test_an_evaluation_formats_as_the_document_prints_it(rig):
    with dspy.context(lm=rig().lm):
        score = Evaluate(devset=questions(4), metric=lambda gold, pred: 0.25, num_threads=4)(Answer())
    assert f"Optimized score: {score}" == "Optimized score: 25.0"
    assert f"{score:.1f}" == "25.0"
    assert score.score == score == 25.0
    assert [(example.question, value) for example, value in score.results] == [
        (item["question"], 0.25) for item in questions(4)
    ]
    assert score.excluded == 0


def test_an_evaluation_leaves_failures_out_of_the_mean(rig):
    def refuse(number, request):
        if "What is 2?" in request_text(request):
            raise dspy.ContextWindowExceededError(model="scripted")

    with dspy.context(lm=rig(ScriptedModel(fault=refuse), on_failure="raise").lm):
        score = Evaluate(devset=questions(4), metric=lambda gold, pred: 1.0)(Answer())
    assert score == 100.0
    assert score.excluded == 1
    assert [value for _, value in score.results] == [1.0, 1.0, None, 1.0]


def test_an_evaluation_shows_how_far_it_is(rig, lines):
    with dspy.context(lm=rig().lm):
        Evaluate(devset=questions(3), metric=luck, display_progress=True)(Answer())
        assert [line for _, line in lines] == [f"Evaluated {n} of 3 examples." for n in (1, 2, 3)]
        Evaluate(devset=questions(3), metric=luck)(Answer())
    assert len(lines) == 3


def test_an_evaluation_needs_a_metric_and_examples(rig):
    with dspy.context(lm=rig().lm):
        with pytest.raises(UsageError, match="metric"):
            Evaluate(devset=questions(2))(Answer())
        with pytest.raises(DataError, match="no mean"):
            Evaluate(devset=[], metric=luck)(Answer())


def test_the_cost_formula_is_the_documents():
    cost = estimate_cost(
        num_examples=50, num_trials=10, avg_tokens_per_trial=2000, model_cost_per_1k_tokens=0.001
    )
    assert f"${cost:.2f}" == "$1.00"
    assert estimate_cost(0, 10, 2000, 0.001) == 0.0
    with pytest.raises(UsageError, match="negative"):
        estimate_cost(50, 10, 2000, -0.001)
