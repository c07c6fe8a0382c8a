"""What a published program replaced: kept before anything is written, once, and put back as it was."""

import json
from collections.abc import Callable
from pathlib import Path

import dspy
import pytest

from skill_fleet.core.programs import artifact, history
from skill_fleet.core.programs.artifact import load_artifact, manifest_path, save_artifact
from skill_fleet.core.programs.catalog import BUILT_IN, source_digest
from skill_fleet.core.programs.history import (
    exclusive,
    find_version,
    holds,
    keep_version,
    list_versions,
    put_in_place,
)
from skill_fleet.core.programs.skill_creator import SkillCreationProgram
from skill_fleet.foundation import files
from skill_fleet.foundation.errors import IntegrityError, NotFound, StorageError

AT = "2026-01-15T00:00:00.000+00:00"


class Killed(BaseException):
    """The process is gone."""


def saying(text: str) -> dspy.Module:
    program = SkillCreationProgram()
    program.plan.predict.signature = program.plan.predict.signature.with_instructions(text)
    return program


def save(text: str, path: Path, run_id: str = "run") -> None:
    facts = {"program": BUILT_IN, "source_digest": source_digest(SkillCreationProgram()), "simulated": True}
    save_artifact(saying(text), path, {**facts, "created_at": AT, "run_id": run_id})


def replace(text: str, path: Path, run_id: str = "run") -> str | None:
    kept = keep_version(path, at=AT, how="optimize")
    save(text, path, run_id)
    return kept


def pair(path: Path) -> tuple[bytes, bytes]:
    return path.read_bytes(), manifest_path(path).read_bytes()


def everything(folder: Path) -> set[bytes]:
    return {file.read_bytes() for file in folder.rglob("*.json")}


@pytest.fixture
def place(tmp_path):
    return tmp_path / "config" / "optimized" / "skill_creator.json"


def dying(monkeypatch, step: int, work: Callable[[], object]) -> bool:
    """Work whose process is killed before its n-th write; whether it was."""
    left = [step]

    def write(path, data):
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        real(path, data)

    real = files.write_bytes
    with monkeypatch.context() as patch:
        for module in (history, artifact, files):
            patch.setattr(module, "write_bytes", write)
        try:
            work()
        except Killed:
            return True
    return False


def test_nothing_is_kept_of_nothing(place):
    assert keep_version(place, at=AT, how="optimize") is None
    assert list_versions(place) == []
    assert not place.parent.exists()


def test_what_is_replaced_is_kept_with_its_manifest_and_the_last_replaced_comes_first(place):
    save("one", place)
    one = pair(place)
    first = replace("two", place)
    two = pair(place)
    second = replace("three", place)
    found = list_versions(place)
    assert [version.current for version in found] == [True, False, False]
    assert [version.id for version in found[1:]] == [second, first]
    assert [pair(version.path) for version in found[1:]] == [two, one]
    assert first == load_artifact(found[2].path).manifest.program_hash[:12]
    assert found[2].path == place.parent / "versions" / "skill_creator" / f"{first}.json"
    assert all(version.problem is None for version in found)


def test_the_same_is_kept_once_and_the_same_program_of_another_run_beside_it(place):
    save("one", place)
    first = replace("two", place)
    save("one", place)
    assert replace("two", place) == first
    save("one", place, run_id="another")
    again = replace("two", place)
    assert again == f"{first}-2"
    assert [v.manifest.run_id for v in list_versions(place)] == ["run", "another", "run"]
    assert find_version(place, first).id == first


@pytest.mark.parametrize("step", range(6))
def test_a_kill_at_any_step_of_replacing_loses_nothing(place, monkeypatch, step):
    save("one", place)
    before = pair(place)
    died = dying(monkeypatch, step, lambda: replace("two", place))
    assert died == (step < 5)  # manifest, program and line kept, then program and manifest
    assert set(before) <= everything(place.parent)
    replace("two", place)
    kept = [version for version in list_versions(place) if not version.current and version.problem is None]
    assert before in [pair(version.path) for version in kept]
    assert load_artifact(place).program.plan.predict.signature.instructions == "two"


@pytest.mark.parametrize("step", range(5))
def test_a_kill_at_any_step_of_putting_back_loses_nothing_and_the_same_again_mends_it(
    place, monkeypatch, step
):
    save("one", place)
    first = replace("two", place)
    one, two = pair(find_version(place, first).path), pair(place)

    def back():
        put_in_place(find_version(place, first).path, place, at=AT, how="rollback")

    assert dying(monkeypatch, step, back)
    assert {*one, *two} <= everything(place.parent)
    back()
    assert pair(place) == one
    assert two in [pair(version.path) for version in list_versions(place)]
    assert [version.problem for version in list_versions(place)] == [None, None]


def test_there_and_back_is_byte_for_byte(place):
    save("one", place)
    one = pair(place)
    replace("two", place)
    two = pair(place)
    for expected in (one, two, one, two):
        put_in_place(find_version(place, None).path, place, at=AT, how="rollback")
        assert pair(place) == expected
    assert len(list_versions(place)) == 2
    assert put_in_place(place, place, at=AT, how="rollback") is None


def test_a_program_without_a_manifest_is_kept_and_comes_back_without_one(place):
    save("one", place)
    manifest_path(place).unlink()
    bare = place.read_bytes()
    kept = replace("two", place)
    put_in_place(find_version(place, kept).path, place, at=AT, how="rollback")
    assert place.read_bytes() == bare
    assert not manifest_path(place).exists()


def test_an_edited_program_is_kept_as_it_is_and_named_damaged(place):
    save("one", place)
    place.write_bytes(place.read_bytes() + b" ")
    edited = pair(place)
    kept = replace("two", place)
    version = find_version(place, kept)
    assert pair(version.path) == edited
    assert "not the program its manifest describes" in (version.problem or "")


def test_a_version_that_was_touched_says_so(place):
    save("one", place)
    first = replace("two", place)
    file = find_version(place, first).path
    text = file.read_text()
    file.write_text(text.replace("one", "evil"))
    assert find_version(place, first).problem
    file.write_text(text)
    assert find_version(place, first).problem is None
    manifest_path(file).unlink()
    assert "kept under this name" in (find_version(place, first).problem or "")
    for source in (place, manifest_path(place)):
        target = file if source == place else manifest_path(file)
        target.write_bytes(source.read_bytes())
    # A whole pair, but not the one of that name; what is published has it too.
    replace("three", place)
    assert "kept under this name" in (find_version(place, first).problem or "")


def test_a_version_is_found_by_its_beginning_and_only_where_that_is_clear(place):
    save("one", place)
    with pytest.raises(NotFound, match="no earlier version"):
        find_version(place, None)
    first = replace("two", place)
    assert find_version(place, first[:6]).id == first
    for wanted in ("", "zzz", "../../skill_creator"):
        with pytest.raises(NotFound):
            find_version(place, wanted)


def test_a_history_line_that_a_kill_cut_off_costs_nothing(place):
    save("one", place)
    first = replace("two", place)
    file = place.parent / "versions" / "skill_creator" / "history.jsonl"
    file.write_bytes(file.read_bytes() + b'{"at": "20')
    second = replace("three", place)
    assert [version.id for version in list_versions(place)[1:]] == [second, first]
    lines = file.read_text().splitlines()
    assert json.loads(lines[-1]) == {"at": AT, "replaced": second, "by": "optimize"}


def test_what_cannot_be_kept_is_not_replaced(place):
    save("one", place)
    (place.parent / "versions").write_text("in the way")
    with pytest.raises(StorageError):
        replace("two", place)
    assert load_artifact(place).program.plan.predict.signature.instructions == "one"


def test_one_process_at_a_time_publishes(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "_LOCK_SECONDS", 0)
    with exclusive(tmp_path), pytest.raises(StorageError, match="Another process"), exclusive(tmp_path):
        pass


def test_a_damaged_version_is_refused_when_it_is_loaded(place):
    save("one", place)
    first = replace("two", place)
    file = find_version(place, first).path
    file.write_text(file.read_text().replace("one", "evil"))
    with pytest.raises(IntegrityError):
        load_artifact(file)


def test_a_version_bears_one_name_while_it_is_published_and_when_it_was(place):
    save("one", place)
    first = list_versions(place)[0].id
    replace("two", place)
    save("one", place, run_id="another")  # the same program again, of another origin
    second = list_versions(place)[0].id
    assert second == f"{first}-2"
    assert [version.id for version in list_versions(place)] == [second, first]
    put_in_place(find_version(place, first).path, place, at=AT, how="rollback")
    assert [version.id for version in list_versions(place)] == [first, second]
    assert find_version(place, first).current
    put_in_place(find_version(place, second).path, place, at=AT, how="rollback")
    assert [version.id for version in list_versions(place)] == [second, first]


def test_what_a_place_holds_is_known_only_where_it_is_whole(place):
    assert holds(place, "0" * 64) is None
    save("one", place)
    program = load_artifact(place).manifest.program_hash
    assert holds(place, program).run_id == "run"
    assert holds(place, "0" * 64) is None
    place.write_bytes(place.read_bytes() + b" ")
    assert holds(place, program) is None
