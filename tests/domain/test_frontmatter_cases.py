"""Our verdict on each of the shared frontmatter cases, and why; also where a reference validator differs."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from skill_fleet.domain.skill import Skill
from skill_fleet.domain.spec import check, is_valid

CASES = Path(__file__).resolve().parents[3] / "shared" / "frontmatter-cases"


class Verdict(NamedTuple):
    codes: tuple[tuple[str, int], ...]
    """Code and line of every finding of the profile `spec`."""
    description: object
    why: str


VERDICTS = {
    "anchor": Verdict(
        (("yaml_anchor", 3), ("yaml_alias", 5), ("metadata_value", 5)),
        "hello there",
        "Nobody means an anchor in a description that starts with &; two readers would disagree.",
    ),
    "backtick-start": Verdict(
        (("yaml_invalid", 3),), None, "YAML reserves the backtick: no reader gets a value."
    ),
    "bom": Verdict(
        (("byte_order_mark", 1),),
        "d",
        "Editors put it there and most readers drop it: advice. The reference validator refuses it.",
    ),
    "cjk-name": Verdict(
        (("name_characters", 2), ("name_folder", 2)),
        "d",
        "The specification allows a-z, 0-9 and hyphens; the reference validator minds only the folder.",
    ),
    "cr-only": Verdict((("carriage_return", 1),), "d", "Readable, but not by tools that split lines at LF."),
    "dashes-in-desc": Verdict(
        (),
        "first --- second",
        "A delimiter is a line of its own; the reference validator cuts the description and says nothing.",
    ),
    "dots-close": Verdict(
        (("frontmatter_closed_by_dots", 4),), "d", "Hosts look for '---': to them the frontmatter never ends."
    ),
    "emoji-1024": Verdict((), "🚀" * 1024, "The limit is 1,024 characters, not bytes or UTF-16 units."),
    "hash-comment": Verdict(
        (("comment_cuts_value", 3),),
        "Fix issue",
        "This is what YAML says, so the file is valid; that half of the description is lost must be said.",
    ),
    "html-comment-first": Verdict(
        (("frontmatter_not_first", 1), ("body_empty", 5)), "d", "Hosts want '---' on the first line."
    ),
    "inner-quotes": Verdict((("yaml_invalid", 3),), None, "The string ends at its second quote: not YAML."),
    "leading-blank": Verdict((("frontmatter_not_first", 1),), "d", "Hosts want '---' on the first line."),
    "license-list": Verdict(
        (("license_not_string", 4),), "d", "A license is a string; the reference validator does not look."
    ),
    "list-tools": Verdict(
        (("allowed_tools_not_string", 4),),
        "d",
        "The specification has one string with spaces. Claude's hosts take a list: valid in that profile.",
    ),
    "literal-keep": Verdict((), "line\n\n\n", "Odd, but a string that is not blank."),
    "merge-key": Verdict(
        (
            ("yaml_anchor", 5),
            ("metadata_value", 5),
            ("metadata_value", 7),
            ("yaml_merge_key", 8),
            ("yaml_alias", 8),
        ),
        "d",
        "A merge repeats what is not written there, and metadata holds strings only.",
    ),
    "metadata-str": Verdict(
        (("metadata_not_map", 4),), "d", "Metadata is a map; the reference validator does not look."
    ),
    "norway": Verdict(
        (("name_folder", 2), ("unquoted_word", 2), ("unquoted_word", 3)),
        "yes",
        "The name is the word 'no', whatever YAML 1.1 makes of it; what is wrong is the folder.",
    ),
    "nul": Verdict(
        (("nul_byte", 3), ("body_empty", 4)), "d\ufffdx", "A NUL is no text. The reference validator crashes."
    ),
    "only-fm": Verdict(
        (("body_empty", 4),),
        "d",
        "The specification does not demand a body; a skill without one teaches nothing.",
    ),
    "reserved-claude": Verdict((), "d", "The reserved word is a rule of the host, not of the specification."),
    "star-start": Verdict((("yaml_invalid", 3),), None, "A value that starts with * is an alias to YAML."),
    "tilde-desc": Verdict(
        (("description_missing", 3),),
        None,
        "~ is null: there is no description; the reference validator takes it.",
    ),
    "trailing-space-name": Verdict(
        (("name_characters", 2), ("name_folder", 2)),
        "d",
        "The space is in quotes, so it is in the name; the reference validator strips it before it looks.",
    ),
    "two-docs": Verdict(
        (("second_frontmatter", 5),),
        "d",
        "Valid: it ends at the second delimiter. The rest looks lost.",
    ),
    "underscore_name": Verdict((("name_characters", 2),), "d", "Hyphens only."),
    "version-float": Verdict(
        (("unquoted_word", 5),), "d", "Metadata are strings: 1.10 stays 1.10 here and becomes 1.1 elsewhere."
    ),
}
INVALID_ELSEWHERE = {"bom"}
"""Refused by the reference validator, valid to us."""
VALID_ELSEWHERE = {"license-list", "list-tools", "metadata-str", "tilde-desc", "trailing-space-name"}
"""Accepted by the reference validator, invalid to us."""


def case(name: str) -> Skill:
    if not CASES.is_dir():
        pytest.skip("shared corpus absent")
    return Skill.read(CASES / name)


def test_there_is_a_verdict_on_every_case():
    if not CASES.is_dir():
        pytest.skip("shared corpus absent")
    assert {folder.name for folder in CASES.iterdir() if folder.is_dir()} == set(VERDICTS)


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict(name):
    skill = case(name)
    findings = check(skill, folder=CASES / name)
    assert tuple((found.code, found.line) for found in findings) == VERDICTS[name].codes
    assert skill.description == VERDICTS[name].description
    assert skill.render() == (CASES / name / "SKILL.md").read_bytes()


def test_where_we_differ_from_the_reference_validator_it_is_on_purpose():
    case("bom")
    observed = json.loads((CASES / "OBSERVED.json").read_text(encoding="utf-8"))
    theirs = {entry["case"]: entry["skills_ref"] == "valid" for entry in observed}
    ours = {name: is_valid(check(case(name), folder=CASES / name)) for name in VERDICTS}
    assert {name for name in ours if ours[name] and not theirs[name]} == INVALID_ELSEWHERE
    assert {name for name in ours if theirs[name] and not ours[name]} == VALID_ELSEWHERE


@pytest.mark.parametrize(
    ("name", "profile", "valid"),
    [
        ("reserved-claude", "spec", True),
        ("reserved-claude", "claude", False),
        ("list-tools", "spec", False),
        ("list-tools", "claude", True),
        ("bom", "spec", True),
        ("bom", "strict", False),
        ("cr-only", "strict", False),
        ("only-fm", "strict", False),
        ("hash-comment", "strict", False),
        ("emoji-1024", "strict", True),
        ("dashes-in-desc", "strict", True),
    ],
)
def test_profiles(name, profile, valid):
    assert is_valid(check(case(name), profile, folder=CASES / name)) is valid


@pytest.mark.parametrize("name", sorted(set(VERDICTS) - {"backtick-start", "inner-quotes", "star-start"}))
def test_every_case_that_can_be_read_can_be_edited(name):
    skill = case(name).with_field("license", "MIT")
    assert skill.fields["license"] == "MIT"
    assert skill.description == VERDICTS[name].description
    assert skill.body == case(name).body
