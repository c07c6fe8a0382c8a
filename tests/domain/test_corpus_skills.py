"""The laws of skills, held to some seven hundred public ones."""

import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from skill_fleet.domain.markdown import fences, links, sections
from skill_fleet.domain.plain_yaml.flat import read_flat
from skill_fleet.domain.plain_yaml.read import read_any
from skill_fleet.domain.skill import SPEC_FIELDS, Skill
from skill_fleet.domain.spec import check, check_frontmatter, is_valid

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"

STRICTER = {
    "nano-banana-pro-openrouter": "metadata_value: 'requires' holds lists; the specification wants strings",
    "qdrant-clients-sdk": "allowed_tools_not_string: a YAML list; the specification wants one string",
    "qdrant-monitoring": "allowed_tools_not_string: the same",
    "qdrant-performance-optimization": "allowed_tools_not_string: the same",
    "qdrant-scaling": "allowed_tools_not_string: the same",
    "qdrant-search-quality": "allowed_tools_not_string: the same",
}
"""Valid to the reference validator, which does not look at these fields; invalid to us, and why."""


@cache
def entries() -> list[dict]:
    manifest = CORPUS / "MANIFEST.jsonl"
    if not manifest.is_file():
        pytest.skip("shared corpus absent")
    return [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]


@cache
def skills() -> list[Skill]:
    return [Skill.read(CORPUS / entry["file"]) for entry in entries()]


def frontmatters() -> Iterator[list[str]]:
    for skill in skills():
        document = skill.document
        yield skill.source.decode().split("\n")[document.open_line : document.close_line - 1]


def test_every_file_is_read_and_rendered_byte_for_byte():
    for entry, skill in zip(entries(), skills(), strict=True):
        assert skill.render() == (CORPUS / entry["file"]).read_bytes()
        assert skill.name == entry["name"]
        assert skill.description
        lines = skill.source.decode().split("\n")
        assert "\n".join(lines[skill.body_line - 1 :]) == skill.body


def test_validity_agrees_with_the_reference_validator_but_for_what_is_argued():
    differing = {}
    for entry, skill in zip(entries(), skills(), strict=True):
        findings = check_frontmatter(skill, folder_name=(CORPUS / entry["file"]).parent.name)
        if is_valid(findings) != entry["spec_valid"]:
            differing[entry["name"]] = [found.code for found in findings if found.severity == "error"]
    assert {name: codes for name, codes in differing.items() if not codes} == {}, "we are never more lenient"
    assert set(differing) == set(STRICTER)
    for name, codes in differing.items():
        assert codes == [STRICTER[name].split(":")[0]]


def test_a_body_makes_no_skill_invalid_but_in_the_strict_profile():
    strict = 0
    for skill in skills()[::5]:
        found = check(skill, folder=skill.path.parent)
        assert is_valid(found) == is_valid(check_frontmatter(skill, folder_name=skill.path.parent.name))
        strict += is_valid(check(skill, "strict", folder=skill.path.parent))
    assert 0 < strict < len(skills()[::5])


def test_the_fast_path_reads_what_the_library_reads():
    taken = 0
    for lines in frontmatters():
        fast, slow = read_flat(lines, 2), read_any(lines, 2)
        if fast is not None:
            taken += 1
            assert (fast.fields, fast.marks, fast.problems) == (slow.fields, slow.marks, slow.problems)
    assert taken > 0.8 * len(skills())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("description", 'Says "it": does it # now'),
        ("license", "MIT"),
        ("metadata", {"version": "1.10", "author": "A. Person"}),
        (("metadata", "version"), "2.0"),
        ("allowed-tools", None),
    ],
)
def test_an_edit_touches_only_its_own_lines(key, value):
    path = (key,) if isinstance(key, str) else key
    for skill in skills():
        edited = skill.with_field(key, value)
        before, after = skill.source.split(b"\n"), edited.source.split(b"\n")
        mark = skill.marks.get(path) or skill.marks.get(path[:1])
        own = range(mark.line - 1, mark.end) if mark else range(0)
        kept = [line for number, line in enumerate(before) if number not in own]
        rest = iter(after)
        assert all(line in rest for line in kept), skill.path  # in the same order, every byte
        found = edited.fields
        for part in path:
            found = found.get(part) if found else None
        assert found == value
        others = [name for name in skill.fields if name != path[0]]
        assert [(name, edited.fields[name]) for name in others] == [
            (name, skill.fields[name]) for name in others
        ]
        assert edited.body == skill.body
        assert edited.problems == ()


def test_every_field_can_be_written_again_as_it_is():
    for skill in skills():
        for key, value in skill.fields.items():
            assert skill.with_field(key, value).source == skill.source
        assert skill.with_body(skill.body).source == skill.source


def test_composing_what_was_read_gives_the_same_skill():
    for skill in skills():
        again = Skill.compose(skill.fields, skill.body)
        assert dict(again.fields) == dict(skill.fields)
        assert again.body == skill.body.rstrip("\n") + skill.body[len(skill.body.rstrip("\n")) :].ljust(
            1, "\n"
        )
        assert [key for key in again.fields if key in SPEC_FIELDS] == [
            k for k in SPEC_FIELDS if k in skill.fields
        ]


def test_mutated_files_never_raise():
    chance = random.Random(7)
    pieces = [
        b"---\n",
        b"...\n",
        b"\r",
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b": ",
        b"- ",
        b"'",
        b'"',
        b"{",
        b"[",
        b"&a ",
        b"*a ",
    ]
    pieces += [
        b"!!x ",
        b"|\n",
        b"\t",
        b"\n",
        b"#",
        b"<<: ",
        b"```\n",
        b"[a](../b) ",
        "\u2028".encode(),
        "🚀".encode(),
    ]
    for skill in skills()[::4]:
        data = bytearray(skill.source[:3000])
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(min(len(data), 600))
            data[at : at + chance.randint(0, 3)] = chance.choice(pieces)
        mutant = Skill.parse(bytes(data))
        lines = data.count(b"\n") + data.count(b"\r") + 1
        assert all(1 <= found.line <= lines for found in check(mutant, "strict"))
        assert mutant.render() == bytes(data)


def test_markdown_agrees_with_a_full_commonmark_parser():
    parser = MarkdownIt("commonmark")
    for skill in skills()[::3]:
        tokens = parser.parse(skill.body)
        headings = [token for token in tokens if token.type == "heading_open" and token.level == 0]
        assert [section.line for section in sections(skill.body)] == [token.map[0] + 1 for token in headings]
        code = [(token.map[0] + 1, token.content) for token in tokens if token.type == "fence"]
        assert [(fence.line, fence.code) for fence in fences(skill.body)] == code
        children = [child for token in tokens for child in token.children or ()]
        assert len(links(skill.body)) == sum(child.type in {"link_open", "image"} for child in children)


def test_a_link_stands_on_the_line_that_is_named():
    for skill in skills()[::3]:
        lines = skill.body.split("\n")
        for link in links(skill.body):
            assert "[" in lines[link.line - 1] or "<" in lines[link.line - 1]
