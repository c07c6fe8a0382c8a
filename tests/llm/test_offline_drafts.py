"""What the offline model writes for skills: valid, readable drafts that follow rules and demonstrations."""

import json
import re
from collections.abc import Callable, Sequence
from statistics import mean
from typing import Any

import dspy
import pytest

from skill_fleet.core.dspy.signatures import (
    GenerateSkillContent,
    PlanSkill,
    RepairSkill,
    ReviewSkill,
    UnderstandTask,
)
from skill_fleet.core.programs.skill_creator import SkillCreationProgram
from skill_fleet.domain.skill import Skill
from skill_fleet.domain.spec import check
from skill_fleet.llm.offline.model import OfflineModel, model_name
from skill_fleet.llm.offline.writing import CLOSING

TAXONOMY = {
    "technical_skills": {
        "programming": {"python": {"typing": {}}, "rust": {}},
        "operations": {"kubernetes": {}, "backups": {}},
        "data": {"sql": {}, "pandas": {}},
        "security": {"secrets": {}},
    },
    "communication": {"email": {}, "presentations": {}},
    "business": {"hiring": {}, "finance": {}},
    "education": {"mathematics": {}},
}
TASKS = [
    "Write a skill that helps agents roll back a failed Kubernetes deployment safely.",
    "Create a Python decorators skill",
    "Our dates are a mess. How do I clean a CSV export with pandas, including time zones?",
    "We want our support team to be able to answer refund complaints: tone, limits, whom to ask.",
    "Rust lifetimes, explained for people who come from C++.",
    "Teach new managers how to run hiring interviews without bias.",
    "I need secret scanning in git histories, with baselines for old findings and revocation first.",
    "Plan a quarterly restore drill: pick a system by lot, time every stage, record data lost.",
    "Help me present a budget to the board in ten minutes.",
    "A lesson on fractions for sixth graders; exercises need answers.",
    'Explain "why" <this> fails: `rm -rf` & other $HOME surprises # not a comment',
    "tabs\tand\nnew lines --- and: colons",
    "日本語のタスク",
    "x",
    "?!",
]
SECTIONS = {
    "technical_skills/operations": ["Overview", "Prerequisites", "Procedure", "Rollback"],
    "technical_skills/data": ["Overview", "Inputs", "Procedure", "Validation"],
    "communication": ["Overview", "Audience", "Structure", "Checklist"],
}
RULES = "\n".join(
    f"For {where} tasks, plan the sections {', '.join(what)}." for where, what in SECTIONS.items()
)
PATHS = [f"{where}/topic_{n}" for where in SECTIONS for n in range(12)]


@pytest.fixture(autouse=True)
def offline() -> Any:
    with dspy.context(lm=dspy.LM(model_name(), engine=OfflineModel(), cache=False)):
        yield


def create(task: str, **changes: Any) -> dspy.Prediction:
    inputs = {"user_context": {}, "taxonomy_structure": TAXONOMY, "existing_skills": [], **changes}
    return SkillCreationProgram()(task_description=task, **inputs)


@pytest.mark.parametrize(
    "task", TASKS + [f"Teach agents to {task[:40]} better {n}" for n, task in enumerate(TASKS)]
)
def test_a_draft_is_valid_and_says_that_it_is_one(task: str) -> None:
    made = create(task)
    skill = Skill.parse(made.skill_content)
    assert not [finding for finding in check(skill, "spec") if finding.severity == "error"]
    assert 2 <= len(made.taxonomy_path.split("/")) <= 6
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", made.name)
    assert len(made.sections) >= 2
    assert 20 <= len(made.description) <= 500
    assert CLOSING in made.skill_content
    assert "lorem" not in made.skill_content.lower()
    assert 120 <= len(skill.body.split()) <= 900
    assert "{" not in re.sub(r"```.*?```", "", skill.body, flags=re.DOTALL).replace(task, "")


def test_a_draft_speaks_of_its_own_task() -> None:
    one, other = create(TASKS[0]), create(TASKS[5])
    assert one.skill_content.count("Kubernetes") >= 4
    assert "Kubernetes" not in other.skill_content
    assert "hiring interviews" in other.skill_content
    assert one.taxonomy_path.startswith("technical_skills/operations/kubernetes/")
    assert other.taxonomy_path.startswith("business/hiring/")


def test_known_folders_attract_and_no_taxonomy_is_needed() -> None:
    assert create(TASKS[1]).taxonomy_path.startswith("technical_skills/programming/python/")
    bare = create(TASKS[1], taxonomy_structure={}, existing_skills=[]).taxonomy_path
    assert bare.split("/")[:2] == ["general", "programming"]
    known = ["kitchen/cooking/soup", "kitchen/baking/bread"]
    path = create("Teach baking of rye bread", taxonomy_structure={}, existing_skills=known).taxonomy_path
    assert path.startswith("kitchen/baking/")


def planned(
    paths: Sequence[str], instruction: str = "", demos: Sequence[dspy.Example] = ()
) -> list[list[str]]:
    predictor = dspy.Predict(PlanSkill.with_instructions(f"{PlanSkill.instructions}\n{instruction}".strip()))
    predictor.demos = list(demos)
    return [
        predictor(
            task_description=f"Do the work called {path}",
            taxonomy_path=path,
            skill_name="n",
            key_terms=["work"],
        ).sections
        for path in paths
    ]


def agreement(plans: Sequence[Sequence[str]], paths: Sequence[str]) -> float:
    def one(plan: Sequence[str], path: str) -> float:
        wanted = next(titles for where, titles in SECTIONS.items() if path.startswith(where))
        return 2 * len(set(plan) & set(wanted)) / (len(plan) + len(wanted))

    return mean(one(plan, path) for plan, path in zip(plans, paths, strict=True))


def test_rules_are_followed_where_they_apply_and_only_there() -> None:
    base, ruled = agreement(planned(PATHS), PATHS), agreement(planned(PATHS, RULES), PATHS)
    assert base < 0.5
    assert ruled > 0.8
    elsewhere = planned([f"product/topic_{n}" for n in range(12)], RULES)
    assert not {"Rollback", "Inputs", "Audience"} & {title for plan in elsewhere for title in plan}


def test_bloat_costs() -> None:
    idle = [f"Remember the {word} of the house and respect it in all that is planned." for word in "abcdefgh"]
    more = [
        f"For {word} tasks, plan the sections One {word}, Two {word}."
        for word in ("art", "law", "sea", "sky", "tin")
    ]
    bloated = "\n".join([*idle, RULES, *more, *idle[::-1], *(line.replace("house", "firm") for line in idle)])
    assert agreement(planned(PATHS, bloated), PATHS) < agreement(planned(PATHS, RULES), PATHS) - 0.08


def test_near_demonstrations_help_more_than_far_ones() -> None:
    def demo(where: str) -> dspy.Example:
        return dspy.Example(
            task_description=f"Do other work under {where}",
            taxonomy_path=f"{where}/known",
            skill_name="n",
            key_terms=["work"],
            description="Does other work. Use when asked.",
            sections=SECTIONS[where],
            reasoning="r",
        )

    demos = [demo(where) for where in SECTIONS]
    with_all = agreement(planned(PATHS, demos=demos), PATHS)
    assert with_all > agreement(planned(PATHS), PATHS) + 0.15
    data = [path for path in PATHS if path.startswith("technical_skills/data")]
    assert (
        agreement(planned(data, demos=[demos[1]]), data)
        > agreement(planned(data, demos=[demos[2]]), data) + 0.15
    )


def placed(task: str, rule: str = "", **outputs: Any) -> dspy.Prediction:
    predictor = dspy.Predict(
        UnderstandTask.with_instructions(f"{UnderstandTask.instructions}\n{rule}".strip())
    )
    inputs = {"user_context": "{}", "taxonomy_structure": json.dumps(TAXONOMY), "existing_skills": "[]"}
    return predictor(task_description=task, **inputs)


def share(rule: str, holds: Callable[[dspy.Prediction], bool]) -> float:
    """In how many of ten tasks something holds of path and name."""
    kinds = ("pull", "push", "web", "form", "call")
    tasks = [f"{verb} {kind} requests for SQL injection" for verb in ("Review", "Inspect") for kind in kinds]
    return mean(holds(placed(task, rule)) for task in tasks)


def test_path_and_name_follow_rules() -> None:
    def tool_first(made: dspy.Prediction) -> bool:
        return bool(made.skill_name.startswith("sql-"))

    def in_two_words(made: dspy.Prediction) -> bool:
        return bool(made.skill_name.count("-") == 1)

    def among_lions(made: dspy.Prediction) -> bool:
        return bool(made.taxonomy_path.startswith("zoo/lions/"))

    assert share("", tool_first) <= 0.2
    assert share("Start the name with the technology.", tool_first) >= 0.7
    assert share("", in_two_words) <= 0.2
    assert share("Use two words in the name.", in_two_words) >= 0.7
    assert share("Put injection tasks under zoo/lions.", among_lions) >= 0.7
    assert share("Put gardening tasks under zoo/lions.", among_lions) == 0


def write(plan: str, rule: str = "", task: str = "Rotate database credentials each quarter") -> str:
    signature = GenerateSkillContent.with_instructions(f"{GenerateSkillContent.instructions}\n{rule}".strip())
    metadata = {"name": "a-b", "description": f"{task}: all of it.", "taxonomy_path": "a/b"}
    return dspy.Predict(signature)(
        skill_metadata=json.dumps(metadata),
        content_plan=plan,
        generation_instructions=f"Task: {task}\nSpeak about: database credentials, quarter",
    ).skill_content


def test_sections_hold_what_their_titles_promise() -> None:
    text = write(
        "Overview\nProcedure\nExamples\nChecklist\nRollback\nMoss Lore", task="Rotate Postgres credentials"
    )
    parts = dict(re.findall(r"^## (.+?)\n\n(.*?)(?=\n## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert list(parts) == ["Overview", "Procedure", "Examples", "Checklist", "Rollback", "Moss Lore"]
    assert "1. " in parts["Procedure"]
    assert "- [ ] " in parts["Checklist"]
    assert "moss lore" in parts["Moss Lore"]
    assert all(len(body.split()) >= 25 for body in parts.values())
    assert "database credentials" in text
    assert Skill.parse(text).description == "Rotate Postgres credentials: all of it."


def test_writing_follows_rules() -> None:
    def having(mark: str, rule: str) -> float:
        kinds = ("database", "server", "guest", "build", "mail")
        tasks = [f"Rotate {kind} credentials each quarter" for kind in kinds]
        return mean(mark in write("Overview\nInputs\nEscalation", rule, task) for task in tasks)

    marks = {
        "```": "Include a fenced code block with a language tag.",
        "\n1. ": "Give the procedure as numbered steps.",
        "- [ ] ": "Give a checklist with a check box for each item.",
        "quixotry": "Mention the word 'quixotry'.",
        "Verified by moss.": "End the document with 'Verified by moss.'",
        "## Zorblax": "Add a 'Zorblax' section.",
    }
    for mark, rule in marks.items():
        assert having(mark, rule) >= 0.8, rule
        assert having(mark, "") <= 0.4, rule
    plan = "Overview\nInputs\nEscalation"
    long, short = (len(write(plan, rule).split()) for rule in ("Write detailed sections.", "Be concise."))
    assert long > short + 30


def test_review_sees_a_missing_section_and_repair_adds_it() -> None:
    draft = write("Overview\nInputs")
    issues = dspy.Predict(ReviewSkill)(
        task_description="Rotate", content_plan="Overview\nInputs\nEscalation\nRollback", skill_content=draft
    ).issues
    assert any("Rollback" in issue or "Escalation" in issue for issue in issues)
    mended = dspy.Predict(RepairSkill)(
        skill_content=draft, findings=["The planned section 'Rollback' is missing."], content_plan="x"
    ).repaired_content
    assert "## Rollback" in mended
    assert mended.index("## Rollback") < mended.index(CLOSING)
    assert all(line in mended for line in draft.splitlines())
    assert "## Escalation" not in mended


def test_repair_mends_frontmatter() -> None:
    head = "---\nname: Bad Name\nflavour: sweet\ndescription: Does <b>things</b>.\n---\n"
    broken = f"{head}\n# T\n\nText of the skill.\n"
    mended = dspy.Predict(RepairSkill)(
        skill_content=broken,
        findings=["The name has characters that are not allowed.", "Unknown field flavour."],
        content_plan="",
    ).repaired_content
    skill = Skill.parse(mended)
    assert skill.name == "bad-name"
    assert "flavour" not in mended
    assert "Text of the skill." in mended


def test_review_of_a_whole_draft_finds_nothing() -> None:
    found = 0
    for task in TASKS[:10]:
        draft = write("Overview\nInputs\nEscalation", task=task)
        if all(f"## {title}" in draft for title in ("Overview", "Inputs", "Escalation")):
            found += len(
                dspy.Predict(ReviewSkill)(
                    task_description=task, content_plan="Overview\nInputs\nEscalation", skill_content=draft
                ).issues
            )
    assert found <= 3
