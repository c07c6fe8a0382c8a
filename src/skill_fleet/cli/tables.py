"""The two shapes in which data is shown to people: facts, and rows under headings."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from skill_fleet.cli.plain import plain

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text


def facts(pairs: Iterable[tuple[str, object]]) -> "Table":
    """Names and values, the values in one column."""
    table = _bare()
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(words(name), words(value))
    return table


def rows(headings: Sequence[str], lines: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> "Table":
    """Rows under headings.

    Args:
        headings: One a column; those that begin with `!` are never wrapped.
        lines: The cells.
        right: Headings of the columns of numbers.
    """
    table = _bare()
    table.show_header = True
    for heading in headings:
        name = heading.lstrip("!")
        table.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=heading.startswith("!") or name in right,
            overflow="fold",
            header_style="bold",
        )
    for line in lines:
        table.add_row(*(words(cell) for cell in line))
    return table


def words(value: object, style: str = "") -> "Text":
    """Text as it is: no markup is read in it, no control character acts."""
    from rich.text import Text

    if isinstance(value, Text):
        return value
    return Text(plain("" if value is None else value), style=style)


def group(*parts: "RenderableType | None") -> "Group":
    """One thing under another; None is left out."""
    from rich.console import Group

    return Group(*(part for part in parts if part is not None))


def _bare() -> "Table":
    from rich.table import Table

    return Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
