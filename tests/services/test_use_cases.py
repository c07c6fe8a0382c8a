"""Use cases without a terminal: what comes back, what is raised, what is left on disk."""

import json
import re

import pytest
from dspy.utils.exceptions import LMAuthError, LMBillingError, LMInvalidRequestError

from skill_fleet.domain.skill import Skill
from skill_fleet.foundation.errors import (
    BudgetExhausted,
    DataError,
    Interrupted,
    NotFound,
    ProviderError,
    StorageError,
    UsageError,
)
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.offline.model import OfflineModel
from skill_fleet.llm.testing import ScriptedModel
from skill_fleet.optimization.session import Control
from skill_fleet.services.context import open_context
from skill_fleet.services.creation import CreationRequest, create_skill
from skill_fleet.services.dataset import build_dataset, split_dataset
from skill_fleet.services.evaluation import evaluate_skills
from skill_fleet.services.measuring import Measuring, evaluate_program
from skill_fleet.services.optimization import limits_of, request_of
from skill_fleet.services.programs import load_program
from skill_fleet.services.runs import list_all, show
from skill_fleet.services.targets import skill_files
from skill_fleet.services.validation import validate_skills

TEXT = (
    "---\nname: {name}\ndescription: Does {name}. Use when {name}.\n{more}---\n\n"
    "# Title\n\n## Overview\n\nDo it.\n"
)


def opened(root, *, model=None, flags=None, environ=None):
    factory = None if model is None else lambda _spec, _environ: model
    return open_context(root, flags=flags, environ=environ or {}, models=factory)


def asked(request):
    """The fields that a request wants filled."""
    text = request.messages[-1].text
    return text[text.rfind("Respond with") :]


def writer(content):
    """A model that writes this text, whatever the skill."""

    def answer(request):
        for field in ("skill_content", "repaired_content"):
            if f"[[ ## {field} ## ]]" in asked(request):
                return f"[[ ## {field} ## ]]\n{content}\n\n[[ ## completed ## ]]"
        if "[[ ## taxonomy_path ## ]]" in asked(request):
            return (
                "[[ ## taxonomy_path ## ]]\nfood/coffee\n\n[[ ## skill_name ## ]]\nmake-coffee\n\n"
                '[[ ## key_terms ## ]]\n["coffee"]\n\n[[ ## completed ## ]]'
            )
        if "[[ ## issues ## ]]" in asked(request):
            return "[[ ## issues ## ]]\n[]\n\n[[ ## completed ## ]]"
        if "[[ ## sections ## ]]" in asked(request):
            return (
                "[[ ## reasoning ## ]]\nNone.\n\n[[ ## description ## ]]\nMakes coffee.\n\n"
                '[[ ## sections ## ]]\n["Overview"]\n\n[[ ## completed ## ]]'
            )
        return None

    return ScriptedModel(answer=answer)


def put(root, path, *, name=None, more=""):
    file = root / path / "SKILL.md"
    file.parent.mkdir(parents=True)
    file.write_text(TEXT.format(name=name or file.parent.name, more=more))
    return file


def test_a_draft_that_is_no_skill_is_kept_and_not_published(workspace):
    text = TEXT.format(name="make-coffee", more="metadata: just text\n")
    with pytest.raises(DataError, match="no valid skill") as raised:
        create_skill(opened(workspace, model=writer(text)), CreationRequest("Make coffee"))
    assert raised.value.code == "invalid_draft"
    assert not (workspace / "skills").exists()
    assert ".skill-fleet/drafts/make-coffee/SKILL.md" in raised.value.hint
    assert (workspace / ".skill-fleet/drafts/make-coffee/SKILL.md").exists()


def test_a_skill_has_one_place_in_a_library(workspace):
    context = opened(workspace, model=writer(TEXT.format(name="make-coffee", more="")))
    made = create_skill(context, CreationRequest("Make coffee"))
    assert made["path"] == "skills/food/coffee/make-coffee/SKILL.md"
    elsewhere = workspace / "skills/drinks/hot"
    elsewhere.mkdir(parents=True)
    (workspace / "skills/food/coffee/make-coffee").rename(elsewhere / "make-coffee")
    with pytest.raises(DataError, match="already a skill of that name at skills/drinks/hot/make-coffee"):
        create_skill(context, CreationRequest("Make coffee"))
    forced = create_skill(context, CreationRequest("Make coffee", force=True))
    assert forced["path"] == "skills/drinks/hot/make-coffee/SKILL.md"
    assert len(list(workspace.rglob("SKILL.md"))) == 1


def test_what_stops_a_creation_is_said_and_leaves_nothing(workspace):
    def refuse(_number, _request):
        raise LMAuthError("bad key sk-abcdef1234567890abcdef1234567890")

    def unpaid(_number, _request):
        raise LMBillingError("no money")

    request = CreationRequest("Make coffee")
    for fault, code in ((refuse, "auth"), (unpaid, "billing")):
        with pytest.raises(ProviderError) as raised:
            create_skill(opened(workspace, model=ScriptedModel(fault=fault)), request)
        assert raised.value.code == code
        assert "abcdef1234567890" not in raised.value.message
    with pytest.raises(BudgetExhausted):
        create_skill(opened(workspace), CreationRequest("Make coffee", limits=Limits(calls=2)))
    control = Control()
    control.interrupt()
    with pytest.raises(Interrupted):
        create_skill(opened(workspace), request, control=control)
    assert not list(workspace.rglob("SKILL.md"))


def test_who_stops_the_writing_of_a_skill_is_told_what_was_spent_until_then(workspace):
    control = Control()

    class Stopping(OfflineModel):
        made = 0

        def complete(self, request):
            self.made += 1
            if self.made == 2:
                control.interrupt()
            return super().complete(request)

    with pytest.raises(Interrupted) as raised:
        create_skill(opened(workspace, model=Stopping(0)), CreationRequest("Make coffee"), control=control)
    said = r"Interrupted: .* Spent until then: \$0 \(2 calls, [1-9][\d,]* tokens\)\."
    assert re.fullmatch(said, raised.value.message)
    assert raised.value.hint.startswith("Answers that are there cost nothing")


def test_nothing_is_called_for_a_place_that_cannot_be_written(workspace):
    model = ScriptedModel()
    (workspace / "file").write_text("in the way")
    with pytest.raises(StorageError, match="not a directory"):
        create_skill(opened(workspace, model=model), CreationRequest("x", output=str(workspace / "file/x")))
    assert model.attempts == 0


def test_requests_that_make_no_sense():
    for task, number in (("", 1), (" \n", 1), ("x", 0), ("x", 65)):
        with pytest.raises(UsageError):
            CreationRequest(task, best_of=number)


def test_targets_are_files_folders_and_paths_of_the_library(workspace, tmp_path):
    coffee = put(workspace / "skills", "food/coffee/make-coffee")
    tea = put(workspace / "skills", "food/tea/make-tea")
    other = put(tmp_path / "elsewhere", "x")
    context = opened(workspace)
    assert skill_files(context, ()) == [coffee, tea]
    assert skill_files(context, ["food/tea"]) == [tea]
    assert skill_files(context, ["food", str(coffee), str(other.parent)]) == [coffee, tea, other]
    for target in ("food/cocoa", "no/../where", str(workspace / "config"), "a" * 5000, ""):
        with pytest.raises(NotFound):
            skill_files(opened(workspace / "config"), [target])


def test_validation_and_scores_do_not_stop_at_a_broken_file(workspace):
    put(workspace / "skills", "a")
    (workspace / "skills/b").mkdir()
    (workspace / "skills/b/SKILL.md").write_bytes(b"\xff\xfe\x00---")
    context = opened(workspace)
    found = list(validate_skills(context, (), "strict"))
    assert [one["valid"] for one in found] == [True, False] or not found[0]["valid"]
    assert not found[1]["valid"]
    scores = evaluate_skills(context, ())["skills"]
    assert scores[1]["quality"] < scores[0]["quality"]


def test_a_request_takes_settings_where_nothing_is_asked(workspace):
    context = opened(workspace, flags={"optimization.rounds": 7, "budget.max_calls": 3})
    request = request_of(context, {"data": "x.json", "metric": None, "output": None})
    assert request.rounds == 7
    assert request.limits == limits_of(context.settings) == Limits(calls=3)
    assert request.program == "SkillCreationProgram"
    assert request.data == "x.json"
    both = opened(workspace, flags={"optimization.auto": "light", "optimization.trials": 3})
    with pytest.raises(UsageError, match="exclude each other"):
        request_of(both, {})


def test_a_damaged_run_hides_no_other(workspace):
    runs = workspace / ".skill-fleet" / "runs"
    for name, request in (("20260101-000000-aaaaaa", "{"), ("20260102-000000-bbbbbb", '{"program": "P"}')):
        (runs / name).mkdir(parents=True)
        (runs / name / "request.json").write_text(request)
    context = opened(workspace)
    assert [run["status"] for run in list_all(context)] == ["interrupted", "damaged"]
    assert show(context, "latest")["resume"] == "skill-fleet runs resume 20260102-000000-bbbbbb"
    with pytest.raises(DataError):
        show(context, "20260101")


def test_failed_examples_are_listed_and_in_no_mean(workspace):
    def sometimes(_number, request):
        if "Item 3 " in request.messages[-1].text:
            raise LMInvalidRequestError("too odd a question")

    (workspace / "measuring_own.py").write_text(
        "import dspy\nname = dspy.Predict('task -> name')\n"
        "def length(gold, pred):\n    return len(gold.task) / 100\n"
    )
    items = [{"task": f"Item {number} {'x' * number}"} for number in range(8)]
    (workspace / "items.json").write_text(json.dumps(items))
    how = Measuring(data="items.json", metric="measuring_own:length", num_threads=1)
    seen = []
    value = evaluate_program(
        opened(workspace, model=ScriptedModel(fault=sometimes)),
        "measuring_own:name",
        how,
        on_done=lambda *done: seen.append(done),
    )
    assert [one["id"] for one in value["excluded"]] == ["item-0004"]
    assert [one["score"] is None for one in value["items"]] == [False] * 3 + [True] + [False] * 4
    assert value["mean"] == pytest.approx(
        sum(len(i["task"]) / 100 for i in items if "Item 3" not in i["task"]) / 7
    )
    assert seen[-1] == (8, 8)


def test_programs_are_found_by_file_run_and_name(workspace):
    context = opened(workspace)
    assert load_program(context, "SkillCreationProgram").entry.makes_skills
    for name in ("nothing", "2026", "nowhere.json"):
        with pytest.raises(NotFound):
            load_program(context, name)


def test_data_files_are_never_overwritten_unasked(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    for number in range(12):
        put(workspace / "skills", f"top{number}/topic/skill-{number}", more=f"license: L{number}\n")
    context = opened(workspace, flags={"optimization.min_groups": 3})
    (workspace / "set.json").write_text("mine")
    with pytest.raises(DataError, match="already a file"):
        build_dataset(context, "skills", "set.json", group_by="plugin", seed=0, force=False)
    assert (workspace / "set.json").read_text() == "mine"
    (workspace / "parts").mkdir()
    (workspace / "parts/test.json").write_text("mine")
    with pytest.raises(DataError, match="already a file"):
        split_dataset(context, None, "parts", holdout=(), force=False)
    assert [file.name for file in (workspace / "parts").iterdir()] == ["test.json"]


def test_what_is_written_reads_back(workspace):
    context = opened(workspace)
    made = create_skill(context, CreationRequest("Explain decorators of Python to a beginner"))
    skill = Skill.read(workspace / made["path"])
    assert skill.name == made["name"]
    assert skill.description == made["description"]
