"""Recipes: what they answer, what they cost, and that a file holds all of them and nothing that runs."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError

from skill_fleet.core.programs.artifact import load_artifact, manifest_path, save_artifact
from skill_fleet.core.programs.catalog import clean_state, program_hash, source_digest
from skill_fleet.core.programs.recipes.nearest import NearestDemos
from skill_fleet.core.programs.recipes.rebuild import KINDS, code_digest, with_state
from skill_fleet.core.programs.recipes.recipe import instructions_of, is_recipe, members_of, runs_per_answer
from skill_fleet.core.programs.recipes.sampled import Sampled
from skill_fleet.core.programs.recipes.voting import Ensemble
from skill_fleet.core.programs.rewards import SKILL_REWARD, find_reward, reward_digest
from skill_fleet.evaluation.reward import skill_reward
from skill_fleet.foundation.errors import DataError, UsageError
from skill_fleet.llm.call_context import current_call
from skill_fleet.llm.testing import ScriptedModel, request_text

sys.path.insert(0, str(Path(__file__).parent))

from recipe_programs import Cookery, Triage

PROGRAM = "recipe_programs:Triage"
WORDY = "recipe_programs:wordy"
EXAMPLES = [
    {"ticket": "The invoice is wrong", "queue": "billing"},
    {"ticket": "The parcel is late", "queue": "shipping"},
    {"ticket": "The invoice of the parcel", "queue": "both"},
    {"ticket": "Password lost", "queue": "access"},
]


def told(words, program=None):
    """A program that was optimized: other words."""
    program = program or Triage()
    program.route.signature = program.route.signature.with_instructions(words)
    return program


def nearest(k=2, predictors=("route",), member=None):
    member = member or told("Route it.")
    return NearestDemos(member, examples=EXAMPLES, inputs=["ticket"], predictors=predictors, k=k)


RECIPES = {
    "knn_few_shot": nearest,
    "ensemble": lambda: Ensemble([told("One."), told("Two."), told("Three.")]),
    "best_of_n": lambda: Sampled("best_of_n", told("Route it."), n=3, reward=WORDY),
    "refine": lambda: Sampled("refine", told("Route it."), n=2, reward=WORDY),
}


def facts(program=None, **more):
    source = source_digest(Triage())
    source = source if program is None else code_digest(source, program)
    plain = {"program": PROGRAM, "source_digest": source, "simulated": True}
    return {**plain, "created_at": "2026-01-15T00:00:00.000+00:00", **more}


def answering(value_of):
    """A model that gives each field what a function of its name and the whole request says."""

    def answer(request):
        text = request_text(request)
        last = request.messages[-1].text
        name = "summary" if "[[ ## summary ## ]]`" in last else "queue"
        return f"[[ ## {name} ## ]]\n{value_of(name, text)}\n\n[[ ## completed ## ]]"

    return ScriptedModel(answer=answer)


def test_the_kinds_are_a_closed_table():
    assert set(KINDS) == set(RECIPES)


@pytest.mark.parametrize("kind", RECIPES)
def test_a_recipe_saved_and_loaded_is_the_same_and_answers_the_same(kind, rig, tmp_path):
    program = RECIPES[kind]()
    path = tmp_path / "made.json"
    manifest = save_artifact(program, path, facts(program))
    loaded = load_artifact(path)
    assert type(loaded.program) is type(program)
    assert clean_state(loaded.program) == clean_state(program)
    assert program_hash(loaded.program) == program_hash(program) == manifest.program_hash
    assert loaded.differences == ()
    model = rig(ScriptedModel())
    with dspy.context(lm=model.lm):
        said = program(ticket="The invoice of last week").toDict()
        made = model.model.attempts
        assert loaded.program(ticket="The invoice of last week").toDict() == said
    assert model.model.attempts == made, "not a single prompt is another one"
    save_artifact(loaded.program, tmp_path / "again.json", facts())
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("kind", RECIPES)
def test_its_file_is_json_without_models_that_plain_dspy_refuses(kind, tmp_path):
    program = RECIPES[kind]()
    program.set_lm(dspy.LM("openai/scripted"))
    path = tmp_path / "made.json"
    save_artifact(program, path, facts())
    text = path.read_text()
    assert "scripted" not in text
    assert json.loads(text)["recipe"]["kind"] == kind
    assert all(part["lm"] is None for member in json.loads(text)["members"] for part in member.values())
    with pytest.raises(KeyError):
        Triage().load(str(path))


@pytest.mark.parametrize("kind", RECIPES)
def test_a_model_in_a_file_is_not_loaded(kind, tmp_path):
    path = tmp_path / "made.json"
    save_artifact(RECIPES[kind](), path, facts())
    manifest_path(path).unlink()
    state = json.loads(path.read_text())
    for member in state["members"]:
        member["route"]["lm"] = {"model": "openai/gpt-4o-mini", "api_base": "http://elsewhere"}
    path.write_text(json.dumps(state))
    loaded = load_artifact(path, program=PROGRAM).program
    assert all(predictor.lm is None for _, predictor in loaded.named_predictors())


@pytest.mark.parametrize("kind", RECIPES)
def test_dspys_own_save_and_load_keep_a_recipe(kind, tmp_path):
    program = RECIPES[kind]()
    program.save(str(tmp_path / "own.json"))
    other = RECIPES[kind]()
    for member in other.members:
        told("Something else.", member)
    other.load(str(tmp_path / "own.json"))
    assert clean_state(other) == clean_state(program)


def test_a_recipe_does_not_become_one_of_another_kind():
    program = RECIPES["ensemble"]()
    for other in (RECIPES["refine"](), Triage(), Ensemble(program.members[:2])):
        with pytest.raises(DataError, match=r"not that of this recipe \(ensemble\)"):
            program.load_state(other.dump_state())
    with pytest.raises(DataError, match="not that of this recipe"):
        nearest(k=2).load_state(nearest(k=3).dump_state())


@pytest.mark.parametrize("kind", RECIPES)
def test_a_copy_shares_nothing_that_changes(kind):
    program = RECIPES[kind]()
    before = clean_state(program)
    copy = program.deepcopy()
    for member in members_of(copy):
        told("Changed.", member)
    copy.recipe["k"] = 99
    state = program.dump_state()
    state["recipe"].clear()
    assert clean_state(program) == before


def test_predictors_called_like_the_keys_of_a_recipe_are_predictors(tmp_path):
    program = Cookery()
    assert not is_recipe(program.dump_state())
    program.recipe.demos = [{"dish": "soup", "steps": "boil"}]
    again = with_state(Cookery(), clean_state(program))
    assert clean_state(again) == clean_state(program)
    path = tmp_path / "cookery.json"
    save_artifact(program, path, {**facts(), "program": "recipe_programs:Cookery"})
    program.save(str(tmp_path / "plain.json"))
    assert path.read_bytes() == (tmp_path / "plain.json").read_bytes()
    assert clean_state(load_artifact(path).program) == clean_state(program)


def test_an_ordinary_program_is_its_only_member():
    program = Triage()
    assert members_of(program) == [program]
    assert runs_per_answer(program) == 1
    assert [runs_per_answer(make()) for make in RECIPES.values()] == [1, 3, 3, 2]


def test_instructions_are_told_once_where_all_members_have_the_same():
    told_once = instructions_of(Ensemble([told("Route it."), told("Route it.")]))
    assert told_once["route"] == "Route it."
    assert list(told_once) == ["summarize", "route"]
    each = instructions_of(RECIPES["ensemble"]())
    assert list(each) == ["summarize", "1: route", "2: route", "3: route"]
    assert each["2: route"] == "Two."
    assert instructions_of(told("Route it."))["route"] == "Route it."


def test_recipes_are_not_nested():
    for inner in RECIPES.values():
        with pytest.raises(UsageError, match="members of a recipe"):
            Ensemble([Triage(), inner()])
    with pytest.raises(UsageError, match="members of a recipe"):
        Ensemble([])


class TestNearest:
    """knn_few_shot."""

    def test_the_nearest_stand_last_and_only_where_they_are_wanted(self, rig):
        seen = {}
        model = rig(answering(lambda name, text: seen.setdefault(name, text) and "x"))
        member = told("Route it.")
        member.route.demos = [{"ticket": "old", "summary": "old", "queue": "old"}]
        with dspy.context(lm=model.lm):
            nearest(member=member)(ticket="Where is my parcel? It is late")
        assert model.model.attempts == 2, "an answer takes what it took"
        assert "billing" not in seen["route" if "route" in seen else "queue"]
        shown = seen["queue"]
        assert 0 < shown.index("The invoice of the parcel") < shown.index("The parcel is late")
        assert "Password" not in shown
        assert "old" not in shown
        assert "The parcel is late" not in seen["summary"].replace("It is late", "")
        assert member.route.demos[0]["queue"] == "old", "the member is as it was"

    def test_equals_come_in_the_order_of_the_examples(self, rig):
        twins = [{"ticket": "same words", "queue": str(number)} for number in range(5)]
        program = NearestDemos(Triage(), examples=twins, inputs=["ticket"], predictors=["route"], k=3)
        seen = []
        with dspy.context(lm=rig(answering(lambda name, text: seen.append(text) or "x")).lm):
            program(ticket="same words")
        shown = [queue for queue in "01234" if f"[[ ## queue ## ]]\n{queue}" in seen[-1]]
        assert shown == ["0", "1", "2"]

    @pytest.mark.parametrize(
        "ticket", ["", "qqq zzz", "The invoice " * 2000], ids=["empty", "unseen", "long"]
    )
    def test_any_input_has_neighbours(self, rig, ticket):
        with dspy.context(lm=rig().lm):
            assert nearest(k=9)(ticket=ticket).queue

    def test_threads_decide_nothing(self, rig):
        model = rig()
        program = nearest()
        asked = [f"{one['ticket']} {number}" for number in range(8) for one in EXAMPLES]

        def answer(ticket):
            with dspy.context(lm=model.lm):
                return program(ticket=ticket).queue

        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(answer, asked))
        made = model.model.attempts
        assert [answer(ticket) for ticket in asked] == together
        assert model.model.attempts == made


class TestEnsemble:
    """ensemble."""

    @staticmethod
    def voted(rig, votes, **options):
        """What members say, by their instruction."""

        def value(name, text):
            return (
                next(said for word, said in votes.items() if f"{word}." in text) if name == "queue" else "s"
            )

        model = rig(answering(value), **options)
        with dspy.context(lm=model.lm):
            return RECIPES["ensemble"]()(ticket="The invoice").queue, model.model.attempts

    def test_the_most_frequent_answer_wins_and_all_are_asked(self, rig):
        assert self.voted(rig, {"One": "access", "Two": "Billing", "Three": "billing"}) == ("Billing", 4)

    def test_of_equally_frequent_ones_the_first_members_wins(self, rig):
        assert self.voted(rig, {"One": "c", "Two": "b", "Three": "a"})[0] == "c"

    @pytest.mark.parametrize("value", [["a", "b"], 5, {"x": 1}, None, True], ids=str)
    def test_values_that_are_no_text_are_compared(self, value):
        class Says(dspy.Module):
            def __init__(self, value):
                super().__init__()
                self.value = value

            def forward(self, **inputs):
                return dspy.Prediction(other=id(self), queue=self.value)

        found = Ensemble([Says("z"), Says(value), Says(value)])(ticket="t")
        assert found.queue == value

    def test_a_member_that_cannot_be_read_has_no_vote(self, rig):
        def answer(request):
            text = request_text(request)
            if "One." in text or "Two." in text:
                return "nothing readable"
            name = "summary" if "[[ ## summary ## ]]`" in request.messages[-1].text else "queue"
            return f"[[ ## {name} ## ]]\nx\n\n[[ ## completed ## ]]"

        with dspy.context(lm=rig(ScriptedModel(answer=answer)).lm):
            assert RECIPES["ensemble"]()(ticket="t").queue == "x"

    def test_where_none_can_be_read_the_error_is_raised(self, rig):
        with (
            dspy.context(lm=rig(ScriptedModel(answer=lambda request: "nothing")).lm),
            pytest.raises(AdapterParseError),
        ):
            RECIPES["ensemble"]()(ticket="t")

    def test_a_failing_model_is_no_missing_vote(self, rig):
        def fault(number, request):
            if "Two." in request_text(request):
                raise dspy.ContextWindowExceededError(model="scripted")

        model = rig(ScriptedModel(fault=fault), on_failure="raise")
        with dspy.context(lm=model.lm), pytest.raises(dspy.ContextWindowExceededError):
            RECIPES["ensemble"]()(ticket="t")

    def test_a_member_that_an_optimizer_marked_is_whole(self, tmp_path):
        members = [told("One."), told("Two.")]
        for member in members:
            member._compiled = True
        path = tmp_path / "made.json"
        save_artifact(Ensemble(members), path, facts())
        assert [set(member) for member in json.loads(path.read_text())["members"]] == [
            {"summarize", "route"}
        ] * 2


@pytest.mark.parametrize("kind", ["best_of_n", "refine"])
def test_the_answer_of_highest_reward_is_given(rig, kind):
    lengths = {None: 2, 1001: 7, 1002: 4}

    def value(name, text):
        return "word " * lengths[current_call().rollout] if name == "queue" else "s"

    scripted = answering(value)

    def answer(request):
        if "assign blame" in request_text(request):
            return "[[ ## discussion ## ]]\nx\n\n[[ ## advice ## ]]\n{}\n\n[[ ## completed ## ]]"
        return scripted._answer(request)

    with dspy.context(lm=rig(ScriptedModel(answer=answer)).lm):
        found = Sampled(kind, Triage(), n=3, reward=WORDY)(ticket="t")
    assert len(found.queue.split()) == 7


def changed(**recipe):
    def change(state):
        state["recipe"].update(recipe)

    return change


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("ensemble", changed(kind="os:system"), "no recipe of the kind 'os:system'"),
        ("ensemble", changed(kind=["ensemble"]), "no recipe of the kind"),
        ("ensemble", lambda state: state.update(recipe="ensemble"), "no recipe of the kind None"),
        ("ensemble", lambda state: state.update(members=[]), "1 to 64 members"),
        ("ensemble", lambda state: state.update(members=state["members"] * 30), "1 to 64 members"),
        ("ensemble", lambda state: state.update(members=[5]), "a member is no state"),
        ("ensemble", lambda state: state["members"][1].pop("route"), "'route' is not in it"),
        ("ensemble", lambda state: state["members"].append({"recipe": {}, "members": []}), "is not in it"),
        ("knn_few_shot", changed(k=0), "'k' is 0"),
        ("knn_few_shot", changed(k=True), "'k' is True"),
        ("knn_few_shot", changed(k="2"), "'k' is '2'"),
        ("knn_few_shot", changed(examples=[5]), "not a list of objects"),
        ("knn_few_shot", changed(examples=None), "not a list of objects"),
        ("knn_few_shot", changed(inputs=[]), "names of 'inputs'"),
        ("knn_few_shot", changed(inputs=[5]), "names of 'inputs'"),
        ("knn_few_shot", changed(predictors=["gone"]), "'gone', which is not there"),
        ("best_of_n", changed(n=65), "'n' is 65"),
        ("best_of_n", changed(reward=None), "the name of a 'reward'"),
        ("refine", changed(n=None), "'n' is None"),
        ("refine", lambda state: state["members"].append(state["members"][0]), "one member"),
    ],
    ids=[
        "kind of a function",
        "kind of a list",
        "recipe of a text",
        "no member",
        "too many members",
        "member of a number",
        "member without a predictor",
        "member of a recipe",
        "k zero",
        "k true",
        "k text",
        "example of a number",
        "no examples",
        "no inputs",
        "input of a number",
        "predictor gone",
        "n too large",
        "no reward",
        "no n",
        "two members",
    ],
)
def test_a_file_that_describes_no_recipe_is_refused_by_name(tmp_path, kind, change, says):
    path = tmp_path / "made.json"
    save_artifact(RECIPES[kind](), path, facts())
    manifest_path(path).unlink()
    state = json.loads(path.read_text())
    change(state)
    path.write_text(json.dumps(state))
    with pytest.raises(DataError, match=says) as raised:
        load_artifact(path, program=PROGRAM)
    assert "made.json" in raised.value.message


@pytest.mark.parametrize(
    "reference",
    [
        "os:system",
        "os:abort",
        "subprocess:run",
        "shutil:rmtree",
        "builtins:exec",
        "json:JSONDecoder",
        "recipe_programs:Triage",
        "recipe_programs:not_a_function",
        "recipe_programs:one_parameter",
        "recipe_programs:other_names",
        "recipe_programs:needs_more",
        "recipe_programs:gone",
        "no_such_module_anywhere:reward",
        "no colon",
    ],
)
def test_a_reward_in_a_file_calls_nothing_that_is_none(tmp_path, reference):
    path = tmp_path / "made.json"
    save_artifact(RECIPES["best_of_n"](), path, facts())
    manifest_path(path).unlink()
    state = json.loads(path.read_text())
    state["recipe"]["reward"] = reference
    path.write_text(json.dumps(state))
    with pytest.raises(UsageError, match="--reward"):
        load_artifact(path, program=PROGRAM)


def test_a_reward_is_looked_up_in_the_workspace_and_known_by_its_source(tmp_path):
    (tmp_path / "own_rewards.py").write_text("def short(inputs, pred):\n    return 1.0\n")
    assert find_reward("own_rewards:short", search=tmp_path)({}, None) == 1.0
    assert reward_digest(WORDY) != reward_digest("recipe_programs:by_number")
    assert reward_digest(WORDY) == reward_digest(WORDY)


def test_a_reward_that_has_changed_is_said_when_the_program_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = tmp_path / "changing_rewards.py"
    module.write_text("def short(args, pred):\n    return 1.0\n")
    program = Sampled("best_of_n", Triage(), n=2, reward="changing_rewards:short", search=tmp_path)
    path = tmp_path / "made.json"
    source = code_digest(source_digest(Triage()), program, search=tmp_path)
    save_artifact(program, path, facts(source_digest=source))
    assert load_artifact(path, search=tmp_path).differences == ()
    module.write_text("def short(args, pred):\n    return 0.0  # another one\n")
    said = load_artifact(path, search=tmp_path).differences
    assert said == (f"The code of {PROGRAM}, or of its reward, has changed since it was optimized.",)


def test_the_reward_of_the_skill_program_is_the_guard_and_validity_first(good):
    assert find_reward(SKILL_REWARD) is skill_reward
    task = {"task_description": "Write asyncio code"}
    whole = skill_reward(task, dspy.Prediction(skill_content=good))
    junk = "---\nname: x\ndescription: Does x. Use when x.\n---\n\n# X\n\n## A\n\nlorem ipsum\n"
    valid = skill_reward(task, dspy.Prediction(skill_content=junk))
    broken = skill_reward(task, dspy.Prediction(skill_content=good.replace("name:", "title:")))
    assert 1.0 > whole > valid > 0.5 > broken > 0.0
    assert skill_reward({}, dspy.Prediction(other="x")) < 0.5
    assert skill_reward({}, None) < 0.5
