"""A library finds its skills in order, addresses them by path, and stays inside its root."""

from pathlib import Path

import pytest

from skill_fleet.domain.library import Library, find_skill_files
from skill_fleet.domain.skill import Skill
from skill_fleet.foundation.errors import DataError, NotFound, StorageError, UsageError

PYTHON = "technical_skills/programming/python"


def skill_named(name: str) -> Skill:
    return Skill.compose({"name": name, "description": "Does it. Use when it is to be done."}, "# It\n")


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "skills")
    for path, name in (
        (f"{PYTHON}/async", "python-async-await"),
        (f"{PYTHON}/typing", "typing"),
        (f"{PYTHON}/testing", "pytest-basics"),
        (f"{PYTHON}/testing", "pytest-fixtures"),
        ("research/reading/papers", "read-papers"),
    ):
        library.write(path, name, skill_named(name))
    return library


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        (f"{PYTHON}/async", "python-async-await", f"{PYTHON}/async/python-async-await/SKILL.md"),
        (f"{PYTHON}/typing", "typing", f"{PYTHON}/typing/SKILL.md"),
        (f"{PYTHON}/read_me", "read-me", f"{PYTHON}/read_me/read-me/SKILL.md"),
    ],
)
def test_an_address(library, path, name, expected):
    assert library.address(path, name) == library.root / expected


def test_an_address_and_its_path_belong_together(library):
    for file in library.files():
        assert library.address(library.taxonomy_path_of(file), file.parent.name) == file


def test_skills_come_in_the_order_of_their_paths(library):
    names = [skill.name for skill in library]
    assert names == ["read-papers", "python-async-await", "pytest-basics", "pytest-fixtures", "typing"]
    assert list(library.files()) == sorted(library.files())


def test_the_tree(library):
    assert library.tree() == {
        "research": {"reading": {"papers": {}}},
        "technical_skills": {"programming": {"python": {"async": {}, "testing": {}, "typing": {}}}},
    }


def test_locating_a_skill(library):
    python = library.root / PYTHON
    assert library.locate(f"{PYTHON}/async") == python / "async/python-async-await/SKILL.md"
    assert library.locate(f"{PYTHON}/async/python-async-await") == library.locate(f"{PYTHON}/async")
    assert library.locate(f"{PYTHON}/typing") == python / "typing/SKILL.md"
    assert library.locate(f"{PYTHON}/testing/pytest-basics") == python / "testing/pytest-basics/SKILL.md"
    with pytest.raises(DataError, match="pytest-basics, pytest-fixtures"):
        library.locate(f"{PYTHON}/testing")
    for missing in (f"{PYTHON}/none", "technical_skills", f"{PYTHON}/async/other-name", "nowhere/at_all"):
        with pytest.raises(NotFound):
            library.locate(missing)


def test_a_name_of_one_word_is_located_by_the_path_it_was_written_to(library):
    file = library.write("technical_skills/operations/containers", "docker", skill_named("docker"))
    assert library.locate("technical_skills/operations/containers") == file
    assert library.locate("technical_skills/operations/containers/docker") == file


def test_a_folder_addresses_every_skill_below_it(library):
    assert [file.parent.name for file in library.below(PYTHON)] == [
        "python-async-await",
        "pytest-basics",
        "pytest-fixtures",
        "typing",
    ]
    assert len(library.below(f"{PYTHON}/testing")) == 2
    assert len(library.below(f"{PYTHON}/async/python-async-await")) == 1
    with pytest.raises(NotFound):
        library.below("product")


@pytest.mark.parametrize(
    "path", ["..", "../x", "/etc", "a/../../b", "a\\b", "a\0", "", "A/b", "a/.git", "x-y", "a/--b"]
)
def test_hostile_paths_are_refused_everywhere(library, path):
    for call in (library.locate, library.below, lambda p: library.address(p, "x")):
        with pytest.raises(UsageError):
            call(path)
    with pytest.raises(UsageError):
        library.write(path, "x", skill_named("x"))


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "a_b", "-a", "a--b", "a" * 65, "a\n", "a\0b", "é"])
def test_hostile_names_are_refused(library, name):
    with pytest.raises(DataError):
        library.address("a/b", name)


def test_writing_never_replaces_without_force(library):
    path, name = f"{PYTHON}/typing", "typing"
    before = library.locate(path).read_bytes()
    other = skill_named(name).with_body("# Other\n")
    with pytest.raises(DataError) as caught:
        library.write(path, name, other)
    assert caught.value.code == "exists"
    assert library.locate(path).read_bytes() == before
    assert library.write(path, name, other, force=True) == library.locate(path)
    assert library.locate(path).read_bytes() == other.render()


def test_writing_leaves_nothing_else_behind(library):
    everything = {file for file in library.root.rglob("*") if file.is_file()}
    assert everything == set(library.files())
    folders = {folder.name for folder in library.root.rglob("*") if folder.is_dir()}
    assert not any(name.startswith(".") for name in folders)


def test_a_skill_that_is_being_written_is_none_yet_also_when_its_writer_is_killed(library, monkeypatch):
    before = list(library.files())
    during = []

    def look(descriptor):
        during.append([file.name for file in library.address("a/b", "x").parent.rglob("SKILL.md")])
        during.append(list(library.files()))

    monkeypatch.setattr("os.fsync", look)
    target = library.write("a/b", "x", skill_named("x"))
    assert during == [[], before]
    assert set(library.files()) == {*before, target}


def test_a_skill_is_written_under_its_own_name(library):
    with pytest.raises(DataError):
        library.write("a/b", "other", skill_named("x"))


def test_writing_where_a_file_stands_in_the_way(library):
    (library.root / "blocked").write_text("x")
    with pytest.raises(StorageError):
        library.write("blocked/a", "x", skill_named("x"))


def test_links_do_not_lead_out(library, tmp_path: Path):
    outside = tmp_path / "outside"
    (outside / "evil-skill").mkdir(parents=True)
    (outside / "evil-skill" / "SKILL.md").write_bytes(skill_named("evil-skill").render())
    (library.root / "escape").symlink_to(outside)
    (library.root / "research" / "linked-file").mkdir()
    (library.root / "research" / "linked-file" / "SKILL.md").symlink_to(outside / "evil-skill" / "SKILL.md")
    assert len(list(library)) == 5
    for call in (library.locate, library.below):
        for path in ("escape", "escape/evil-skill", "research/linked-file"):
            with pytest.raises(NotFound):
                call(path)
    with pytest.raises(DataError, match="outside"):
        library.write("escape/a", "x", skill_named("x"))
    with pytest.raises(DataError, match="outside"):
        library.write("escape/a", "x", skill_named("x"), force=True)
    assert sorted(file.name for file in outside.rglob("*")) == ["SKILL.md", "evil-skill"]


def test_a_link_in_the_place_of_a_skill_is_replaced_not_followed(library, tmp_path: Path):
    victim = tmp_path / "victim.md"
    victim.write_text("mine")
    target = library.address("a/b", "x")
    target.parent.mkdir(parents=True)
    target.symlink_to(victim)
    with pytest.raises(DataError):
        library.write("a/b", "x", skill_named("x"))
    library.write("a/b", "x", skill_named("x"), force=True)
    assert victim.read_text() == "mine"
    assert not target.is_symlink()


def test_a_link_to_nowhere_is_not_written_through(library, tmp_path: Path):
    target = library.address("a/b", "x")
    target.parent.mkdir(parents=True)
    target.symlink_to(tmp_path / "not-there.md")
    with pytest.raises(DataError):
        library.write("a/b", "x", skill_named("x"))
    assert not (tmp_path / "not-there.md").exists()


def test_a_circle_of_links_ends(library):
    (library.root / "research" / "again").symlink_to(library.root)
    assert len(list(library.files())) == 5


def test_folders_of_tools_are_not_searched(library):
    for name in (".git", "node_modules", ".venv"):
        folder = library.root / name / "some-skill"
        folder.mkdir(parents=True)
        (folder / "SKILL.md").write_bytes(skill_named("some-skill").render())
    assert len(list(library.files())) == 5


def test_a_library_that_is_not_there_yet(tmp_path: Path):
    library = Library(tmp_path / "none")
    assert list(library) == []
    assert library.tree() == {}
    with pytest.raises(NotFound):
        list(find_skill_files(tmp_path / "none"))
    with pytest.raises(NotFound):
        library.locate("a/b")
    with pytest.raises(NotFound):
        library.taxonomy_path_of(tmp_path / "elsewhere" / "SKILL.md")
