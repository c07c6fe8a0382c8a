"""No path that a client names leaves the library, and what is refused says nothing of what is outside."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.domain.library import Library
from skill_fleet.foundation.errors import NotFound, SkillFleetError, UsageError
from skill_fleet.services.context import open_context
from skill_fleet.services.library_paths import library_path, path_of, skill_at, skills_at
from skill_fleet.services.skills import evaluate_batch, list_skills, read_skill

PRIVATE = "the content of a file that is nobody's business"
SKILL = "---\nname: {name}\ndescription: Does {name}. Use when {name}.\n---\n\n# {name}\n\n{text}\n"

BAD = {
    "empty": "",
    "traversal": "../outside",
    "traversal deep": "food/../../outside",
    "traversal inside": "food/../food/coffee",
    "dot": "./food",
    "dots": "food/...",
    "absolute": "/etc",
    "absolute skill": "/food/coffee",
    "double slash": "//host/share",
    "empty part": "food//coffee",
    "trailing slash": "food/",
    "home": "~",
    "somebody's home": "~root/skills",
    "home inside": "food/~",
    "backslash": "..\\outside",
    "backslashes": "food\\coffee",
    "drive": "C:\\Windows",
    "drive relative": "C:outside",
    "drive slash": "C:/Windows",
    "UNC": "\\\\host\\share",
    "UNC device": "\\\\?\\C:\\Windows",
    "percent": "%2e%2e/outside",
    "percent twice": "%252e%252e%252foutside",
    "percent overlong": "%c0%ae%c0%ae/outside",
    "NUL": "food\x00",
    "NUL and suffix": "food/coffee\x00.md",
    "newline": "food\ncoffee",
    "tab": "food\t",
    "escape": "food\x1b[2J",
    "delete": "food\x7f",
    "space": "food coffee",
    "trailing space": "food ",
    "trailing dot": "food.",
    "overlong part": "a" * 65,
    "overlong": "/".join(["a"] * 17),
    "very long": "a/" * 900 + "a",
    "state": ".skill-fleet",
    "state inside": "food/.skill-fleet/x",
    "git": ".git/config",
    "hidden": ".hidden",
    "hidden inside": "food/.hidden/secret",
    "fullwidth dots": "\uff0e\uff0e/outside",
    "fullwidth slash": "food\uff0f..\uff0foutside",
    "combining": "foo\u0301d",
    "right to left": "food\u202e",
    "wildcard": "*",
    "wildcards": "food/*",
    "question": "food/coffe?",
    "brackets": "food/[c]offee",
    "shell": "food;id",
    "variable": "$HOME",
    "stream": "food/coffee:secret",
    "scheme": "file:///etc/passwd",
    "leading hyphen": "-rf",
}

LINKED = ("link-out", "food/link-out", "link-file", "link-loop", "food/link-up")


@pytest.fixture
def place(tmp_path):
    """A workspace with three skills, hidden ones, and links out of the library."""
    root = tmp_path / "workspace"
    for path in ("food/coffee/make-coffee", "food/tea", "Odd.Names/Skill_1"):
        put(root / "skills" / path)
    for path in ("skills/.hidden/secret", "skills/food/.hidden/secret", ".skill-fleet/secret"):
        put(root / path, PRIVATE)
    outside = tmp_path / "outside"
    put(outside / "secret", PRIVATE)
    put(outside / "secret" / "below", PRIVATE)
    links = {
        "link-out": outside,
        "food/link-out": outside / "secret",
        "food/link-up": root / "skills" / "..",
        "link-loop": root / "skills" / "link-loop",
    }
    for name, target in links.items():
        (root / "skills" / name).symlink_to(target)
    (root / "skills" / "link-file").mkdir()
    (root / "skills" / "link-file" / "SKILL.md").symlink_to(outside / "secret" / "SKILL.md")
    (root / "skills" / "link-hidden").symlink_to(root / "skills" / ".hidden")
    return root


def put(folder, text="Do it."):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SKILL.md").write_text(SKILL.format(name=folder.name, text=text))


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_such_a_path_is_refused_as_text(text, place):
    with pytest.raises(UsageError) as refused:
        library_path(text)
    assert refused.value.code == "path"
    assert len(refused.value.message) < 250
    for find in (skill_at, lambda library, path: skills_at(library, [path])):
        with pytest.raises(UsageError):
            find(Library(place / "skills"), text)


@pytest.mark.parametrize(
    "text", [*LINKED, "link-hidden", "link-hidden/secret", "link-out/secret", "food/nothing"]
)
def test_a_link_that_leads_out_is_not_there(text, place):
    context = open_context(place, environ={})
    for use in (lambda: read_skill(context, text), lambda: skills_at(Library(place / "skills"), [text])):
        with pytest.raises(NotFound) as refused:
            use()
        assert refused.value.message == f"There is no skill at '{text}' in the library."


def test_the_list_holds_the_library_and_nothing_else(place):
    listed = list_skills(open_context(place, environ={}), limit=100)
    assert [one["path"] for one in listed["skills"]] == [
        "Odd.Names/Skill_1",
        "food/coffee/make-coffee",
        "food/tea",
    ]
    assert PRIVATE not in json.dumps(listed)


def test_a_batch_names_what_it_refuses_and_scores_the_rest(place):
    found = evaluate_batch(open_context(place, environ={}), [*BAD.values(), *LINKED, "food"])
    assert [one["path"] for one in found["skills"]] == ["food/coffee/make-coffee", "food/tea"]
    assert len(found["errors"]) == len(set(BAD.values()) | set(LINKED))
    assert {one["code"] for one in found["errors"]} == {"path", "not_found"}


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["..", ".", "~", "food", "%2e", "\\", "a\x00", ""])).map("/".join)
)
def test_a_path_is_refused_or_stays_below_the_root(text):
    root = "/somewhere/skills"
    try:
        path = library_path(text)
    except UsageError:
        return
    joined = os.path.normpath(f"{root}/{path}")
    assert joined == f"{root}/{path}"
    assert all(not part.startswith(".") for part in path.split("/"))


def test_paths_given_are_paths_taken(place):
    library = Library(place / "skills")
    for file in skills_at(library, ["food", "Odd.Names"]):
        assert skill_at(library, path_of(library, file)) == file
    assert skill_at(library, "food/coffee").parent.name == "make-coffee"
    with pytest.raises(SkillFleetError):
        skill_at(library, "food/coffee/make-coffee/SKILL.md")
