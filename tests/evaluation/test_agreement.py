import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.evaluation.agreement import agreement, plan_note, written_note
from skill_fleet.evaluation.expected import conventions_of, expected_of

TITLES = ["Overview", "Prerequisites", "Procedure", "Rollback"]
GOLD = {
    "task_description": "Roll back a failed Kubernetes deployment without losing requests.",
    "expected_taxonomy_path": "technical_skills/operations/kubernetes/rollouts",
    "expected_name": "kubernetes-rollout-recovery",
    "expected_sections": TITLES,
}


def document(*titles, level=2, text="Say what is done here and how one sees that it worked."):
    parts = "\n\n".join(f"{'#' * level} {title}\n\n{text}" for title in titles)
    return f"---\nname: x\ndescription: y\n---\n\n# Title\n\n{parts}\n"


def score(path=GOLD["expected_taxonomy_path"], name=GOLD["expected_name"], content=None):
    content = document(*TITLES) if content is None else content
    return agreement(GOLD, taxonomy_path=path, name=name, content=content)


def test_what_is_expected_scores_one_and_leaves_nothing_to_say():
    found = score()
    assert (found.value, found.feedback) == (1.0, "")
    assert dict(found.parts) == {"path": 1.0, "name": 1.0, "sections": 1.0}
    assert score(path="/Technical_Skills/Operations/kubernetes/rollouts/").parts["path"] == 1.0


def test_a_path_scores_by_depth_in_common_and_by_its_last_folder():
    ranked = [
        "technical_skills/operations/kubernetes/rollouts",
        "technical_skills/operations/kubernetes/rollout_recovery",
        "technical_skills/operations/kubernetes/scaling",
        "technical_skills/operations/linux/scaling",
        "technical_skills/data/linux/scaling",
        "communication/talks/demos",
    ]
    values = [score(path=path).parts["path"] for path in ranked]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == len(values)
    assert values[-1] == 0.0
    assert score(path="").parts["path"] == 0.0
    assert 0.4 < score(path=ranked[0] + "/canary").parts["path"] < 1.0


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("communication/x", "Put tasks about kubernetes or roll"),
        ("technical_skills/data/kubernetes/rollouts", "under technical_skills/operations."),
        ("technical_skills/operations/linux/rollouts", "under technical_skills/operations/kubernetes."),
        (
            "technical_skills/operations/kubernetes/scaling",
            "last folder after the topic of the task (rollouts here)",
        ),
    ],
)
def test_a_wrong_path_is_answered_with_a_rule_for_such_tasks(path, words):
    note = score(path=path).by_part["path"]
    assert words in note or words.replace(" or roll", "") in note


def test_a_name_scores_by_its_words_and_a_little_by_their_order():
    assert score(name="kubernetes-rollouts-recovery").parts["name"] == 1.0
    turned = score(name="recovery-kubernetes-rollout")
    assert 0.85 <= turned.parts["name"] < 1.0
    assert "Begin the name with the object of the task" in turned.by_part["name"]
    longer = score(name="kubernetes-rollout-recovery-guide")
    assert longer.parts["name"] < 1.0
    assert "Use three words in the name" in longer.by_part["name"]
    assert score(name="helm-charts").parts["name"] == 0.0


def test_sections_score_by_coverage():
    half = score(content=document("Overview", "Rollback"))
    assert half.parts["sections"] == pytest.approx(0.5)
    assert half.by_part["sections"] == (
        "For technical_skills/operations tasks, include the sections '## Prerequisites' and '## Procedure'."
    )
    assert (
        score(content=document("1. Overview", "PREREQUISITES", "🚀 Procedure", "Rollback:")).parts["sections"]
        == 1.0
    )
    assert (
        score(content=document("Overview", "Prerequisites", "The Procedure", "Rollback")).parts["sections"]
        == 0.875
    )
    assert score(content=document(*TITLES, level=3)).parts["sections"] == 0.0
    assert score(content="").parts["sections"] == 0.0


def test_a_heading_without_text_is_no_section_and_code_is_no_heading():
    empty = score(content=document(*TITLES, text=""))
    assert empty.parts["sections"] == 0.0
    assert "holds next to nothing" in empty.by_part["sections"]
    fenced = "```markdown\n" + document(*TITLES).split("# Title")[1] + "\n```\n"
    assert score(content=fenced).parts["sections"] == 0.0
    deep = "## Overview\n\n### Part\n\nSay here what is done and how one sees that it has worked.\n"
    assert agreement(
        {**GOLD, "expected_sections": ["Overview"]}, taxonomy_path="", name="", content=deep
    ).parts["sections"] == pytest.approx(1.0)


def test_others_may_stand_between_but_not_every_title_there_is():
    assert score(content=document("Overview", "Notes", "Prerequisites", "Procedure", "Rollback")).value == 1.0
    many = score(content=document(*TITLES, *(f"Extra {chr(65 + at) * 3}" for at in range(20))))
    assert many.parts["sections"] < 0.3
    assert "no more than eight sections" in many.by_part["sections"]


def test_order_is_worth_a_tenth():
    turned = score(content=document(*reversed(TITLES)))
    assert 0.9 <= turned.parts["sections"] < 1.0
    assert "keep the sections in the order 'Overview', 'Prerequisites'" in turned.by_part["sections"]


def test_what_gold_does_not_expect_is_no_part():
    only_name = agreement({"expected": {"name": "a-b"}}, taxonomy_path="x", name="a-b", content="")
    assert dict(only_name.parts) == {"name": 1.0}
    assert agreement({}, taxonomy_path="x", name="y", content="z").value == 1.0
    nulls = dspy.Example(expected_taxonomy_path=None, expected_name=None, expected_sections=None)
    assert agreement(nulls, taxonomy_path="x", name="y", content="z").parts == {}


def test_planning_and_writing_are_told_apart():
    expected = expected_of(GOLD)
    assert plan_note(expected, TITLES) == ""
    assert plan_note(expected, ["Overview"]) == (
        "For technical_skills/operations tasks, "
        "plan the sections 'Overview', 'Prerequisites', 'Procedure', 'Rollback'."
    )
    content = document("Overview", "Procedure")
    assert "Rollback" in written_note(expected, TITLES, content)
    assert written_note(expected, ["Overview", "Procedure"], content) == "", (
        "what was not planned is not writing's fault"
    )
    assert "Rollback" in written_note(expected, (), content), "without a plan everything is"


def examples():
    shared = {
        "communication": ["Overview", "Audience"],
        "technical_skills/data": ["Overview", "Inputs", "Validation"],
    }
    leaves = ("a/x", "a/y", "b/x", "b/z", "c/w")
    found = [
        {"expected_taxonomy_path": f"{branch}/{leaf}", "expected_sections": list(titles)}
        for branch, titles in shared.items()
        for leaf in leaves
    ]
    found[-1]["expected_sections"].insert(2, "Rollback")
    found.append(
        {
            "expected_taxonomy_path": "technical_skills/security/web",
            "expected_sections": ["Threats", "Verification"],
        }
    )
    return found


def test_conventions_are_stated_for_the_highest_folder_they_hold_for():
    conventions = conventions_of(examples())
    assert conventions == {
        "communication": ("Overview", "Audience"),
        "technical_skills/data": ("Overview", "Inputs", "Validation"),
        "technical_skills/security": ("Threats", "Verification"),
    }
    gold = {**examples()[9], "task_description": "Backfill w partitions."}
    note = agreement(gold, taxonomy_path="", name="", content="", conventions=conventions).by_part["sections"]
    assert note.startswith(
        "For technical_skills/data tasks, include the sections '## Overview', '## Inputs' and"
    )
    assert "For tasks about w, include a '## Rollback' section." in note
    assert conventions_of([]) == {}


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=200))
def test_any_prediction_gets_a_score_of_agreement(path, name, content):
    assert 0.0 <= agreement(GOLD, taxonomy_path=path, name=name, content=content).value <= 1.0
