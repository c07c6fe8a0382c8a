import inspect

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.domain.skill import Skill
from skill_fleet.evaluation.guard import guard
from skill_fleet.evaluation.metric import SkillQuality
from skill_fleet.evaluation.score import Metric

TASK = "Roll back a failed Kubernetes deployment without losing requests, and verify what version serves."
TITLES = ["Overview", "Prerequisites", "Procedure", "Rollback"]
GOLD = dspy.Example(
    task_description=TASK,
    user_context="{}",
    taxonomy_structure="{}",
    existing_skills="[]",
    expected_taxonomy_path="technical_skills/operations/kubernetes/rollouts",
    expected_name="kubernetes-rollout-recovery",
    expected_sections=TITLES,
).with_inputs("task_description", "user_context", "taxonomy_structure", "existing_skills")
DESCRIPTION = (
    "Rolls back a failed Kubernetes deployment without losing requests: pauses the rollout, returns to the "
    "previous revision, verifies pods and serving version."
)
TEXTS = {
    "Overview": """A failed Kubernetes deployment leaves pods of two versions behind one service. Pausing the
rollout keeps the healthy pods serving requests while the cause is read from events and logs.""",
    "Prerequisites": """- Access to the namespace of the deployment with `kubectl`.
- The revision history: at least two replica sets are kept.
- A readiness probe, or traffic reaches pods that cannot serve requests yet.""",
    "Procedure": """1. Pause the rollout with `kubectl rollout pause deployment/web`; note its revision.
2. Read the events of the pods and the last log lines of the failing container.
3. Compare the pod template of both revisions: image, environment, probes, resource limits.

```bash
kubectl rollout undo deployment/web --to-revision=3
kubectl rollout status deployment/web
```""",
    "Rollback": """Return to the revision that served before. Watch the error rate while pods are
replaced; connections are drained through the grace period before a pod ends. Verify the serving version
with the health endpoint from outside the cluster, and record which revision failed and why.""",
}


def content(titles=TITLES, description=DESCRIPTION):
    body = "\n\n".join(f"## {title}\n\n{TEXTS[title]}" for title in titles)
    head = f"---\nname: kubernetes-rollout-recovery\ndescription: {description!r}\n---"
    return f"{head}\n\n# Rollout recovery\n\n{body}\n"


def prediction(**changes):
    fields = {
        "taxonomy_path": "technical_skills/operations/kubernetes/rollouts",
        "name": "kubernetes-rollout-recovery",
        "description": DESCRIPTION,
        "sections": TITLES,
        "skill_content": content(),
        "issues": [],
    }
    return dspy.Prediction(**{**fields, **changes})


def told(pred, predictor):
    return SkillQuality().feedback(GOLD, pred, None, predictor, None).feedback


def test_a_good_prediction_passes_and_the_value_is_the_weighted_mean_of_its_parts():
    score = SkillQuality().score(GOLD, prediction())
    assert score.value > 0.9
    mean = sum(weight * score.parts[part] for part, weight in SkillQuality().weights.items())
    assert score.value == pytest.approx(mean)
    assert {"path", "name", "sections", "guard", "trigger", "grounding"} <= score.parts.keys()


def test_weights_count_in_proportion_and_only_for_what_is_expected():
    pred = prediction(taxonomy_path="communication/x", name="helm-charts")
    assert SkillQuality(path=2, name=0, sections=0, guard=0).score(GOLD, pred).value == 0.0
    assert SkillQuality(path=0, name=0, sections=5, guard=0).score(GOLD, pred).value == 1.0
    bare = {"task_description": TASK}
    alone = guard(Skill.parse(content()), TASK)
    assert SkillQuality().score(bare, pred).value == pytest.approx(alone.value)


@pytest.mark.parametrize(
    "strange",
    [
        None,
        "text",
        {},
        dspy.Prediction(),
        dspy.Prediction(skill_content=None),
        dspy.Prediction(skill_content=["a"]),
        dspy.Prediction(skill_content=" \n"),
    ],
)
def test_a_prediction_without_a_text_is_worth_nothing_and_told_why(strange):
    metric = SkillQuality()
    score = metric.score(GOLD, strange)
    assert score.value == 0.0
    assert "the prediction has none" in score.feedback
    assert metric.metric(GOLD, strange) == 0.0
    assert metric.reward({"task_description": TASK}, strange) == 0.0
    assert "the prediction has none" in metric.feedback(GOLD, strange, None, "write", None).feedback


def test_strange_fields_beside_a_text_count_as_missing():
    score = SkillQuality().score(GOLD, prediction(taxonomy_path=None, name=7, sections="Overview"))
    assert score.parts["path"] == 0.0
    assert score.parts["name"] == 1.0, "the frontmatter says it"
    assert SkillQuality().score(dict(GOLD), dict(prediction())).value > 0.9


def test_three_faces():
    metric, pred = SkillQuality(), prediction()
    assert isinstance(metric, Metric)
    inspect.signature(metric.metric).bind(None, None, None, None, None)
    value = metric.score(GOLD, pred).value
    assert metric.metric(GOLD, pred) == value
    assert metric.metric(GOLD, pred, trace=[]) == value
    named = metric.metric(GOLD, pred, [], "plan.predict", [])
    assert (named.score, type(named)) == (value, dspy.Prediction)
    assert metric.reward(GOLD.inputs().toDict(), pred) == pytest.approx(
        guard(Skill.parse(content()), TASK).value
    )


def test_words_go_to_the_predictor_that_can_act_upon_them():
    pred = prediction(
        taxonomy_path="communication/talks/kubernetes",
        name="failed-rollout",
        sections=["Overview", "Procedure"],
        skill_content=content(["Overview"], "Helps with work."),
    )
    understand, plan, write = told(pred, "understand"), told(pred, "plan.predict"), told(pred, "write")
    assert "under technical_skills/operations" in understand
    assert "name" in understand
    assert "section" not in understand
    assert plan.startswith(
        "For technical_skills/operations tasks, plan the sections 'Overview', 'Prerequisites'"
    )
    assert "description" in plan
    assert "fenced" not in plan
    assert "include a '## Procedure' section" in write, "planned and not written"
    assert "Rollback" not in write, "never planned"
    assert "fenced code block with a language tag" in write
    assert told(pred, "repair") == write
    assert "Check that every planned section is written" in told(pred, "review")
    everything = told(pred, "some_other_step")
    assert everything == SkillQuality().score(GOLD, pred).feedback
    for words in ("technical_skills/operations", "plan the sections", "fenced", "description"):
        assert words in everything


def test_a_step_without_fault_is_told_so():
    pred = prediction(skill_content=content(["Overview", "Prerequisites", "Procedure"]))
    assert told(pred, "plan") == "Nothing has to change at this step."
    assert told(pred, "understand") == "Nothing has to change at this step."
    assert "Rollback" in told(pred, "write")


def test_terms_of_the_task_that_are_missing_are_named_for_reader_and_writer():
    gold = {**dict(GOLD), "task_description": "Tune autovacuum thresholds of PostgreSQL against table bloat."}
    metric = SkillQuality()
    write = metric.feedback(gold, prediction(), None, "write", None).feedback
    understand = metric.feedback(gold, prediction(), None, "understand", None).feedback
    assert "Mention the terms of the task in the text; " in write
    assert "autovacuum" in write
    assert "List every term of the task as a key term; " in understand
    assert metric.score(gold, prediction()).value < metric.score(GOLD, prediction()).value


def test_the_weightiest_words_come_first():
    pred = prediction(name="kubernetes-rollouts", skill_content=content(["Overview"]), sections=["Overview"])
    feedback = SkillQuality().score(GOLD, pred).feedback
    assert feedback.index("sections") < feedback.index("name")


def test_reward_knows_no_gold_and_takes_off_for_findings():
    metric = SkillQuality()
    args = {"task_description": TASK}
    plain = metric.reward(args, prediction())
    wrong = content().replace("name: kubernetes-rollout-recovery", "name: Kubernetes Rollout")
    assert metric.reward(args, prediction(skill_content=wrong)) <= plain - 0.1
    assert metric.reward(args, prediction(taxonomy_path="nowhere", name="x")) == plain
    assert metric.reward({}, prediction()) > 0.5


def test_two_metrics_of_equal_weights_are_recognised_as_equal():
    assert repr(SkillQuality()) == repr(SkillQuality(guard=0.45))
    assert repr(SkillQuality()) != repr(SkillQuality(guard=0.5))
    assert "object at" not in repr(SkillQuality(conventions={"a": ("B",)}))


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200), st.text(max_size=30), st.lists(st.text(max_size=10), max_size=4))
def test_no_prediction_makes_the_metric_raise(text, path, sections):
    pred = dspy.Prediction(skill_content=text, taxonomy_path=path, sections=sections)
    score = SkillQuality().score(GOLD, pred)
    assert 0.0 <= score.value <= 1.0
    assert SkillQuality().feedback(GOLD, pred, None, "write", None).feedback
