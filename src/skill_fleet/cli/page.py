"""A skill while it is written: the step, how much there is, and the last lines, on a terminal."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skill_fleet.cli.numbers import several
from skill_fleet.cli.plain import plain
from skill_fleet.cli.screen import Screen, console
from skill_fleet.cli.tables import words

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

_STEPS = {
    "understand": "Understanding the task",
    "plan": "Planning",
    "write": "Writing",
    "review": "Reviewing",
    "repair": "Repairing",
    "": "Advising",
}
# Marks of DSPy's forms around what a field says, also where one has only half arrived.
_MARKS = re.compile(r"\[\[ ## \w+ ## \]\]\n?|\[\[?(?: #{0,2}(?: \w*(?: #{0,2} ?\]?)?)?)?$")
_MOST_LINES = 8
_LEAST_ROWS = 6  # on a screen of fewer rows there is the line of the step alone
_FRAMES = 8.0


@dataclass
class _Told:
    """What is on the page. Guarded by the page's lock."""

    step: str = "Starting"
    attempt: int = 0
    text: str = ""
    thoughts: str = ""
    draft: int = 1
    drafts: int = 1
    waits: str = ""

    def head(self) -> str:
        """What is being done, and how far it is."""
        parts = [f"Draft {self.draft} of {self.drafts}"] if self.drafts > 1 else []
        parts.append(self.step)
        if self.attempt > 1:
            parts.append(f"attempt {self.attempt}")
        if self.text:
            parts.append(several(len(_read(self.text).split()), "word"))
        elif self.thoughts:
            parts.append(f"thinking, {several(len(self.thoughts.split()), 'word')}")
        if self.waits:
            parts.append(self.waits)
        return " · ".join(parts)


def _read(text: str) -> str:
    return _MARKS.sub("", text).strip("\n")


class Page:
    """A `Reader` that shows what it hears. Told in the thread of the work, drawn in one of its own.

    Args:
        live: Draws it.
    """

    def __init__(self, live: "Live") -> None:
        from rich.spinner import Spinner

        self._live = live
        self._spinner = Spinner("dots")
        self._told = _Told()
        self._lock = threading.Lock()

    def step(self, name: str) -> None:
        """The program takes a step."""
        with self._lock:
            title = _STEPS.get(name, name.replace("_", " ").capitalize())
            self._told = _Told(title, draft=self._told.draft, drafts=self._told.drafts)

    def begins(self) -> None:
        """An attempt begins: what the one before it said is void."""
        with self._lock:
            self._told.attempt += 1
            self._told.text = self._told.thoughts = ""

    def says(self, text: str, *, thought: bool) -> None:
        """The next piece."""
        with self._lock:
            self._told.waits = ""
            if thought:
                self._told.thoughts += text
            else:
                self._told.text += text

    def waits(self, text: str) -> None:
        """The provider is waited for, until it says something."""
        with self._lock:
            self._told.waits = text

    def drafted(self, done: int, total: int) -> None:
        """So many drafts are there."""
        with self._lock:
            self._told.draft, self._told.drafts = min(done + 1, total), total

    def say(self, text: str) -> None:
        """A line that must be read, above the page."""
        self._live.console.print(words(text))

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        with self._lock:
            head = self._told.head()
            shown = _read(self._told.text) or self._told.thoughts
            dim = not self._told.text
        width = options.max_width
        title = Text(head, style="bold", no_wrap=True, overflow="ellipsis")
        title.truncate(max(1, width - 2), overflow="ellipsis")
        self._spinner.text = title
        yield self._spinner
        room = min(_MOST_LINES, options.size.height - 3) if options.size.height >= _LEAST_ROWS else 0
        if shown and room > 0 and width > 4:
            # The last lines come from the last characters: all of a long text need not be wrapped.
            lines = Text(plain(shown[-width * room * 2 :])).wrap(console, width - 2)
            for one in list(lines)[-room:]:
                one.rstrip()
                yield Text.assemble(("│ ", "dim"), Text(one.plain, style="dim" if dim else ""))


def shows_pages(view: Screen) -> bool:
    """Whether somebody reads along: on a terminal that can move its cursor, and not for data alone."""
    return not (view.quiet or view.as_json) and view.err.isatty() and not console(view.err).is_dumb_terminal


@contextmanager
def reading(view: Screen) -> Iterator[Page]:
    """A page on stderr for as long as it lasts; then it is gone."""
    from rich.live import Live

    live = Live(
        console=console(view.err),
        transient=True,
        refresh_per_second=_FRAMES,
        redirect_stdout=False,
        redirect_stderr=False,
        vertical_overflow="crop",
    )
    page = Page(live)
    live.update(page)
    with live:
        yield page
