"""Begins two streams and ends, started by `test_streams_forgotten.py`: child_stream.py DIRECTORY.

One of them is forgotten just before, the other is still there. Says how many are booked when the
interpreter has not yet begun to clear up.
"""

import atexit
import sys
from pathlib import Path


@atexit.register  # before ours: it is called after ours
def _told() -> None:
    spent = line.journal.spent("run")
    sys.stdout.write(f"{spent.failed} of {spent.calls} booked\n")


from dspy.lm15 import Message, Request  # noqa: E402

from skill_fleet.config.settings import ModelSpec  # noqa: E402
from skill_fleet.foundation.clock import SYSTEM_CLOCK  # noqa: E402
from skill_fleet.llm.budget import Account, Gate, Limits  # noqa: E402
from skill_fleet.llm.calls.engine import Line, MeteredEngine  # noqa: E402
from skill_fleet.llm.journal.journal import Journal  # noqa: E402
from streaming_models import WordByWord  # noqa: E402


def begun(engine: MeteredEngine, text: str) -> object:
    stream = engine.stream(Request(model="offline/scripted", messages=(Message.user(text),)))
    next(stream)
    return stream


root = Path(sys.argv[1])
line = Line(Journal(root / "ledger", root / "responses"), "run", SYSTEM_CLOCK)
gate = Gate(Account(Limits(), SYSTEM_CLOCK))
model = WordByWord(answer=lambda _: "One two three.")
made = MeteredEngine(model, ModelSpec(model="offline/scripted"), line, gate, None)
kept, forgotten = begun(made, "kept"), begun(made, "forgotten")
del forgotten
