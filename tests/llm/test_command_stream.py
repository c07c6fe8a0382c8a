"""What a program prints, as a stream: line by line, and in the end the very answer that `complete` gives."""

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from dspy.lm15 import Message, Request, materialize_response
from dspy.utils.exceptions import LMAuthError, LMServerError
from hypothesis import given
from hypothesis import strategies as st

from clocks import FakeClock
from command_programs import alive, python, script, seen
from skill_fleet.config.settings import Calls, ModelSpec
from skill_fleet.llm.calls.engine import Retry
from skill_fleet.llm.commands.model import CommandModel
from skill_fleet.llm.commands.stream import Printed, plain
from skill_fleet.llm.limits.limiters import Limiters

REQUEST = Request(model="command/t", messages=(Message.user("x"),))
LINES = "".join(f"[[ ## field_{number} ## ]]\nsome words of field {number}\n\n" for number in range(40))
SLOW = (
    f"import time\nfor line in {LINES!r}.splitlines(True): print(line, end='', flush=True); time.sleep(0.005)"
)


def model(command: Any, **more: Any) -> CommandModel:
    return CommandModel(ModelSpec(model="command/t", command=tuple(command), **more), dict(os.environ))


def texts(events: Any) -> list[str]:
    return [event.delta.text for event in events if event.type == "delta"]


PARTS = st.one_of(
    st.sampled_from(["\n", "\r\n", " ", "\x1b[1m", "\x1b]8;;u\x07", "\x1b]8;;\n", "\x1b", "\ufeff", "\x00"]),
    st.text(max_size=8),
    st.text("ab \n", min_size=100, max_size=400),
)


@given(st.lists(PARTS, max_size=30).map("".join), st.integers(1, 50))
def test_the_pieces_and_the_rest_are_the_whole(text: str, size: int) -> None:
    output = text.encode("utf-8", "replace")
    printed = Printed()
    pieces = [printed.more(output[at : at + size]) for at in range(0, len(output), size)]
    assert "".join(pieces) == printed.shown
    assert plain(output).startswith(printed.shown)


HALVES = """
import sys, time, os
lines = {lines!r}.splitlines(True)
print(*lines[:60], sep='', end='', flush=True)
for _ in range(6000):
    if os.path.exists({heard!r}):
        break
    time.sleep(0.01)
else:
    sys.exit(3)
print(*lines[60:], sep='', end='', flush=True)
"""


def test_lines_come_while_it_still_runs(tmp_path: Path) -> None:
    """The second half is printed only after the first has been heard."""
    heard = tmp_path / "heard"
    came = []
    for event in model(python(HALVES.format(lines=LINES, heard=str(heard)))).stream(REQUEST):
        came += texts([event])
        if not heard.exists() and "field 10" in "".join(came):
            heard.touch()
    assert len(came) > 1
    assert "".join(came) == LINES.strip()


def test_a_stream_and_a_whole_answer_are_the_same() -> None:
    made = model(python(SLOW))
    whole = made.complete(REQUEST)
    streamed = materialize_response(made.stream(REQUEST), REQUEST)
    assert streamed.message == whole.message
    assert (streamed.finish_reason, streamed.usage) == (whole.finish_reason, whole.usage)


def test_a_short_answer_and_an_empty_one() -> None:
    assert texts(model(["echo", "fine"]).stream(REQUEST)) == ["fine"]
    assert texts(model(["true"]).stream(REQUEST)) == [""]


def test_a_message_in_place_of_an_answer_is_not_shown() -> None:
    stream = model(["echo", "Not logged in"]).stream(REQUEST)
    assert next(stream).type == "start"
    with pytest.raises(LMAuthError):
        next(stream)


def test_a_failure_after_half_an_answer_comes_after_it() -> None:
    shown = []
    with pytest.raises(LMServerError):  # noqa: PT012 - what came before it is looked at
        for event in model(python(SLOW + "\nraise SystemExit(3)")).stream(REQUEST):
            shown += texts([event])
    assert LINES.strip().startswith("".join(shown))
    assert shown


def test_who_stops_listening_ends_it(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    text = f"echo $$ > {pids}; while :; do echo a line of some words; sleep 0.001; done"
    stream = model(script(tmp_path / "m", text)).stream(REQUEST)
    assert [next(stream).type, next(stream).type] == ["start", "delta"]
    stream.close()
    assert seen(lambda: not alive(int(pids.read_text())))


def test_tasks_are_told_too_and_may_stop(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    endless = model(
        script(tmp_path / "m", f"echo $$ > {pids}; while :; do echo a line of words; sleep 0.001; done")
    )

    async def listening() -> str:
        whole = [event async for event in model(python(SLOW)).astream(REQUEST)]
        async for event in (stream := endless.astream(REQUEST)):
            if event.type == "delta":
                break
        await stream.aclose()
        return "".join(texts(whole))

    assert asyncio.run(listening()) == LINES.strip()
    assert seen(lambda: not alive(int(pids.read_text())))


def test_through_the_call_path_a_stream_is_one_call_and_is_found_again(rig: Any) -> None:
    spec = ModelSpec(model="command/t", command=python(SLOW))
    limiter = Limiters().of(spec, None, FakeClock(), Calls())
    made = rig(CommandModel(spec, dict(os.environ)), spec=spec, retry=Retry(base=0.0), limiter=limiter)
    first = "".join(texts(made.engine.stream(REQUEST)))
    again = "".join(texts(made.engine.stream(REQUEST)))
    assert first == again == made.engine.complete(REQUEST).message.text == LINES.strip()
    assert made.spent.calls == 1


def test_who_stops_listening_waits_until_the_program_is_gone(tmp_path: Path) -> None:
    """It ends slowly: without the wait it would still be there when the reader has gone on."""
    pid = tmp_path / "pid"
    text = (
        "import os, signal, time\n"
        f"open({str(pid)!r}, 'w').write(str(os.getpid()))\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), os._exit(0)))\n"
        f"print({LINES!r}, flush=True)\ntime.sleep(60)"
    )
    events = model(python(text)).stream(REQUEST)
    assert next(events).type == "start"
    assert next(events).type == "delta"
    events.close()  # type: ignore[attr-defined]
    assert not alive(int(pid.read_text()))
    assert not any(thread.name == "command" for thread in threading.enumerate())
