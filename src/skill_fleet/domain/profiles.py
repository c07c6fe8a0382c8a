"""Whose rules a skill is held to.

`spec`
    The Agent Skills specification (agentskills.io/specification). Its rules are errors, its advice is
    warnings.
`strict`
    The same with every warning an error: what a published library should pass.
`claude`
    The specification and the rules of Claude's hosts on top: no XML tags in name and description, no
    reserved word in the name, a list allowed in `allowed-tools`, and the frontmatter keys that Claude Code
    documents (its reference of skill frontmatter): `when_to_use`, `argument-hint`, `arguments`,
    `disable-model-invocation`, `user-invocable`, `model`, `effort`, `context`, `agent`, `hooks`, `paths`,
    `shell`. Of 688 public skills, 24 use `disable-model-invocation`, 16 `argument-hint`, one each
    `user-invocable` and `context`; the others are accepted because they are documented. `version` (14
    skills, all of one repository), `category` and `authors` (one each) are not accepted: no host reads
    them, and `metadata` is their place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from skill_fleet.foundation.errors import UnknownName

Kind = Literal["text", "texts", "boolean", "map", "fork"]
"""What a host's own field holds: a string, a string or list of strings, true or false, a map, `fork`."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A set of rules.

    Args:
        name: What users call it.
        host_fields: Fields accepted beside the specification's, and what each holds.
        tool_lists: Whether `allowed-tools` may be a list.
        reserved_words: Words that the name may not hold.
        xml_tags: Whether name and description may hold XML tags.
        warnings_are_errors: Whether advice counts as a rule.
    """

    name: str
    host_fields: Mapping[str, Kind] = field(default_factory=dict)
    tool_lists: bool = False
    reserved_words: tuple[str, ...] = ()
    xml_tags: bool = True
    warnings_are_errors: bool = False


PROFILES: Mapping[str, Profile] = {
    "spec": Profile("spec"),
    "strict": Profile("strict", warnings_are_errors=True),
    "claude": Profile(
        "claude",
        host_fields={
            "when_to_use": "text",
            "argument-hint": "texts",
            "arguments": "texts",
            "disable-model-invocation": "boolean",
            "user-invocable": "boolean",
            "model": "text",
            "effort": "text",
            "context": "fork",
            "agent": "text",
            "hooks": "map",
            "paths": "texts",
            "shell": "text",
        },
        tool_lists=True,
        reserved_words=("anthropic", "claude"),
        xml_tags=False,
    ),
}


def profile_named(name: str) -> Profile:
    """The profile of this name.

    Raises:
        UnknownName: There is none.
    """
    if name not in PROFILES:
        raise UnknownName("profile", name, PROFILES)
    return PROFILES[name]
