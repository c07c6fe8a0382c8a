"""A skill keeps its bytes, changes only the lines it was asked to, and all read the same of it."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from skill_fleet.domain.skill import Skill
from skill_fleet.foundation.errors import DataError, NotFound

SOURCE = b"""---
# about this skill
name: "log-reader"   # the folder
description: >-
  Reads logs.
  Use when a service fails.

metadata:
  # who
  author: 'A. Person'

  version: 1.10 # quoted elsewhere
license: MIT
---

# Logs

Text.
"""
NASTY = st.text(max_size=40) | st.sampled_from(
    [
        "no",
        "1.10",
        "~",
        "null",
        "",
        " a",
        "a ",
        "a: b",
        "a #b",
        "a:",
        "'",
        '"',
        "\\",
        "-",
        "- a",
        "a\nb",
        "\t",
        "x\r\ny",
        "---",
        "...",
        "\x85",
        "\u2028",
        "\ufeff",
        "\xa0a",
        "🚀",
        'it\'s "so"',
        "C:\\x",
        "true",
        "2024-01-01",
        "?",
        "=",
        "<<",
    ]
)
KEYS = st.sampled_from(
    ["name", "description", "license", "x", "null", "1", "a b", "<<", "a:b", "é", "-"]
) | st.text(max_size=8)
JSONISH = st.recursive(
    NASTY, lambda item: st.lists(item, max_size=3) | st.dictionaries(KEYS, item, max_size=3), max_leaves=5
)


def is_writable(value: object) -> bool:
    try:
        Skill.compose({"x": value}, "")
    except DataError:
        return False
    return True


def changed_lines(before: bytes, after: bytes) -> tuple[list[bytes], list[bytes]]:
    """The lines that are only in one of the two, once the common head and tail are taken off."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    while old and new and old[0] == new[0]:
        old, new = old[1:], new[1:]
    while old and new and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    return old, new


def test_what_is_read():
    skill = Skill.parse(SOURCE)
    assert skill.name == "log-reader"
    assert skill.description == "Reads logs. Use when a service fails."
    assert skill.fields["metadata"] == {"author": "A. Person", "version": "1.10"}
    assert list(skill.fields) == ["name", "description", "metadata", "license"]
    assert (skill.body, skill.body_line) == ("# Logs\n\nText.\n", 16)
    assert skill.problems == ()
    assert skill.line_of("metadata", "version") == 12
    assert skill.line_of("compatibility") == 1
    assert skill.render() == SOURCE


def test_text_and_bytes_are_the_same_skill():
    assert Skill.parse(SOURCE.decode()) == Skill.parse(SOURCE)


def test_fields_cannot_be_changed_behind_its_back():
    with pytest.raises(TypeError):
        Skill.parse(SOURCE).fields["name"] = "x"  # type: ignore[index]


@pytest.mark.parametrize(
    ("key", "value", "old", "new"),
    [
        (
            "name",
            "log-writer",
            [b'name: "log-reader"   # the folder\n'],
            [b'name: "log-writer"   # the folder\n'],
        ),
        ("license", "no", [b"license: MIT\n"], [b'license: "no"\n']),
        ("license", None, [b"license: MIT\n"], []),
        ("compatibility", "Needs git", [], [b"compatibility: Needs git\n"]),
        (
            "description",
            "Writes: logs.",
            [b"description: >-\n", b"  Reads logs.\n", b"  Use when a service fails.\n"],
            [b'description: "Writes: logs."\n'],
        ),
        (("metadata", "author"), "O'Neil", [b"  author: 'A. Person'\n"], [b"  author: 'O''Neil'\n"]),
        (
            ("metadata", "version"),
            "2.0",
            [b"  version: 1.10 # quoted elsewhere\n"],
            [b'  version: "2.0" # quoted elsewhere\n'],
        ),
        (("metadata", "tags"), "a b", [], [b"  tags: a b\n"]),
        (("metadata", "version"), None, [b"  version: 1.10 # quoted elsewhere\n"], []),
        (
            "metadata",
            {"author": "A. Person", "version": "3"},
            [b"  version: 1.10 # quoted elsewhere\n"],
            [b'  version: "3" # quoted elsewhere\n'],
        ),
        (
            "allowed-tools",
            ["Read", "Bash(git:*)"],
            [],
            [b"allowed-tools:\n", b"  - Read\n", b"  - Bash(git:*)\n"],
        ),
        ("disable-model-invocation", True, [], [b"disable-model-invocation: true\n"]),
    ],
)
def test_an_edit_changes_only_its_own_lines(key, value, old, new):
    edited = Skill.parse(SOURCE).with_field(key, value)
    assert changed_lines(SOURCE, edited.render()) == (old, new)
    assert edited.problems == ()


def test_the_same_value_changes_nothing():
    skill = Skill.parse(SOURCE)
    for key, value in skill.fields.items():
        assert skill.with_field(key, value).render() == SOURCE
    assert skill.with_field("compatibility", None).render() == SOURCE
    assert skill.with_body(skill.body).render() == SOURCE


def test_the_same_value_mends_a_line_with_a_problem():
    skill = Skill.parse(b"---\nname: a\ndescription: Use when: now\n---\n")
    assert skill.description == "Use when: now"
    mended = skill.with_field("description", skill.description)
    assert mended.render() == b'---\nname: a\ndescription: "Use when: now"\n---\n'
    assert mended.problems == ()


def test_a_map_is_made_and_its_last_entry_takes_it_away():
    skill = Skill.parse(b"---\nname: a\n---\n")
    made = skill.with_field(("metadata", "version"), "1")
    assert made.render() == b'---\nname: a\nmetadata:\n  version: "1"\n---\n'
    assert made.with_field(("metadata", "version"), None) == skill


def test_a_map_in_braces_is_rewritten_whole():
    skill = Skill.parse(b"---\nname: a\nmetadata: {x: u, z: w} # c\n---\n").with_field(("metadata", "z"), "v")
    assert skill.render() == b"---\nname: a\nmetadata:\n  x: u\n  z: v\n---\n"


def test_other_line_ends_and_a_mark_stay():
    source = b"\xef\xbb\xbf---\r\nname: a\r\n# c\r\nlicense: b\r\n---\r\n\r\n# T\r\n"
    skill = (
        Skill.parse(source).with_field("license", "c").with_field("compatibility", "d").with_body("# U\n\nx")
    )
    assert skill.render() == (
        b"\xef\xbb\xbf---\r\nname: a\r\n# c\r\nlicense: c\r\ncompatibility: d\r\n---\r\n\r\n# U\r\n\r\nx\r\n"
    )


def test_bytes_that_are_not_utf8_stay_beside_an_edit():
    skill = Skill.parse(b"---\nname: a\nlicense: \xff\n---\n\xfe\n").with_field("name", "b")
    assert skill.render() == b"---\nname: b\nlicense: \xff\n---\n\xfe\n"


@pytest.mark.parametrize(
    ("source", "key"),
    [
        (b"# no frontmatter\n", "name"),
        (b"---\nname: a\n", "name"),
        (b"---\nname: `a`\n---\n", "name"),
        (b"---\n{name: a}\n---\n", "name"),
        (b"---\nmetadata: text\n---\n", ("metadata", "x")),
    ],
)
def test_what_cannot_be_edited_by_line_is_refused(source, key):
    with pytest.raises(DataError):
        Skill.parse(source).with_field(key, "b")


@pytest.mark.parametrize("value", ["a\0b", "\ud800", object(), {"k" * 200: "v"}, {1: "v"}])
def test_what_no_skill_can_hold_is_refused(value):
    with pytest.raises(DataError):
        Skill.compose({"x": value}, "")


@pytest.mark.parametrize(
    ("source", "body", "expected"),
    [
        (b"---\nname: a\n---\n", "# T", b"---\nname: a\n---\n\n# T\n"),
        (b"---\nname: a\n---", "# T", b"---\nname: a\n---\n\n# T\n"),
        (b"---\nname: a\n---\n# S\n", "\n\n# T\n", b"---\nname: a\n---\n# T\n"),
        (b"---\nname: a\n---\n\n\n# S\n", "# T\n", b"---\nname: a\n---\n\n\n# T\n"),
        (b"---\nname: a\n---\n\n# S\n", "", b"---\nname: a\n---\n\n"),
        (b"# S\n", "# T\n", b"# T\n"),
    ],
)
def test_another_body(source, body, expected):
    assert Skill.parse(source).with_body(body).render() == expected


def test_a_body_after_a_frontmatter_without_end_is_refused():
    with pytest.raises(DataError):
        Skill.parse(b"---\nname: a\n").with_body("# T\n")


def test_compose_writes_the_order_of_the_specification_and_few_quotes():
    skill = Skill.compose(
        {
            "model": "sonnet",
            "metadata": {"version": "1.10", "author": "A. Person", "requires": {"bins": ["uv"]}},
            "description": "Reads logs: use when a service fails.",
            "name": "log-reader",
            "license": None,
            "user-invocable": False,
        },
        "# Logs\r\n\r\nText.",
    )
    assert skill.render().decode() == (
        "---\nname: log-reader\n"
        'description: "Reads logs: use when a service fails."\n'
        'metadata:\n  version: "1.10"\n  author: A. Person\n  requires:\n    bins:\n      - uv\n'
        "model: sonnet\nuser-invocable: false\n---\n\n# Logs\n\nText.\n"
    )


@settings(deadline=None)
@given(st.dictionaries(KEYS, JSONISH, max_size=4), st.text(max_size=30))
def test_what_is_composed_is_read_back(fields, body):
    assume(all(is_writable({key: value}) for key, value in fields.items()) and "\0" not in body)
    assume(not any("\ud800" <= character <= "\udfff" for character in body))
    skill = Skill.compose(fields, body)
    assert skill.problems == ()
    assert dict(skill.fields) == fields
    expected = body.replace("\r\n", "\n").replace("\r", "\n")
    while expected[: expected.find("\n") + 1].strip(" \t") == "\n":
        expected = expected[expected.find("\n") + 1 :]
    expected = "" if not expected.strip(" \t") else expected
    assert skill.body == (expected if not expected or expected.endswith("\n") else expected + "\n")


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["name", "license", "metadata"]), NASTY, max_size=3))
def test_a_typed_reader_reads_the_same_strings(fields):
    assume(is_writable(fields))
    text = Skill.compose(fields, "").render().decode()
    assume("\\u" not in text)  # the library reads some line breaks inside quotes its own way
    assert (
        YAML(typ="safe", pure=True).load(text.removeprefix("---\n").removesuffix("---\n")) or {}
    ) == fields


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "name: a",
                "description: 'x'",
                "license: >\n  b\n",
                "# c",
                "",
                "metadata:\n  k: v\n  # c\n  l: |+\n    m\n",
                "tools:\n- a\n# c\n- b",
                "hooks: {a: [b,\n  c]}",
                'model: "x\\\n  y"',
                "agent: p\n  q # r",
                "x: # y",
            ]
        ),
        max_size=6,
        unique=True,
    ),
    st.sampled_from(
        ["name", "license", "metadata", "tools", "hooks", "model", "agent", "x", "new", ("metadata", "l")]
    ),
    JSONISH | st.none(),
)
def test_edits_of_any_layout_leave_every_other_field_alone(blocks, key, value):
    assume(value is None or is_writable(value))
    assume(isinstance(key, str) or not isinstance(value, dict))
    source = ("---\n" + "".join(f"{block}\n" for block in blocks) + "---\nbody\n").encode()
    skill = Skill.parse(source)
    try:
        edited = skill.with_field(key, value)
    except DataError:
        assert b"|+" in source  # it would take the blank lines of a neighbour for its own
        return
    path = (key,) if isinstance(key, str) else key
    expected = {name: item for name, item in skill.fields.items() if name != path[0]}
    assert {name: item for name, item in edited.fields.items() if name != path[0]} == expected
    if isinstance(key, str) and value is not None:
        assert edited.fields[key] == value
    if value is None:
        assert edited.line_of(*path) == 1
    assert edited.body == skill.body
    comments = [line for line in source.splitlines() if line.startswith(b"#")]
    assert all(line in edited.render() for line in comments if line != b"# c" or key != "tools")


@settings(deadline=None)
@given(st.binary(max_size=120), st.sampled_from(["name", "x", ("metadata", "y")]), NASTY | st.none())
def test_edits_of_any_bytes_work_or_are_refused(source, key, value):
    skill = Skill.parse(b"---\n" + source)
    assert skill.render() == b"---\n" + source
    with contextlib.suppress(DataError):
        skill.with_field(key, value)


def test_reading_from_disk(tmp_path: Path):
    folder = tmp_path / "log-reader"
    folder.mkdir()
    with pytest.raises(NotFound) as caught:
        Skill.read(folder)
    assert "SKILL.md" in caught.value.hint
    (folder / "SKILL.md").write_bytes(SOURCE)
    assert Skill.read(folder) == Skill.read(folder / "SKILL.md") == Skill(SOURCE, folder / "SKILL.md")
    for path in (tmp_path / "none", folder / "SKILL.md" / "x", Path("a\0b")):
        with pytest.raises(NotFound):
            Skill.read(path)
