"""Where a frontmatter starts and ends, what its YAML says, and that nothing in it can hurt."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.domain.frontmatter import take_apart
from skill_fleet.domain.plain_yaml.flat import read_flat
from skill_fleet.domain.plain_yaml.read import read, read_any
from skill_fleet.domain.plain_yaml.tree import is_typed


def problems(source: str | bytes) -> list[tuple[str, int]]:
    data = source.encode() if isinstance(source, str) else source
    return [(found.code, found.line) for found in take_apart(data).problems]


def fields(text: str) -> dict[str, object]:
    return take_apart(f"---\n{text}---\nbody\n".encode()).tree.fields


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("---\nname: a\n---\n", []),
        ("--- \t\nname: a\n---  \n", []),
        ("", [("frontmatter_missing", 1)]),
        ("# Title\n", [("frontmatter_missing", 1)]),
        (" ---\nname: a\n---\n", [("frontmatter_missing", 1)]),
        ("----\nname: a\n----\n", [("frontmatter_missing", 1)]),
        ("---\nname: a\n", [("frontmatter_unclosed", 1)]),
        ("---\nname: a\n ---\n", [("frontmatter_unclosed", 1)]),
        ("---", [("frontmatter_unclosed", 1)]),
        ("\n\n---\nname: a\n", [("frontmatter_not_first", 1), ("frontmatter_unclosed", 3)]),
        ("<!-- a -->\n<!--\nb\n-->\n---\nname: a\n---\n", [("frontmatter_not_first", 1)]),
        ("---\nname: a\n...\n# T\n\n---\n", [("frontmatter_closed_by_dots", 3)]),
        ("---\nname: a\nname: b\n---\n", [("yaml_duplicate_key", 3)]),
        ('---\nname: a\n"name": b\n---\n', [("yaml_duplicate_key", 3)]),
        ("---\nmetadata:\n  a: 1\n  a: 2\n---\n", [("yaml_duplicate_key", 4)]),
        ("---\nname: a\ndescription: &x b\n---\n", [("yaml_anchor", 3)]),
        ("---\nname: a\nmetadata: !!python/object:os.system\n  x: 1\n---\n", [("yaml_tag", 3)]),
        ("---\nname: a\n[b]: c\n---\n", [("yaml_key_not_string", 3)]),
        ("---\n- name\n---\n", [("yaml_not_mapping", 2)]),
        ("---\n~\n---\n", [("yaml_not_mapping", 2)]),
        ("---\n%YAML 1.1\n---\n", [("yaml_invalid", 2)]),
        ("---\nname: a\n--- b\nc: d\n---\n", [("yaml_invalid", 3)]),
        ("---\nname: a\n\tx: b\n---\n", [("yaml_invalid", 3)]),
        ("---\nname: a\n\n# note\ndescription: Use when: now\n---\n", [("colon_in_plain_value", 5)]),
        ("---\nname: a\ndescription: b # c\n---\n", [("comment_cuts_value", 3)]),
        ("---\nname: a # c\n---\n", []),
        ("---\nname: a\ndescription: b\x07\n---\n", [("control_character", 3)]),
        ('---\nname: "\\ud83d\\ude00"\n---\n', [("bad_escape", 2)]),
        ("\ufeff---\nname: a\n---\n", [("byte_order_mark", 1)]),
        ("---\nname: a\r\n---\n", [("carriage_return", 2)]),
        ("---\nname: a\n---\n\nb\n\0", [("nul_byte", 6)]),
        (b"---\nname: a\n---\n\r\n\xff\n", [("not_utf8", 5), ("carriage_return", 4)]),
        (
            "---\nname: a\n---\n".encode("utf-16"),
            [("not_utf8", 1), ("nul_byte", 1), ("frontmatter_missing", 1)],
        ),
    ],
)
def test_problems_are_named_and_placed(source, expected):
    assert problems(source) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: no\n", {"name": "no"}),
        ("a: 1.10\nb: 2024-01-01\nc: true\n", {"a": "1.10", "b": "2024-01-01", "c": "true"}),
        ("a:\nb: ~\nc: null\nd: ''\ne: '~'\n", {"a": None, "b": None, "c": None, "d": "", "e": "~"}),
        ("a: first --- second\n", {"a": "first --- second"}),
        ("a: 'it''s'\n", {"a": "it's"}),
        ('a: "x\\ny"\n', {"a": "x\ny"}),
        ("a: >-\n  one\n  two\nb: c\n", {"a": "one two", "b": "c"}),
        ("a: |\n  one\n\n  two\n", {"a": "one\n\ntwo\n"}),
        ("a: one\n  two\n", {"a": "one two"}),
        ("m:\n  x: 1\n  y: [a, 2]\n", {"m": {"x": "1", "y": ["a", "2"]}}),
        ("a: Use when: it's now: yes\n", {"a": "Use when: it's now: yes"}),
        ("a: Use when\n  this: that\nb: c\n", {"a": "Use when this: that", "b": "c"}),
        ("a: it ends:\nm:\n  x: y: z\n", {"a": "it ends:", "m": {"x": "y: z"}}),
        ("a: |\n  x: y: z\nb: p: q\n", {"a": "x: y: z\n", "b": "p: q"}),
        ("a: x\x85y\n", {"a": "x\x85y"}),
        ("a: x\u2028y\n", {"a": "x\u2028y"}),
        ("", {}),
        ("# only a comment\n", {}),
    ],
)
def test_scalars_stay_what_was_written(text, expected):
    assert fields(text) == expected


def test_second_value_of_a_duplicate_is_not_taken():
    assert fields("a: 1\nb: 2\na: 3\n") == {"a": "1", "b": "2"}


def test_lines_of_nested_values():
    tree = take_apart(
        b"---\nname: a\n# c\nmetadata:\n\n  x: |\n    1\n\n  # c\n  y: 2\n# d\nz: 3\n---\n"
    ).tree
    lines = {path: (mark.line, mark.end) for path, mark in tree.marks.items()}
    assert lines == {
        ("name",): (2, 2),
        ("metadata",): (4, 10),
        ("metadata", "x"): (6, 7),
        ("metadata", "y"): (10, 10),
        ("z",): (12, 12),
    }


def test_body_starts_at_its_first_line_with_text():
    document = take_apart(b"---\r\nname: a\r\n---\r\n\r\n \r\n# T\r\n\r\nx")
    assert (document.body, document.body_line) == ("# T\n\nx", 6)


@pytest.mark.parametrize(
    "unit", ["[", "{a: ", "[a,", "- ", "? ", "&a ", "a: ", "'", '"', "!!x ", "|\n ", "- - "]
)
def test_hostile_frontmatter_is_answered_quickly(unit):
    source = f"---\nname: {unit * (60_000 // len(unit))}\n---\n".encode()
    start = time.process_time()
    take_apart(source)
    assert time.process_time() - start < 3


def test_too_long_and_too_deep_are_said():
    assert problems("---\nmetadata: {" + "x" * 70_000 + "}\n---\n") == [("frontmatter_too_long", 2)]
    assert problems("---\na: b\nm: " + "[" * 40 + "]" * 40 + "\n---\n") == [("yaml_too_deep", 3)]
    assert problems("---\na: b\nm: " + "[" * 20 + "]" * 20 + "\n---\n") == [("yaml_too_deep", 3)]


VALUES = st.one_of(
    st.text(st.sampled_from("ab:# '\"-?[]{},&*!|>%@`~\\/.=<\xa0\u2028é🚀\t0"), max_size=12),
    st.sampled_from(["null", "~", "yes", "a: b", "'it''s'", '"q"', "", "|", ">", "...", "---", "<<", "a#b"]),
)
LINES = st.one_of(
    st.builds(
        "{}:{}{}{}".format,
        st.sampled_from(["a", "b", "c-d", "e_f", "null"]),
        st.sampled_from(["", " ", "  "]),
        VALUES,
        st.sampled_from(["", " ", "   "]),
    ),
    st.sampled_from(["", "  ", "# c", " # c", "  x: y", "- z"]),
)


@settings(deadline=None)
@given(st.lists(LINES, max_size=5))
def test_the_fast_path_reads_what_the_library_reads(lines):
    fast = read_flat(lines, 2)
    if fast is None:
        return
    slow = read_any(lines, 2)
    assert (fast.fields, fast.problems, fast.block) == (slow.fields, slow.problems, slow.block)
    assert {path: mark[:4] for path, mark in fast.marks.items()} == {
        p: mark[:4] for p, mark in slow.marks.items()
    }


def test_the_fast_path_is_taken_by_plain_skills():
    assert read_flat(["name: a", "description: 'Does x: when y.'", "license: MIT"], 2) is not None


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise(source):
    document = take_apart(source)
    assert document.problems or document.tree.readable
    assert all(
        1 <= found.line <= source.count(b"\n") + source.count(b"\r") + 1 for found in document.problems
    )


@settings(deadline=None)
@given(st.lists(st.text(max_size=20) | LINES, max_size=6))
def test_no_yaml_raises(lines):
    document = take_apart(("---\n" + "\n".join(lines) + "\n---\nbody\n").encode("utf-8", "surrogatepass"))
    assert all(found.line >= 1 for found in document.problems)


@settings(deadline=None)
@given(st.lists(LINES, max_size=6))
def test_what_cannot_be_read_is_never_silent(lines):
    tree = read(lines, 2)
    assert tree.readable or any(found.severity == "error" for found in tree.problems)


@pytest.mark.parametrize(
    "text", ["no", "True", "1", "1.10", "-3e4", "0x1F", "1:30", ".inf", ".nan", "2024-01-31", "007"]
)
def test_words_that_other_readers_take_for_something_else(text):
    assert is_typed(text)


@pytest.mark.parametrize(
    "text", ["none", "1.0.2", "v1", "nope", "a1", "1-2", "-", "on call", "2024"[:3] + "x"]
)
def test_words_that_every_reader_takes_for_words(text):
    assert not is_typed(text)
