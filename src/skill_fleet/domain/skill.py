"""A skill: one SKILL.md, parsed without loss.

The exact bytes are the truth; name, fields and body are read from them, and an edit changes only the lines
it is about. Nothing raises on what a file holds: what is wrong with it is in `problems`, and the rules of the
specification are in `skill_fleet.domain.spec`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Self

from skill_fleet.domain.editing import checked_body, set_body, set_field
from skill_fleet.domain.finding import Finding
from skill_fleet.domain.frontmatter import Document, take_apart
from skill_fleet.domain.plain_yaml.tree import Mark
from skill_fleet.domain.plain_yaml.write import field_lines
from skill_fleet.foundation.errors import NotFound, StorageError

SKILL_FILE = "SKILL.md"
SPEC_FIELDS = ("name", "description", "license", "compatibility", "metadata", "allowed-tools")
"""The fields of the specification, in its order."""


@dataclass(frozen=True)
class Skill:
    """One SKILL.md with its exact bytes.

    Args:
        source: The file's bytes.
        path: Where it was read from, or None.
    """

    source: bytes
    path: Path | None = None

    @classmethod
    def parse(cls, source: bytes | str, path: Path | None = None) -> Self:
        """A skill from bytes or text; never raises, whatever the bytes are."""
        return cls(source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source, path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The skill in a SKILL.md, or in the folder that holds one.

        Raises:
            NotFound: There is no such file, or no SKILL.md in the folder.
            StorageError: It cannot be read.
        """
        file = path / SKILL_FILE if path.is_dir() else path
        try:
            return cls(file.read_bytes(), file)
        except (FileNotFoundError, NotADirectoryError):
            hint = f"The file must be called {SKILL_FILE}, in capitals." if path.is_dir() else ""
            raise NotFound(f"There is no skill at {file}.", hint=hint) from None
        except OSError as error:
            raise StorageError(f"The skill {file} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise NotFound(f"There is no skill at {str(file)!r}: {error}.") from None

    @classmethod
    def compose(cls, fields: Mapping[str, object], body: str) -> Self:
        """A new skill: the specification's fields in its order, then the others in theirs.

        Strings are quoted only where another YAML reader would read something else. Reading it back gives the
        same fields (a bool or number comes back as its text), and the same body with LF line ends.

        Args:
            fields: str, bool, int, float, or maps and lists of these; a field that is None is left out.
            body: The Markdown after the frontmatter; blank lines before it are dropped.

        Raises:
            DataError: A key or value cannot stand in a SKILL.md.
        """
        order = [
            *(key for key in SPEC_FIELDS if key in fields),
            *(key for key in fields if key not in SPEC_FIELDS),
        ]
        written = [line for key in order if fields[key] is not None for line in field_lines(key, fields[key])]
        text = checked_body(body)
        lines = ["---", *written, "---", *([""] if text else []), text]
        return cls("\n".join(lines).encode("utf-8"))

    @cached_property
    def document(self) -> Document:
        """The file taken apart."""
        return take_apart(self.source)

    @property
    def name(self) -> str | None:
        """The field `name` when it is a string."""
        return self._text("name")

    @property
    def description(self) -> str | None:
        """The field `description` when it is a string."""
        return self._text("description")

    @cached_property
    def fields(self) -> Mapping[str, object]:
        """All fields in the order of the file: str, None (an empty value), list or dict; never a number."""
        return MappingProxyType(self.document.tree.fields)

    @property
    def marks(self) -> Mapping[tuple[str, ...], Mark]:
        """Where each field stands, by its path of keys."""
        return self.document.tree.marks

    @property
    def body(self) -> str:
        """The Markdown after the frontmatter, from its first line that is not blank, with LF line ends."""
        return self.document.body

    @property
    def body_line(self) -> int:
        """The line of the file, from 1, on which the body starts."""
        return self.document.body_line

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What is wrong with the bytes, the delimiters and the YAML."""
        return self.document.problems

    def line_of(self, *keys: str) -> int:
        """The line of a field, or of the opening delimiter (1 without any) when the field is absent."""
        mark = self.marks.get(keys)
        return mark.line if mark else max(self.document.open_line, 1)

    def render(self) -> bytes:
        """The file's bytes: of an unedited skill, the ones it was read from."""
        return self.source

    def with_field(self, key: str | tuple[str, ...], value: object) -> Self:
        """The skill with one field changed; every line that is not the field's own keeps its bytes.

        Args:
            key: A field, or the path of one inside maps: `("metadata", "version")`.
            value: As in `compose`; None removes the field. A map changes a map entry by entry.

        Raises:
            DataError: The frontmatter is broken or written so that no line can be changed alone, or the value
                cannot stand in it.
        """
        path = (key,) if isinstance(key, str) else key
        return type(self)(set_field(self.source, path, value), self.path)

    def with_body(self, text: str) -> Self:
        """The skill with another body, in the file's own line ends.

        Raises:
            DataError: The text holds a NUL or half a surrogate pair.
        """
        return type(self)(set_body(self.source, text), self.path)

    def _text(self, key: str) -> str | None:
        value = self.document.tree.fields.get(key)
        return value if isinstance(value, str) else None
