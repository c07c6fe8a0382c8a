"""Where a command writes: data to stdout, words to stderr, each as it was asked for."""

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from skill_fleet.cli.plain import plain

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_NO_WRAP = 10_000


@dataclass(frozen=True)
class Screen:
    """The two streams of a command.

    The streams are those of the moment the screen is made: an optimizer's chatter is redirected elsewhere
    while it works.

    Attributes:
        as_json: Data is JSON.
        quiet: Nothing on stderr but errors.
        out: For data.
        err: For words.
    """

    as_json: bool = False
    quiet: bool = False
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)

    @property
    def width(self) -> int:
        """Columns of stdout: a terminal's, else without end."""
        return console(self.out).width

    def data(self, value: Any, shown: "Callable[[Any], RenderableType]") -> None:
        """The answer: as JSON, or as `shown` shows it to a person."""
        if self.as_json:
            self.lines([value])
        else:
            screen = console(self.out)
            with screen.capture() as captured:
                screen.print(shown(value))
            self.out.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
            self.out.flush()

    def lines(self, values: Iterable[Any]) -> None:
        """JSON, one value a line, each as soon as it is there."""
        for value in values:
            self.out.write(json.dumps(value, ensure_ascii=True, allow_nan=False) + "\n")
        self.out.flush()

    def note(self, text: str) -> None:
        """A word by the way; nothing when quiet."""
        if not self.quiet:
            self.err.write(f"{plain(text)}\n")
            self.err.flush()

    def warn(self, text: str) -> None:
        """What has to be said even when quiet."""
        self.err.write(f"{plain(text)}\n")
        self.err.flush()


def console(stream: TextIO) -> "Console":
    """A console on a stream: as wide as a terminal, unwrapped and plain in a pipe. Honours NO_COLOR."""
    from rich.console import Console

    width = None if stream.isatty() else _NO_WRAP
    made = Console(file=stream, width=width, highlight=False, markup=False, emoji=False)
    if not made.no_color:
        return made
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, color_system=None)
