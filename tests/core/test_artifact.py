"""Programs on disk: whole or not there, with their origin, and nothing in them that runs."""

import hashlib
import json
from dataclasses import asdict

import dspy
import pytest

from skill_fleet.core.programs.artifact import (
    load_artifact,
    manifest_path,
    save_artifact,
    versions,
)
from skill_fleet.core.programs.catalog import BUILT_IN, clean_state, program_hash, source_digest
from skill_fleet.core.programs.skill_creator import SkillCreationProgram
from skill_fleet.foundation import files
from skill_fleet.foundation.errors import DataError, IntegrityError, NotFound, StorageError, UsageError


def facts(program, **more):
    return {
        "program": BUILT_IN,
        "source_digest": source_digest(type(program)()),
        "simulated": True,
        "created_at": "2026-01-15T00:00:00.000+00:00",
        **more,
    }


def optimized():
    """A program as an optimizer leaves it: another instruction, demonstrations of both kinds."""
    program = SkillCreationProgram()
    program.plan.predict.signature = program.plan.predict.signature.with_instructions(
        "Plan it well. Öl, 日本"
    )
    program.understand.demos = [
        dspy.Example(
            task_description="t", taxonomy_path="a/b", skill_name="n", key_terms=["x"], augmented=True
        ),
        {"task_description": "u", "taxonomy_path": "c/d"},
    ]
    return program


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "config" / "optimized" / "skill_creator.json"
    program = optimized()
    manifest = save_artifact(program, path, facts(program, run_id="r1", scores={"test": 0.5}))
    return path, program, manifest


def rewrite(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_is_saved_is_what_is_loaded(saved):
    path, program, manifest = saved
    loaded = load_artifact(path)
    assert clean_state(loaded.program) == clean_state(program)
    assert loaded.entry.name == BUILT_IN
    assert asdict(loaded.manifest) == asdict(manifest)
    assert loaded.differences == ()
    assert manifest.program_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest.program_hash == program_hash(loaded.program)
    assert manifest.versions == versions()
    assert sorted(manifest.versions) == ["dspy", "gepa", "optuna", "python", "skill-fleet"]


def test_saving_again_gives_the_same_bytes(saved, tmp_path):
    path, _, _ = saved
    loaded = load_artifact(path).program
    save_artifact(loaded, tmp_path / "again.json", facts(loaded))
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_both_files_are_json_and_name_no_model(tmp_path):
    program = optimized()
    lm = dspy.LM("openai/gpt-4o-mini", api_key="sk-secret-1234567890", cache=False)
    program.set_lm(lm)
    save_artifact(program, tmp_path / "p.json", facts(program))
    texts = [file.read_text() for file in sorted(tmp_path.iterdir())]
    assert [json.loads(text) for text in texts]
    assert not any("secret" in text or "gpt-4o" in text for text in texts)
    assert program.write.lm is lm


def test_our_file_loads_with_plain_dspy(saved):
    path, program, _ = saved
    plain = SkillCreationProgram()
    plain.load(str(path))
    assert clean_state(plain) == clean_state(program)


def test_a_file_of_plain_dspy_loads_and_its_model_stays_outside(tmp_path):
    program = optimized()
    program.set_lm(dspy.LM("openai/gpt-4o-mini", cache=False))
    path = tmp_path / "plain.json"
    program.save(str(path))
    assert "gpt-4o-mini" in path.read_text()
    loaded = load_artifact(path)
    assert clean_state(loaded.program) == clean_state(program)
    assert {predictor.lm for predictor in loaded.program.predictors()} == {None}
    assert loaded.manifest is None
    assert loaded.differences == (
        "It has no manifest, so where it came from and how good it is are unknown.",
    )


def test_a_tampered_program_is_refused(saved):
    path, _, _ = saved
    path.write_text(path.read_text().replace("Plan it well.", "Plan it evil."))
    with pytest.raises(IntegrityError, match="not the program its manifest describes"):
        load_artifact(path)
    manifest_path(path).unlink()
    assert "Plan it evil." in load_artifact(path).program.plan.predict.signature.instructions


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda p: p.unlink(), "does not exist"),
        (lambda p: p.write_text("{"), "line 1"),
        (lambda p: p.write_text(""), "not valid JSON"),
        (lambda p: p.write_bytes(b"\x80\x04pickle"), "not UTF-8"),
        (lambda p: p.write_text("[]"), "not the saved state"),
        (lambda p: p.write_text("{}"), "'plan.predict' is not in it"),
        (lambda p: p.write_text("[" * 100_000), "too deeply"),
        (lambda p: rewrite(p, write=None), "'write' does not have 4 fields"),
        (lambda p: rewrite(p, write=[]), "'write' does not have 4 fields"),
        (lambda p: rewrite(p, write={"signature": {"fields": []}}), "'write' does not have 4 fields"),
        (lambda p: rewrite(p, write={"signature": {"fields": [1, 2, 3, 4]}}), "not a saved state"),
        (lambda p: rewrite(p, write={**json.loads(p.read_text())["review"]}), None),
    ],
    ids=[
        "gone",
        "half",
        "empty",
        "pickle",
        "list",
        "no predictors",
        "deep",
        "null",
        "a list",
        "no fields",
        "odd fields",
        "same shape",
    ],
)
def test_a_file_that_is_no_program_is_an_error_with_its_name(saved, break_it, says):
    path, _, _ = saved
    manifest_path(path).unlink()
    break_it(path)
    if says is None:  # by its shape alone a state of another predictor cannot be told
        load_artifact(path)
        return
    with pytest.raises((NotFound, DataError), match=says) as raised:
        load_artifact(path)
    assert path.name in raised.value.message


def test_an_old_chain_of_thought_is_refused_with_a_sentence(saved):
    path, _, _ = saved
    manifest_path(path).unlink()
    state = json.loads(path.read_text())
    state["plan.predict"]["extended_signature"] = state["plan.predict"]["signature"]
    path.write_text(json.dumps(state))
    with pytest.raises(DataError, match="not a saved state of SkillCreationProgram"):
        load_artifact(path)


def test_a_state_of_another_program_is_refused(tmp_path):
    path = tmp_path / "other.json"
    dspy.ChainOfThought("question -> answer").save(str(path))
    with pytest.raises(DataError, match="is not in it"):
        load_artifact(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"format": None},
        {"surprise": 1},
        {"versions": None},
        {"versions": ["dspy"]},
        {"program": 5},
        {"program_sha256": None},
        {"source_digest": {}},
    ],
    ids=str,
)
def test_a_manifest_that_is_none_is_refused(saved, changes):
    path, _, _ = saved
    rewrite(manifest_path(path), **changes)
    with pytest.raises(DataError, match="manifest"):
        load_artifact(path)


def test_a_manifest_with_a_field_missing_is_refused(saved):
    path, _, _ = saved
    value = json.loads(manifest_path(path).read_text())
    del value["source_digest"]
    manifest_path(path).write_text(json.dumps(value))
    with pytest.raises(DataError, match="not a complete manifest"):
        load_artifact(path)


@pytest.mark.parametrize("name", ["os:abort", "sys:exit", "builtins:print", "json:JSONDecoder"])
def test_a_manifest_makes_nothing_run(saved, name):
    path, _, _ = saved
    rewrite(manifest_path(path), program=name)
    with pytest.raises(UsageError, match=r"is not a dspy\.Module"):
        load_artifact(path)


def test_other_versions_and_other_code_are_said(saved):
    path, _, manifest = saved
    now = versions()
    rewrite(
        manifest_path(path),
        versions={**manifest.versions, "dspy": "3.0.0", "gone": "1"},
        source_digest="0" * 64,
    )
    assert load_artifact(path).differences == (
        f"It was made with other versions: dspy 3.0.0 -> {now['dspy']}, gone 1 -> None.",
        "The code of SkillCreationProgram has changed since it was optimized.",
    )


def test_a_save_cut_off_between_the_files_is_noticed(saved, monkeypatch):
    path, program, _ = saved

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("skill_fleet.core.programs.artifact.write_json", killed)
    program.write.signature = program.write.signature.with_instructions("Newer.")
    with pytest.raises(KeyboardInterrupt):
        save_artifact(program, path, facts(program))
    with pytest.raises(IntegrityError, match="saving was cut off"):
        load_artifact(path)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_save_cut_off_within_a_file_leaves_the_old_pair(saved, monkeypatch, step):
    path, program, manifest = saved

    def killed(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(*{"fsync": (files.os, "fsync"), "replace": (files.Path, "replace")}[step], killed)
    other = SkillCreationProgram()
    with pytest.raises(KeyboardInterrupt):
        save_artifact(other, path, facts(other))
    monkeypatch.undo()
    loaded = load_artifact(path)
    assert clean_state(loaded.program) == clean_state(program)
    assert loaded.manifest == manifest
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "skill_creator.json",
        "skill_creator.manifest.json",
    ]


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        save_artifact(SkillCreationProgram(), tmp_path / "file" / "p.json", facts(SkillCreationProgram()))


def test_the_manifest_lies_beside_its_program(tmp_path):
    assert manifest_path(tmp_path / "a.b.json") == tmp_path / "a.b.manifest.json"
