"""The gold library as the product sees it: valid under every profile, each skill where its path says."""

from pathlib import Path

import pytest

from skill_fleet.domain.library import Library
from skill_fleet.domain.skill import Skill
from skill_fleet.domain.spec import PROFILES, check

LIBRARY = Library(Path(__file__).resolve().parents[2] / "skills")
FILES = list(LIBRARY.files())


def test_there_is_something_to_look_at() -> None:
    assert len(FILES) >= 18


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_it_is_valid(file: Path, profile: str) -> None:
    assert check(Skill.read(file), profile, folder=file.parent) == ()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_its_path_addresses_it_alone(file: Path) -> None:
    path = LIBRARY.taxonomy_path_of(file)
    name = Skill.read(file).name
    assert name is not None
    assert LIBRARY.address(path, name) == file
    assert LIBRARY.locate(path) == file
    assert LIBRARY.below(path.split("/")[0])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_it_is_rendered_without_loss(file: Path) -> None:
    assert Skill.read(file).render() == file.read_bytes()
