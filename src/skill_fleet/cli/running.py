"""A run from the terminal: progress, Ctrl-C, result, exit code. For `optimize` and for `runs resume`."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from skill_fleet.cli.option_groups import options_of
from skill_fleet.cli.options import Globals
from skill_fleet.cli.progress import Counter, counting, watching
from skill_fleet.cli.screen import Screen
from skill_fleet.cli.waiting import waited

if TYPE_CHECKING:
    from skill_fleet.cli.page import Page
    from skill_fleet.optimization.session import Control
    from skill_fleet.services.context import Context
    from skill_fleet.services.optimization import Prepared

T = TypeVar("T")
_SHOW_CURSOR = "\x1b[?25h"


def carried_out(context: "Context", prepared: "Prepared", view: Screen, before: Globals) -> int:
    """Run it, show it, and say how it ended.

    Returns:
        0 for any verdict, else the exit code of what stopped it.
    """
    from skill_fleet.cli.show_run import shown_result
    from skill_fleet.optimization.session import Control, quiet
    from skill_fleet.services.optimization import begin, start_optimization

    hush_dspy(view)
    control = Control()
    folder = begin(context, prepared)
    resume = before.command(f"runs resume {folder.run_id}")

    with watching(view) as watcher, quiet(folder):

        def stop() -> None:
            control.interrupt()
            watcher.say("Stopping: calls under way end first. Ctrl-C again to stop at once.")
            watcher.say(f"To go on: {resume}")

        finished = waited(
            lambda: start_optimization(context, prepared, folder, listener=watcher, control=control),
            on_first=stop,
            on_second=lambda: restore(view),
        )
    value = finished.result.to_json()
    view.data(value, shown_result)
    if finished.error is None:
        return 0
    said = " ".join(part for part in (finished.error.message, finished.error.hint) if part)
    view.warn(f"error: {said}")
    if value["resume"]:
        more = _raised(prepared, value) if value["stop_reason"] == "budget" else ""
        view.warn(f"To go on: {resume}{more}")
    return finished.error.exit_code


def _raised(prepared: "Prepared", result: Mapping[str, Any]) -> str:
    """Options that raise the caps of a run that met one."""
    from skill_fleet.optimization.ending.raising import raised_caps

    return options_of(raised_caps(prepared.plan.request.limits, result))


def worked(view: Screen, title: str, work: Callable[["Control", Counter], T]) -> T:
    """Something shorter than a run; the first Ctrl-C lets no further call through.

    Args:
        view: For progress.
        title: What is being done.
        work: Given a control and whom to tell how far it is.
    """
    from skill_fleet.optimization.session import Control

    hush_dspy(view)
    control = Control()

    def stop() -> None:
        control.interrupt()
        view.warn("Stopping: calls under way end first. Ctrl-C again to stop at once.")

    with counting(view, title) as done:
        control.on_wait = lambda waiting: done.waits(waiting.message)
        return waited(lambda: work(control, done), on_first=stop, on_second=lambda: restore(view))


def read(view: Screen, work: Callable[["Control", "Page"], T]) -> T:
    """The same, for what is written before the reader's eyes.

    Args:
        view: A terminal.
        work: Given a control and the page that it is shown on.
    """
    from skill_fleet.cli.page import reading
    from skill_fleet.optimization.session import Control

    hush_dspy(view)
    control = Control()
    with reading(view) as page:
        control.on_wait = lambda waiting: page.waits(waiting.message)

        def stop() -> None:
            control.interrupt()
            page.say("Stopping: calls under way end first. Ctrl-C again to stop at once.")

        return waited(lambda: work(control, page), on_first=stop, on_second=lambda: restore(view))


def restore(view: Screen) -> None:
    """The terminal's cursor, which a moving line hides."""
    if view.err.isatty():
        view.err.write(_SHOW_CURSOR)
        view.err.flush()


def hush_dspy(view: Screen) -> None:
    """DSPy's log lines do not come between ours; while an optimizer works they go to its own log file."""
    import logging
    import sys

    for handler in logging.getLogger("dspy").handlers:
        handler.addFilter(lambda _record: sys.stderr is not view.err)
