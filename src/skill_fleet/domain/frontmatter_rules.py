"""What the specification says of each field, as findings.

Source: agentskills.io/specification, sections on the frontmatter fields. Severities are those of the profile
`spec`; `skill_fleet.domain.spec` applies the profile.
"""

import difflib
import re
from collections.abc import Iterator

from skill_fleet.domain.finding import Finding
from skill_fleet.domain.plain_yaml.tree import is_typed
from skill_fleet.domain.profiles import Kind, Profile
from skill_fleet.domain.skill import SPEC_FIELDS, Skill

MAX_NAME = 64
MAX_DESCRIPTION = 1024
MAX_COMPATIBILITY = 500

NAME = re.compile(rf"(?=.{{1,{MAX_NAME}}}\Z)[a-z0-9]+(?:-[a-z0-9]+)*")
"""A whole name as the specification allows it."""

_NAME_CHARACTERS = re.compile(r"[a-z0-9-]*")
_XML_TAG = re.compile(r"</?[A-Za-z][\w:.-]*(?:\s[^<>]*)?/?>")
_NAME_HINT = "Use lower-case letters, digits and single hyphens, for example 'pdf-forms'."


def frontmatter_findings(skill: Skill, profile: Profile, folder_name: str | None) -> Iterator[Finding]:
    """All findings on the fields of a readable frontmatter; nothing for one that could not be read."""
    if not skill.document.tree.readable:
        return
    yield from _name(skill, profile, folder_name)
    yield from _description(skill, profile)
    yield from _texts(skill)
    yield from _metadata(skill)
    yield from _allowed_tools(skill, profile)
    yield from _other_fields(skill, profile)
    yield from _typed_words(skill)


def _name(skill: Skill, profile: Profile, folder_name: str | None) -> Iterator[Finding]:
    missing = _required(skill, "name")
    if missing:
        yield missing
        return
    name, line = skill.name or "", skill.line_of("name")
    if len(name) > MAX_NAME:
        message = f"The name has {len(name)} characters; at most {MAX_NAME} are allowed."
        yield Finding("name_too_long", "error", line, message, "Shorten it.")
    if not _NAME_CHARACTERS.fullmatch(name):
        odd = sorted(set(re.sub(r"[a-z0-9-]", "", name)))
        message = f"The name {name[:MAX_NAME]!r} holds {', '.join(map(repr, odd[:5]))}."
        yield Finding("name_characters", "error", line, message, _NAME_HINT)
    if name.startswith("-") or name.endswith("-") or "--" in name:
        message = f"The name {name[:MAX_NAME]!r} has a hyphen at its edge or two in a row."
        yield Finding("name_hyphens", "error", line, message, _NAME_HINT)
    if folder_name is not None and folder_name != name:
        message = f"The name {name[:MAX_NAME]!r} is not the name of its folder, '{folder_name}'."
        yield Finding("name_folder", "error", line, message, "Rename the folder or the skill.")
    reserved = next((word for word in profile.reserved_words if word in name.lower()), None)
    if reserved:
        message = f"The name holds the word '{reserved}', which its owner reserves."
        yield Finding("name_reserved", "error", line, message, "Choose a name without it.")
    yield from _xml(skill, "name", profile)


def _description(skill: Skill, profile: Profile) -> Iterator[Finding]:
    missing = _required(skill, "description")
    if missing:
        yield missing
        return
    length = len(skill.description or "")
    if length > MAX_DESCRIPTION:
        message = f"The description has {length:,} characters; at most {MAX_DESCRIPTION:,} are allowed."
        yield Finding("description_too_long", "error", skill.line_of("description"), message, "Shorten it.")
    yield from _xml(skill, "description", profile)


def _required(skill: Skill, field: str) -> Finding | None:
    line = skill.line_of(field)
    if field not in skill.fields:
        hint = f"Add a line '{field}:' between the '---' lines."
        return Finding(f"{field}_missing", "error", line, f"The skill has no {field}.", hint)
    value = skill.fields[field]
    if value is None or (isinstance(value, str) and not value.strip()):
        hint = "Write one; put it in quotes if the word itself is meant."
        return Finding(f"{field}_missing", "error", line, f"The {field} is empty.", hint)
    if not isinstance(value, str):
        message = f"The {field} is a {_kind_of(value)}, not a string."
        return Finding(f"{field}_not_string", "error", line, message)
    return None


def _xml(skill: Skill, field: str, profile: Profile) -> Iterator[Finding]:
    tag = None if profile.xml_tags else _XML_TAG.search(str(skill.fields[field]))
    if tag:
        message = f"The {field} holds the XML tag {tag[0][:40]}."
        hint = "Its text goes into the host's prompt: write it without angle brackets."
        yield Finding(f"{field}_xml", "error", skill.line_of(field), message, hint)


def _texts(skill: Skill) -> Iterator[Finding]:
    for field in ("license", "compatibility"):
        if field not in skill.fields:
            continue
        value, line = skill.fields[field], skill.line_of(field)
        if value is None:
            yield _empty(field, line)
        elif not isinstance(value, str):
            message = f"The field '{field}' is a {_kind_of(value)}, not a string."
            yield Finding(f"{field}_not_string", "error", line, message)
        elif field == "compatibility" and not 1 <= len(value) <= MAX_COMPATIBILITY:
            message = f"'compatibility' has {len(value)} characters; 1 to {MAX_COMPATIBILITY} are allowed."
            yield Finding("compatibility_length", "error", line, message)


def _metadata(skill: Skill) -> Iterator[Finding]:
    value, line = skill.fields.get("metadata"), skill.line_of("metadata")
    if value is None:
        if "metadata" in skill.fields:
            yield _empty("metadata", line)
        return
    if not isinstance(value, dict):
        message = f"The metadata is a {_kind_of(value)}, not a map of strings."
        yield Finding(
            "metadata_not_map", "error", line, message, "Write one 'key: value' line for each entry."
        )
        return
    for key, item in value.items():
        if not isinstance(item, str):
            what = "empty" if item is None else f"a {_kind_of(item)}"
            message = f"The metadata entry '{key}' is {what}, not a string."
            yield Finding(
                "metadata_value", "error", skill.line_of("metadata", key), message, "Write it as one string."
            )


def _allowed_tools(skill: Skill, profile: Profile) -> Iterator[Finding]:
    value, line = skill.fields.get("allowed-tools"), skill.line_of("allowed-tools")
    if value is None:
        if "allowed-tools" in skill.fields:
            yield _empty("allowed-tools", line)
        return
    strings = isinstance(value, list) and all(isinstance(item, str) for item in value)
    if not isinstance(value, str) and not (strings and profile.tool_lists):
        message = f"The field 'allowed-tools' is a {_kind_of(value)}, not a string."
        hint = "Write the tools in one line with spaces between them: Read Bash(git:*)."
        yield Finding("allowed_tools_not_string", "error", line, message, hint)
    elif isinstance(value, str) and re.search(r",\s", value):
        message = "The tools in 'allowed-tools' are separated by commas."
        hint = "The specification separates them by spaces: a reader may take the comma for part of the name."
        yield Finding("allowed_tools_commas", "warning", line, message, hint)


def _other_fields(skill: Skill, profile: Profile) -> Iterator[Finding]:
    for key, value in skill.fields.items():
        if key in SPEC_FIELDS:
            continue
        line = skill.line_of(key)
        kind = profile.host_fields.get(key)
        if kind is None:
            near = difflib.get_close_matches(
                key.lower(), (*SPEC_FIELDS, *profile.host_fields), n=1, cutoff=0.8
            )
            hint = f"Did you mean '{near[0]}'?" if near else "Move it below 'metadata', or remove it."
            message = f"The field '{key[:60]}' is not one of the {profile.name} profile."
            yield Finding("unknown_field", "error", line, message, hint)
        elif not _is_of(kind, value):
            message = f"The field '{key}' is not {_SAID[kind]}."
            yield Finding("host_field_value", "error", line, message)


_SAID: dict[Kind, str] = {
    "text": "a string",
    "texts": "a string or a list of strings",
    "boolean": "true or false",
    "map": "a map",
    "fork": "the word 'fork'",
}


def _is_of(kind: Kind, value: object) -> bool:
    match kind:
        case "text":
            return isinstance(value, str)
        case "texts":
            return isinstance(value, str) or (
                isinstance(value, list) and all(isinstance(item, str) for item in value)
            )
        case "boolean":
            return value in {"true", "false"} if isinstance(value, str) else False
        case "map":
            return isinstance(value, dict)
        case "fork":
            return value == "fork"


def _typed_words(skill: Skill) -> Iterator[Finding]:
    """Strings that a typed YAML reader turns into something else: `no`, `1.10`, `2024-01-01`."""
    for path, mark in skill.marks.items():
        if not mark.plain or path[0] not in SPEC_FIELDS or len(path) > 2:
            continue
        value = skill.fields[path[0]]
        value = value.get(path[1]) if len(path) == 2 and isinstance(value, dict) else value
        if isinstance(value, str) and is_typed(value):
            message = f"'{'.'.join(path)}' is {value} without quotes, which other readers take for no string."
            yield Finding("unquoted_word", "warning", mark.line, message, f'Write "{value}".')


def _empty(field: str, line: int) -> Finding:
    return Finding(
        "field_empty", "warning", line, f"The field '{field}' is empty.", "Fill it in or remove it."
    )


def _kind_of(value: object) -> str:
    match value:
        case dict():
            return "map"
        case list():
            return "list"
        case _:
            return "string"
