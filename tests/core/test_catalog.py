"""Programs by name, and what makes two of them the same."""

import importlib
import os
import sys
import textwrap

import dspy
import pytest

from skill_fleet.core.programs.catalog import (
    BUILT_IN,
    check_fields,
    find_program,
    input_fields,
    program_hash,
    source_digest,
)
from skill_fleet.core.programs.skill_creator import SkillCreationProgram
from skill_fleet.domain.trainset import SKILL_INPUTS
from skill_fleet.foundation.errors import DataError, UnknownName, UsageError

MODULE = '''
import dspy


class Good(dspy.Module):
    """A program."""

    def __init__(self):
        super().__init__()
        self.answer = dspy.Predict("question -> answer")

    def forward(self, question, hint=None):
        return self.answer(question=question)


class Needs(Good):
    def __init__(self, size):
        super().__init__()


class Breaks(Good):
    def __init__(self):
        raise RuntimeError("no licence")


class Empty(dspy.Module):
    def forward(self, question):
        return dspy.Prediction(answer=question)


class Plain:
    pass


class Holder:
    Inner = Good


def factory():
    raise SystemExit("a function of the module was called")


ready = Good()
NUMBER = 5
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Makes a module of a name of its own in a directory, and forgets it afterwards."""
    made = []
    monkeypatch.setattr(sys, "path", list(sys.path))

    def make(source, name=None):
        name = name or f"own_program_{tmp_path.name}_{len(made)}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        made.append(name)
        return name

    yield make
    for name in made:
        sys.modules.pop(name, None)


def test_the_built_in_program():
    entry = find_program(BUILT_IN)
    assert isinstance(entry.build(), SkillCreationProgram)
    assert entry.build() is not entry.build()
    assert entry.inputs == SKILL_INPUTS
    assert entry.makes_skills


def test_a_misspelt_program_is_told_the_nearest():
    with pytest.raises(UnknownName, match="SkillCreatonProgram") as raised:
        find_program("SkillCreatonProgram")
    assert BUILT_IN in raised.value.hint


@pytest.mark.parametrize("name", ["Good", "ready", "Holder.Inner"])
def test_a_program_of_ones_own(module, tmp_path, name):
    reference = f"{module(MODULE)}:{name}"
    entry = find_program(reference, search=tmp_path)
    assert type(entry.build()).__name__ == "Good"
    assert entry.build() is not entry.build()
    assert entry.inputs == ("question", "hint")
    assert (entry.name, entry.makes_skills) == (reference, False)


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("no_such_module_anywhere:Good", "cannot be imported: No module named"),
        ("{}:NoSuchClass", "has no 'NoSuchClass'"),
        ("{}:Holder.Outer", "has no 'Holder.Outer'"),
        ("{}:Needs", "cannot be built without arguments: TypeError: .*size"),
        ("{}:Breaks", "cannot be built without arguments: RuntimeError: no licence"),
        ("{}:Empty", "has no predictor"),
        ("{}:Plain", r"is not a dspy\.Module"),
        ("{}:factory", r"is not a dspy\.Module"),
        ("{}:NUMBER", r"is not a dspy\.Module"),
        ("{}:", "not of the form module:Name"),
        (":Good", "not of the form module:Name"),
        (":", "not of the form module:Name"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(module, tmp_path, reference, says):
    with pytest.raises(UsageError, match=says) as raised:
        find_program(reference.format(module(MODULE)), search=tmp_path)
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def broken(:\n", "fails on import: SyntaxError"),
        ("1 / 0\n", "fails on import: ZeroDivisionError"),
        ("import sys\nsys.exit(3)\n", "fails on import: SystemExit"),
        ("import no_such_thing_at_all\n", "No module named 'no_such_thing_at_all'"),
    ],
    ids=["syntax", "division", "exit", "import"],
)
def test_a_module_that_breaks_on_import_is_named(module, tmp_path, source, says):
    name = module(source)
    with pytest.raises(UsageError, match=says) as raised:
        find_program(f"{name}:Good", search=tmp_path)
    assert name in raised.value.message


def test_the_digest_of_the_code_changes_with_the_code_and_only_then(module, tmp_path):
    name = module(MODULE)

    def digest_of():
        return source_digest(find_program(f"{name}:Good", search=tmp_path).build())

    first = digest_of()
    assert digest_of() == first
    file = tmp_path / f"{name}.py"
    for number, (old, new) in enumerate(
        (
            (MODULE, MODULE + "\n# said below the class\n"),
            ("answer(question=question)", "answer(question='x')"),
        )
    ):
        file.write_text(file.read_text().replace(old, new))
        os.utime(file, (2_000_000_000 + number, 2_000_000_000 + number))
        importlib.invalidate_caches()
        importlib.reload(sys.modules[name])
        assert (digest_of() == first) is (number == 0)


def test_the_digest_covers_the_parts_and_the_start(module, tmp_path):
    name = module(
        MODULE + "\n\nclass Outer(Good):\n    def __init__(self):\n        super().__init__()\n"
        "        self.inner = Good()\n"
    )
    outer = find_program(f"{name}:Outer", search=tmp_path).build()
    before = source_digest(outer)
    outer.inner.answer.signature = outer.inner.answer.signature.with_instructions("Other.")
    assert source_digest(outer) != before
    file = tmp_path / f"{name}.py"
    file.write_text(file.read_text().replace('"""A program."""', '"""Another."""'))
    os.utime(file, (2_000_000_000, 2_000_000_000))
    importlib.reload(sys.modules[name])
    assert source_digest(find_program(f"{name}:Outer", search=tmp_path).build()) != before


def test_the_hash_of_a_program_is_of_what_optimizers_change():
    program = SkillCreationProgram()
    same = SkillCreationProgram(lambda step, outputs: None)
    same.set_lm(dspy.LM("openai/gpt-4o-mini", cache=False))
    assert program_hash(program) == program_hash(same)
    same.write.demos = [dspy.Example(skill_content="x")]
    assert program_hash(program) != program_hash(same)


@pytest.mark.parametrize(
    ("program", "inputs"),
    [
        (dspy.Predict("question, hint -> answer"), ("question", "hint")),
        (dspy.ChainOfThought("question -> answer"), ("question",)),
        (SkillCreationProgram(), SKILL_INPUTS),
    ],
    ids=["predict", "chain of thought", "program"],
)
def test_the_inputs_of_a_program(program, inputs):
    assert input_fields(program) == inputs


def test_the_fields_of_the_data_must_feed_the_program(module, tmp_path):
    entry = find_program(f"{module(MODULE)}:Good", search=tmp_path)
    assert check_fields(entry, ["question", "answer"], "data.json") == ("question",)
    assert check_fields(entry, ["hint", "question"], "data.json") == ("question", "hint")
    with pytest.raises(DataError, match=r"data\.json has no field 'question'.*prompt, answer"):
        check_fields(entry, ["prompt", "answer"], "data.json")
    with pytest.raises(DataError, match="no field 'question'"):
        check_fields(entry, ["hint"], "data.json")
