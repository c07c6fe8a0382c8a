"""Where things live."""

from pathlib import Path

import pytest

from skill_fleet.config.paths import Workspace, shipped_config, shipped_trainset


def test_a_workspace_holds_its_files_and_state(tmp_path: Path) -> None:
    place = Workspace.at(tmp_path, {})
    assert place.ledger == tmp_path / ".skill-fleet" / "ledger.sqlite"
    assert place.responses == tmp_path / ".skill-fleet" / "cache" / "responses.sqlite"
    assert place.config_file == tmp_path / "config" / "config.yaml"
    assert place.optimized == tmp_path / "config" / "optimized"
    assert place.skills == tmp_path / "skills"
    assert place.runs == tmp_path / ".skill-fleet" / "runs"
    assert place.service == tmp_path / ".skill-fleet" / "service"
    assert not list(tmp_path.iterdir()), "asking where makes nothing"


def test_dspy_cachedir_moves_the_answers_and_never_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Workspace.at(tmp_path, {"DSPY_CACHEDIR": str(tmp_path / "elsewhere")})
    assert place.responses == tmp_path / "elsewhere" / "responses.sqlite"
    assert place.ledger == tmp_path / ".skill-fleet" / "ledger.sqlite"
    assert Workspace.at(tmp_path, {"DSPY_CACHEDIR": ""}).cache == tmp_path / ".skill-fleet" / "cache"
    monkeypatch.chdir(tmp_path)
    assert Workspace.at(tmp_path, {"DSPY_CACHEDIR": "near"}).cache == tmp_path / "near"


def test_one_directory_is_one_workspace_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    places = {Workspace.at(Path(p), {}) for p in ("a", "./a/../a", str(tmp_path / "a"), "link", "~/a")}
    assert len(places) == 1


def test_a_path_for_people_is_relative_inside_and_whole_outside(tmp_path: Path) -> None:
    place = Workspace.at(tmp_path, {})
    assert place.relative(tmp_path / "skills" / "a") == "skills/a"
    assert place.relative(tmp_path.parent / "b") == str(tmp_path.parent / "b")


def test_a_workspaces_own_training_set_goes_before_the_shipped_one(tmp_path: Path) -> None:
    place = Workspace.at(tmp_path, {})
    assert place.trainset == shipped_trainset()
    own = tmp_path / "config" / "training" / "trainset.json"
    own.parent.mkdir(parents=True)
    own.write_text("[]")
    assert place.trainset == own


def test_what_is_shipped_is_there() -> None:
    assert shipped_config().is_file()
    assert shipped_trainset().is_file()
