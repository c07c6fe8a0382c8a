"""DSPy's own optimizers gain with the offline model, by what they show it and by nothing else."""

import contextlib
import io
import json
import random
from collections.abc import Callable, Iterator
from statistics import mean
from typing import Any

import dspy
import pytest
from dspy.teleprompt import SIMBA, BootstrapFewShotWithRandomSearch, MIPROv2

from skill_fleet.llm.call_context import CURRENT_CALL, CallContext
from skill_fleet.llm.offline.model import AsyncOfflineModel, OfflineModel, model_name

Feedback = Callable[..., dspy.Prediction]

SECTIONS = {
    "workshop": ["Overview", "Tools", "Steps", "Clean-up"],
    "kitchen": ["Overview", "Ingredients", "Steps", "Storage"],
    "garden": ["Overview", "Season", "Steps", "Pests"],
}
TOPICS = {
    "workshop": "oak table|brass hinge|bicycle chain|garden shears|pine shelf|clay oven|iron gate|linen tent",
    "kitchen": "rye bread|lemon curd|pea soup|plum jam|bean stew|oat biscuits|beef broth|rice pudding",
    "garden": "rose hedge|bean rows|apple tree|tomato beds|herb spiral|moss lawn|pear espalier|kale patch",
}
ASKS = ("Teach agents to make a {} {}.", "We need a skill for a {} {} that lasts.", "How do I plan a {} {}?")
TAXONOMY = json.dumps({"workshop": {"wood": {}}, "kitchen": {"stove": {}}, "garden": {"beds": {}}})


class Understand(dspy.Signature):
    """Decide where the skill belongs and what it is called."""

    task_description: str = dspy.InputField()
    taxonomy_structure: str = dspy.InputField()
    taxonomy_path: str = dspy.OutputField()
    skill_name: str = dspy.OutputField()


class Plan(dspy.Signature):
    """List the sections that the skill needs."""

    task_description: str = dspy.InputField()
    taxonomy_path: str = dspy.InputField()
    sections: list[str] = dspy.OutputField()


class Write(dspy.Signature):
    """Write the whole text of the skill."""

    task_description: str = dspy.InputField()
    content_plan: str = dspy.InputField()
    skill_content: str = dspy.OutputField()


class Maker(dspy.Module):
    """Three steps, as small as a skill program can be."""

    def __init__(self) -> None:
        super().__init__()
        self.understand = dspy.Predict(Understand)
        self.plan = dspy.Predict(Plan)
        self.write = dspy.Predict(Write)

    def forward(self, task_description: str) -> dspy.Prediction:
        placed = self.understand(task_description=task_description, taxonomy_structure=TAXONOMY)
        planned = self.plan(task_description=task_description, taxonomy_path=placed.taxonomy_path)
        written = self.write(task_description=task_description, content_plan="\n".join(planned.sections))
        return dspy.Prediction(
            path=placed.taxonomy_path,
            name=placed.skill_name,
            sections=planned.sections,
            content=written.skill_content,
        )


class RolloutLM(dspy.LM):
    """Passes the rollout on, as the real call path does."""

    def __call__(self, prompt: Any = None, *, messages: Any = None, **options: Any) -> Any:
        token = CURRENT_CALL.set(CallContext("evaluation", {**self.kwargs, **options}.get("rollout_id")))
        try:
            return super().__call__(prompt, messages=messages, **options)
        finally:
            CURRENT_CALL.reset(token)


def lm(seed: int = 0, **options: Any) -> RolloutLM:
    engines = {"engine": OfflineModel(seed), "async_engine": AsyncOfflineModel(seed)}
    return RolloutLM(model_name(seed), **engines, cache=False, num_retries=0, **options)


def examples() -> tuple[list[dspy.Example], list[dspy.Example], list[dspy.Example]]:
    """Training, validation and test examples, eight of each."""
    made = [
        dspy.Example(
            task_description=ASKS[at % 3].format(place, topic),
            expected_taxonomy_path=f"{place}/{'wood stove beds'.split()[index]}/{topic.split()[0]}",
            expected_name=topic.replace(" ", "-"),
            expected_sections=SECTIONS[place],
        ).with_inputs("task_description")
        for index, place in enumerate(SECTIONS)
        for at, topic in enumerate(TOPICS[place].split("|"))
    ]
    random.Random(3).shuffle(made)
    return made[:8], made[8:16], made[16:]


def overlap(wanted: list[str], given: list[str]) -> float:
    return 2 * len(set(wanted) & set(given)) / max(len(wanted) + len(given), 1)


def score(gold: dspy.Example, pred: dspy.Prediction) -> float:
    written = [title for title in gold.expected_sections if f"## {title}\n" in pred.content]
    place = pred.path.split("/")[0] == gold.expected_taxonomy_path.split("/")[0]
    name = overlap(gold.expected_name.split("-"), pred.name.split("-"))
    sections = overlap(gold.expected_sections, pred.sections) * (0.5 + 0.5 * len(written) / 4)
    return 0.15 * place + 0.15 * name + 0.5 * sections + 0.2 * (len(pred.content.split()) > 150)


def metric(gold: dspy.Example, pred: dspy.Prediction, trace: Any = None) -> float:
    return score(gold, pred)


def words_for(gold: dspy.Example, pred: dspy.Prediction) -> str:
    place = gold.expected_taxonomy_path.split("/")[0]
    said = []
    if set(gold.expected_sections) != set(pred.sections):
        said.append(f"For {place} tasks, plan the sections {', '.join(gold.expected_sections)}.")
    if overlap(gold.expected_name.split("-"), pred.name.split("-")) < 1:
        said.append("Use two words in the name. Begin the name with the object of the task.")
    return " ".join(said)


def element_score(gold: dspy.Example, pred: dspy.Prediction) -> float:
    return 0.5 * score(gold, pred) + 0.5 * ("## Quillwort" in pred.content)


def element_words(gold: dspy.Example, pred: dspy.Prediction) -> str:
    return "" if "## Quillwort" in pred.content else "Include a '## Quillwort' section."


def scrambled(said: str) -> str:
    letters = list(said)
    random.Random(1).shuffle(letters)
    return "".join(letters)


def gepa_metric(
    number: Callable[[Any, Any], float], words: Callable[[Any, Any], str], change: Callable[[str], str] = str
) -> Feedback:
    def judge(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
        value = number(gold, pred)
        return dspy.Prediction(score=value, feedback=change(words(gold, pred)) or f"Score: {value:.2f}")

    return judge


@pytest.fixture(autouse=True)
def quiet_and_offline(silent_dspy: None) -> Iterator[None]:
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        dspy.context(lm=lm(), max_errors=1),
    ):
        yield


TRAIN, VALIDATION, TEST = examples()


def measured(program: Any, number: Callable[[Any, Any], float] = score) -> float:
    return mean(number(example, program(**example.inputs())) for example in TEST)


def gepa(judge: Feedback, calls: int = 200, seed: int = 0) -> Any:
    optimizer = dspy.GEPA(
        metric=judge, max_metric_calls=calls, reflection_lm=lm(temperature=1.0), num_threads=2, seed=seed
    )
    return optimizer.compile(Maker(), trainset=TRAIN, valset=VALIDATION)


def instructions(program: Any) -> str:
    return "\n".join(predictor.signature.instructions for _, predictor in program.named_predictors())


def test_the_baseline_leaves_room() -> None:
    assert 0.3 < measured(Maker()) < 0.65


def test_gepa_gains() -> None:
    found = gepa(gepa_metric(score, words_for))
    assert measured(found) > measured(Maker()) + 0.1
    assert "plan the sections" in instructions(found)


def test_miprov2_gains() -> None:
    found = MIPROv2(metric=metric, auto="light", num_threads=2, seed=1).compile(
        Maker(), trainset=TRAIN, valset=VALIDATION
    )
    assert measured(found) > measured(Maker()) + 0.03


def test_bootstrap_with_random_search_gains() -> None:
    optimizer = BootstrapFewShotWithRandomSearch(
        metric=metric, metric_threshold=0.5, num_threads=2, num_candidate_programs=6
    )
    found = optimizer.compile(Maker(), trainset=TRAIN, valset=VALIDATION)
    assert any(predictor.demos for _, predictor in found.named_predictors())
    assert measured(found) >= measured(Maker())


def test_simba_gains() -> None:
    def judge(gold: Any, pred: Any) -> Any:
        return dspy.Prediction(score=score(gold, pred), feedback=words_for(gold, pred))

    found = SIMBA(metric=judge, bsize=8, num_threads=2, max_steps=3, num_candidates=3).compile(
        Maker(), trainset=TRAIN
    )
    assert measured(found) > measured(Maker()) + 0.05


def test_an_invented_demand_is_learnt_from_the_words_of_its_feedback() -> None:
    found = gepa(gepa_metric(element_score, element_words), calls=120)
    assert "Quillwort" in instructions(found)
    assert measured(found, element_score) > measured(Maker(), element_score) + 0.25


@pytest.mark.parametrize("change", [scrambled, lambda said: ""])
def test_without_readable_words_nothing_is_learnt(change: Callable[[str], str]) -> None:
    base = measured(Maker(), element_score)
    found = gepa(gepa_metric(element_score, element_words, change), calls=120)
    assert instructions(found) == instructions(Maker())
    assert measured(found, element_score) == base
