"""How far a run is: one moving line on a terminal, a line now and then in a pipe, nothing when quiet."""

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from skill_fleet.cli.numbers import score, seconds, several, share
from skill_fleet.cli.screen import Screen, console
from skill_fleet.cli.tables import words

if TYPE_CHECKING:
    from rich.progress import Progress

    from skill_fleet.optimization.records.events import Event


_WAITING_EVERY = 10.0
_STAGES = {
    "preflight": "Preflight",
    "baseline": "Baseline",
    "search": "Search",
    "validation": "Validation",
    "candidates": "Candidates, from the journal",
    "held out": "Held-out examples",
    "sealed test": "Sealed test",
}


_TOLD_AT_ONCE = frozenset({"slow_round", "small_test_set"})  # the others stand with the result


class Counter(Protocol):
    """Told how far something is."""

    def __call__(self, done: int, total: int, /) -> None:
        """So many are done, of how many."""
        ...

    def waits(self, text: str) -> None:
        """It waits, and for what; said about once a second."""
        ...


class Watcher(Protocol):
    """Told of every event of a run, in whatever thread it happens."""

    def __call__(self, event: "Event") -> None:
        """Something happened."""
        ...

    def say(self, text: str) -> None:
        """A line that must be read, put where it breaks nothing."""
        ...


@contextmanager
def watching(screen: Screen) -> Iterator[Watcher]:
    """A watcher that shows a run on stderr for as long as it lasts."""
    if screen.quiet:
        yield _Silent(screen)
    elif not screen.err.isatty():
        yield _Lines(screen)
    else:
        with _bar(screen) as progress:
            yield _Moving(progress)


@contextmanager
def counting(screen: Screen, title: str) -> Iterator[Counter]:
    """Whom to tell how many are done, of how many: a moving line on a terminal, one line in a pipe."""
    if screen.quiet:
        yield _Uncounted()
    elif not screen.err.isatty():
        yield _Titled(screen, title)
    else:
        with _bar(screen) as progress:
            yield _Counted(progress, title)


def milestone(kind: str, data: Mapping[str, Any]) -> str | None:
    """An event worth a line, or None."""
    if kind == "waiting":
        return str(data["message"])
    if "fold" not in data:
        return _said(kind, data)
    # Of a fold, what came of it: a line for each of its stages would be many.
    return f"{_fold(data)}. {_held_out(data)}" if kind == "fold" else None


def _said(kind: str, data: Mapping[str, Any]) -> str | None:
    if kind == "baseline":
        return f"Baseline on validation: {score(data['validation'])} ({data['examples']} examples)."
    if kind == "power":
        return power(data)
    if kind == "round":
        took = f"{seconds(data['seconds'])}, {data['calls']} calls"
        cut = data.get("stopped")
        ended = "" if cut is None else " interrupted" if cut == "interrupted" else f" cut short ({cut})"
        return f"Round {data['round']}{ended}: {score(data['score'])}, best {score(data['best'])} ({took})."
    if kind in {"test", "incumbent"}:
        name, found = (
            ("what was published before", "test") if kind == "incumbent" else (data["program"], "mean")
        )
        return f"Sealed test, {name}: {score(data[found])}."
    if kind == "warning" and data["code"] in _TOLD_AT_ONCE:
        return f"Warning: {data['message']}"
    return None


def _fold(data: Mapping[str, Any]) -> str:
    return f"Fold {data['fold']} of {data['folds']}"


def _held_out(data: Mapping[str, Any]) -> str:
    gain = "no score" if data["gain"] is None else f"{data['gain']:+.3f}"
    return f"Gain on the {data['examples']} held-out examples: {gain}."


def power(data: Mapping[str, Any]) -> str | None:
    """What the test is expected to show, in a sentence; None where no spread was seen."""
    if not data["sd"]:
        return None
    where = f"{several(data['groups'], 'group')}, reading {data['reading']}"
    test = f"{data['folds']} folds" if data.get("folds") else "the sealed test"
    if 2.0 ** (1 - data["groups"]) > data["alpha"]:  # however all groups agree
        return f"No difference can be shown on {test} ({where})."
    effect, seen = data["effect"], "perhaps no difference"
    if effect is not None:
        seen = f"a difference of about {effect:.2g}, in 8 of 10 runs"
    return (
        f"Expected to show on {test}: {seen} "
        f"({where}; differences assumed to spread by {data['sd']:.2g}, from the baseline's scores)."
    )


def stage(data: Mapping[str, Any]) -> str:
    """What a run is at, in words."""
    name = str(data["stage"])
    title = _STAGES.get(name, name[:1].upper() + name[1:])
    title = f"{title}, round {data['round']}" if "round" in data else title
    return f"{_fold(data)} · {title}" if "fold" in data else title


def _line(data: Mapping[str, Any]) -> str:
    """What a line is written for: a stage, or a whole fold."""
    return _fold(data) if "fold" in data else stage(data)


class _Uncounted:
    """Nothing is shown."""

    def __call__(self, done: int, total: int, /) -> None:
        pass

    def waits(self, text: str) -> None:
        pass


class _Titled:
    """A line when it begins, and one now and then while it waits."""

    def __init__(self, screen: Screen, title: str) -> None:
        self._screen = screen
        self._title = title
        self._begun = threading.Event()
        self._lock = threading.Lock()
        self._waited = -math.inf

    def __call__(self, _done: int, _total: int, /) -> None:
        if not self._begun.is_set():
            self._begun.set()
            self._screen.note(f"{self._title} …")

    def waits(self, text: str) -> None:
        now = time.monotonic()
        with self._lock:
            if now - self._waited < _WAITING_EVERY:
                return
            self._waited = now
        self._screen.note(text)


class _Counted:
    """One line that moves."""

    def __init__(self, progress: "Progress", title: str) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=None, detail="")

    def __call__(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total, detail=f"{done} of {total}")

    def waits(self, text: str) -> None:
        self._progress.update(self._task, detail=text)


class _Silent:
    """Nothing is shown but what must be."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def __call__(self, event: "Event") -> None:
        pass

    def say(self, text: str) -> None:
        self._screen.warn(text)


class _Lines:
    """A line for every milestone and every new stage."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._stage = ""
        self._told: set[str] = set()

    def say(self, text: str) -> None:
        self._screen.warn(text)

    def __call__(self, event: "Event") -> None:
        if event.kind == "waiting" and not event.number:
            return  # the kept ones are enough
        text = milestone(event.kind, event.data)
        if text is not None:
            self._screen.note(text)
        elif event.kind == "progress" and self._is_new(event.data):
            total = None if "fold" in event.data else event.data.get("total")
            self._screen.note(f"{self._stage}: {total} examples …" if total else f"{self._stage} …")

    def _is_new(self, data: Mapping[str, Any]) -> bool:
        """Whether it is another stage; of a job elsewhere, one not told before it was taken up again."""
        before, self._stage = self._stage, _line(data)
        known = self._told if "share" in data else {before}
        found = self._stage not in known
        self._told.add(self._stage)
        return found


class _Moving:
    """One line that moves, the milestones above it."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._stage = "Starting"
        self._task = progress.add_task(self._stage, total=None, detail="")

    def __call__(self, event: "Event") -> None:
        if event.kind == "waiting":
            self._progress.update(self._task, detail=str(event.data["message"]))
            return
        text = milestone(event.kind, event.data)
        if text is not None:
            self.say(text)
        elif event.kind == "progress":
            self._show(event.data)

    def say(self, text: str) -> None:
        self._progress.console.print(words(text))

    def _show(self, data: Mapping[str, Any]) -> None:
        title = stage(data)
        if title != self._stage:
            self._stage = title
            self._progress.remove_task(self._task)
            self._task = self._progress.add_task(title, total=None, detail="")
        done, total, detail = data.get("done", 0), data.get("total"), _detail(data)
        if "share" in data:  # of a job elsewhere
            done, total = data["share"], 1.0
        self._progress.update(self._task, total=total, completed=done, detail=detail)


def _detail(data: Mapping[str, Any]) -> str:
    """What was done, and how long it took; of a job elsewhere, how far it is."""
    if "share" in data:
        return f"{share(data['share'])} · {data['calls']} calls"
    rollouts = data.get("rollouts")
    tried = f"{rollouts} {'try' if rollouts == 1 else 'tries'} · " if rollouts else ""
    replayed = f" + {data['from_journal']} from the journal" if data["from_journal"] else ""
    return f"{tried}{data['calls']} calls{replayed} · {seconds(data['seconds'])}"


def _bar(screen: Screen) -> "Progress":
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[detail]}", style="dim"),
        console=console(screen.err),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
