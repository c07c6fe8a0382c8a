"""The program that writes skills, played by a model that says what the test wants."""

import asyncio
import json

import dspy
import pytest

from skill_fleet.core.dspy.signatures import GenerateSkillContent
from skill_fleet.core.programs.skill_creator import (
    CreationStopped,
    SkillCreationProgram,
    specification_errors,
    tidy,
)
from skill_fleet.domain.skill import Skill
from skill_fleet.domain.taxonomy import parse_path

TASK = "Teach an agent to write async code in Python"
INPUTS = {
    "task_description": TASK,
    "user_context": {"user_id": "user_1"},
    "taxonomy_structure": {"technical_skills": {"programming": {"python": {}}}},
    "existing_skills": ["technical_skills/programming/python"],
}


def create(part, program=None, **inputs):
    with dspy.context(lm=part.lm()):
        return (program or SkillCreationProgram())(**{**INPUTS, **inputs})


def test_the_document_is_named_as_the_seed_says():
    assert set(GenerateSkillContent.input_fields) == {
        "skill_metadata",
        "content_plan",
        "generation_instructions",
    }
    assert set(GenerateSkillContent.output_fields) == {"skill_content"}


def test_the_predictors_have_stable_names():
    names = [name for name, _ in SkillCreationProgram().named_predictors()]
    assert names == ["understand", "plan.predict", "write", "review", "repair"]


def test_a_good_run_takes_four_calls_and_gives_every_field(play, good):
    part = play()
    result = create(part)
    assert part.steps() == ["understand", "plan", "write", "review"]
    assert result.toDict() == {
        "taxonomy_path": "technical_skills/programming/python/async",
        "name": "python-async-await",
        "description": "Writes asyncio code. Use when someone asks for async functions in Python.",
        "sections": ["Overview", "Syntax", "Examples"],
        "skill_content": good,
        "issues": [],
    }
    assert specification_errors(result.skill_content) == []


def test_each_step_gets_what_the_one_before_found(play, good):
    part = play(understand={"skill_name": "Python Async/Await!"})
    create(part)
    assert '"user_id": "user_1"' in part.asked_of("understand")
    assert "python-async-await" in part.asked_of("plan")
    written = part.asked_of("write")
    metadata = json.loads(written.partition("[[ ## skill_metadata ## ]]\n")[2].partition("\n")[0])
    assert metadata == {
        "name": "python-async-await",
        "description": "Writes asyncio code. Use when someone asks for async functions in Python.",
        "taxonomy_path": "technical_skills/programming/python/async",
    }
    assert "Overview\nSyntax\nExamples" in written
    assert f"Task: {TASK}\nSpeak about: asyncio, await" in written
    assert good.strip() in part.asked_of("review")


def test_inputs_may_be_json_text_or_values_and_have_defaults(play):
    as_values, as_text, bare = play(), play(), play()
    create(as_values)
    create(as_text, **{name: v if isinstance(v, str) else json.dumps(v) for name, v in INPUTS.items()})
    assert as_values.asked == as_text.asked
    with dspy.context(lm=bare.lm()):
        SkillCreationProgram()(task_description=TASK)
    assert "[[ ## existing_skills ## ]]\n[]" in bare.asked_of("understand")


def test_awaited_it_does_the_same(play):
    waited, called = play(review={"issues": ["Say more."]}), play(review={"issues": ["Say more."]})

    async def awaited():
        with dspy.context(lm=waited.lm()):
            return await SkillCreationProgram().acall(**INPUTS)

    assert asyncio.run(awaited()).toDict() == create(called).toDict()
    assert waited.asked == called.asked
    assert len(waited.asked) == 5


def test_the_review_calls_for_one_repair(play, good):
    mended = good.replace("Use asyncio", "Use asyncio, not threads,")
    part = play(review={"issues": ["Say why not threads."]}, repair={"repaired_content": mended})
    result = create(part)
    assert part.steps() == ["understand", "plan", "write", "review", "repair"]
    assert "Say why not threads." in part.asked_of("repair")
    assert result.skill_content == mended
    assert result.issues == ["Say why not threads."]


def test_the_specification_calls_for_a_repair_though_the_review_is_content(play, good):
    draft = good.replace("---\n\n# Python", "colour: red\n---\n\n# Python", 1)
    part = play(write={"skill_content": draft})
    result = create(part)
    assert "The field 'colour'" in part.asked_of("repair")
    assert result.skill_content == good
    assert result.issues == []


@pytest.mark.parametrize(
    "repaired",
    [
        "",
        "   \n",
        "---\nname: a\ndescription: b\n---\n",
        "---\nname: x\ncolour: red\nshape: round\n---\n\n# T\n",
    ],
    ids=["nothing", "blank", "no body", "less valid"],
)
def test_a_repair_that_makes_it_worse_is_not_taken(play, good, repaired):
    part = play(review={"issues": ["Say more."]}, repair={"repaired_content": repaired})
    assert create(part).skill_content == good


def test_a_person_sees_every_step_and_may_amend_it(play):
    seen = []

    def on_step(step, outputs):
        seen.append((step, sorted(outputs)))
        return {"sections": ["Overview", "Limits"]} if step == "plan" else None

    part = play(review={"issues": ["Say more."]})
    result = create(part, SkillCreationProgram(on_step))
    assert seen == [
        ("understand", ["key_terms", "skill_name", "taxonomy_path"]),
        ("plan", ["description", "reasoning", "sections"]),
        ("write", ["skill_content"]),
        ("review", ["issues"]),
        ("repair", ["repaired_content"]),
    ]
    assert result.sections == ["Overview", "Limits"]
    assert "Overview\nLimits" in part.asked_of("write")


def test_what_a_person_does_to_the_outputs_in_place_changes_nothing(play):
    def meddle(step, outputs):
        outputs.clear()

    assert create(play(), SkillCreationProgram(meddle)).toDict() == create(play()).toDict()


def test_a_person_may_stop_it_and_no_further_call_is_made(play):
    def stop(step, outputs):
        if step == "plan":
            raise CreationStopped("Not this one.")

    part = play()
    with pytest.raises(CreationStopped, match="Not this one"):
        create(part, SkillCreationProgram(stop))
    assert part.steps() == ["understand", "plan"]
    awaited = play()

    async def run():
        with dspy.context(lm=awaited.lm()):
            await SkillCreationProgram(stop).acall(**INPUTS)

    with pytest.raises(CreationStopped):
        asyncio.run(run())
    assert awaited.steps() == ["understand", "plan"]


def test_the_person_is_no_part_of_the_saved_state(tmp_path):
    SkillCreationProgram(lambda step, outputs: None).save(str(tmp_path / "with.json"))
    SkillCreationProgram().save(str(tmp_path / "without.json"))
    assert (tmp_path / "with.json").read_bytes() == (tmp_path / "without.json").read_bytes()


HEAD = "---\nname: x\ndescription: d\n---\n"
DRAFTS = {
    "no frontmatter": "# Title\n\n## Overview\n\nText.",
    "an outer fence": "```markdown\n---\nname: python-async-await\ndescription: d\n---\n# T\n```",
    "a fence with fences": "```markdown\n---\nname: x\ndescription: d\n---\n# T\n\n```python\npass\n```\n```",
    "words before": "Here is your skill:\n\n---\nname: x\ndescription: d\n---\n# T\n\nText.",
    "words around a fence": f"Sure!\n\n```markdown\n{HEAD}# T\n\n```sh\nls\n```\n```\nBye.",
    "words before a fence left open": f"Sure!\n\n```markdown\n{HEAD}\n```sh\nls\n```\nText.",
    "another name": "---\nname: Some Other_Name\ndescription: d\n---\n# T\n",
    "a long name": f"---\nname: {'a' * 500}\ndescription: d\n---\n# T\n",
    "no description": "---\nname: python-async-await\n---\n# T\n",
    "an empty description": "---\nname: x\ndescription:\n---\n# T\n",
    "a frontmatter without end": "---\nname: x\ndescription: d\n\n# T\n",
    "a frontmatter in braces": "---\n{name: x, description: d}\n---\n# T\n",
    "a list as frontmatter": "---\n- name\n---\n# T\n",
    "a tab in the frontmatter": "---\nname: x\n\tdescription: d\n---\n# T\n",
    "aliases": "---\nname: &a x\ndescription: *a\n---\n# T\n",
    "a name that is a map": "---\nname:\n  a: b\ndescription: d\n---\n# T\n",
    "nul and control characters": "\x00\x01\x02\x7f binary \x00 junk",
    "nul in the frontmatter": '---\nname: x\ndescription: "a\x00b"\n---\n# T\x00\n',
    "half a surrogate pair": "---\nname: x\ndescription: d\n---\n# T \ud800\n",
    "nothing": "",
    "blanks": " \n\n ",
    "carriage returns": "---\r\nname: x\r\ndescription: d\r\n---\r\n# T\r\n",
    "a byte order mark": "\ufeff---\nname: x\ndescription: d\n---\n# T\n",
    "a rule first": "---\n\n# Title\n\n---\n\nText.",
    "a million letters": "x" * 1_000_000,
}
INVALID = {
    "two names": ("---\nname: a\nname: b\ndescription: c\n---\n# T\n", "'name' is there twice"),
    "a long description": (f"---\nname: x\ndescription: {'d' * 3000}\n---\n# T\n", "at most 1,024"),
    "an unknown field": ("---\nname: x\ndescription: d\nfoo: bar\n---\n# T\n", "field 'foo'"),
}


@pytest.mark.parametrize("draft", DRAFTS.values(), ids=DRAFTS)
def test_whatever_is_written_the_skill_is_valid_and_bears_the_planned_name(draft):
    content = tidy(draft, "python-async-await", "Writes asyncio code.")
    assert specification_errors(content) == []
    assert Skill.parse(content).name == "python-async-await"
    assert (Skill.parse(content).description or "").strip()
    assert tidy(content, "python-async-await", "Writes asyncio code.") == content
    content.encode()


@pytest.mark.parametrize(("draft", "why"), INVALID.values(), ids=INVALID)
def test_what_needs_a_model_to_mend_is_said_to_it(play, draft, why):
    part = play(write={"skill_content": draft}, repair={"repaired_content": draft})
    result = create(part)
    assert why in part.asked_of("repair")
    assert any(why in error for error in specification_errors(result.skill_content))


@pytest.mark.parametrize(
    ("draft", "kept", "gone"),
    [
        ("words around a fence", "```sh\nls\n```", ("Sure!", "Bye.", "```markdown")),
        ("words before a fence left open", "```sh\nls\n```\nText.", ("Sure!", "```markdown")),
        ("words before", "# T\n\nText.", ("Here is",)),
        ("a fence with fences", "```python\npass\n```", ("```markdown",)),
        ("a frontmatter in braces", "# T", ("{",)),
        ("nul and control characters", "binary  junk", ("\x00",)),
    ],
)
def test_tidying_keeps_the_text_and_drops_the_wrapping(draft, kept, gone):
    content = tidy(DRAFTS[draft], "the-name", "Does it.")
    assert kept in content
    assert not any(words in content for words in gone)


@pytest.mark.parametrize(
    "draft",
    [
        "# Guide\n\nA skill starts so:\n\n---\nname: x\ndescription: d\n---\n\nText.",
        "# Guide\n\n```yaml\n---\nname: x\ndescription: d\n---\n```\n\nText.",
        "one\ntwo\nthree\nfour\nfive\nsix\n\n---\nname: x\n---\n",
    ],
    ids=["below a title", "in an example", "after much text"],
)
def test_a_frontmatter_that_is_an_example_is_left_where_it_is(draft):
    assert draft.strip() in tidy(draft, "the-name", "Does it.")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("/root/.ssh/id_rsa", "root/ssh/id_rsa"),
        ("..\\..\\windows", "windows"),
        ("a//b/./c", "a/b/c"),
        ("Technical Skills/C++ & Rust", "technical_skills/c_rust"),
        ("x\x00y/z\n", "xy/z"),
        ("/".join("abcdefghijklmnopqrstuvwxyz"), "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p"),
        (f"{'a' * 500}/b", f"{'a' * 64}/b"),
        (f"{'a' * 63} b/c", f"{'a' * 63}/c"),
        ("..", ""),
        ("", ""),
    ],
    ids=[
        "climbs",
        "absolute",
        "backslashes",
        "dots",
        "capitals",
        "nul",
        "deep",
        "long part",
        "cut at the joint",
        "only dots",
        "empty",
    ],
)
def test_a_taxonomy_path_never_leaves_the_library(play, path, expected):
    result = create(play(understand={"taxonomy_path": path}))
    assert result.taxonomy_path == expected
    if expected:
        parse_path(expected)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("", "async"),
        ("¿¡…!?", "async"),
        ("日本語", "async"),
        ("A" * 5000, "a" * 64),
        ("Création d'été", "creation-d-ete"),
        ("Python Async/Await", "python-async-await"),
    ],
)
def test_a_name_is_always_valid(play, given, name):
    result = create(play(understand={"skill_name": given}))
    assert result.name == name
    assert Skill.parse(result.skill_content).name == result.name


def test_empty_lists_are_no_reason_to_fail(play):
    part = play(understand={"key_terms": []}, plan={"sections": []})
    result = create(part)
    assert result.sections == []
    assert specification_errors(result.skill_content) == []


@pytest.mark.parametrize("task", [TASK, "word " * 2000, "a\x00b \ud800"], ids=["usual", "long", "odd"])
def test_an_empty_plan_falls_back_on_the_task(play, task):
    part = play(plan={"description": "  \n "}, write={"skill_content": "# T\n\nText."})
    program = SkillCreationProgram()
    flow = program._flow(task, "{}", "{}", "[]")
    next(flow)
    flow.send({"taxonomy_path": "a/b", "skill_name": "c", "key_terms": []})
    _, inputs = flow.send({"description": "  \n ", "sections": []})
    description = json.loads(inputs["skill_metadata"])["description"]
    assert 0 < len(description) <= 1024
    assert description == description.strip()
    assert specification_errors(tidy("# T", "c", description)) == []
    assert part.asked == []


def test_titles_lose_their_marks_and_blank_ones_go(play):
    result = create(play(plan={"sections": ["## Overview", " Syntax ", "", "#"]}))
    assert result.sections == ["Overview", "Syntax"]
