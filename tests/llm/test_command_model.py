"""Programs as models: what they get, what is taken from them, and that nothing of them is left."""

import asyncio
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dspy.lm15 import Message, Request
from dspy.utils.exceptions import (
    LMAuthError,
    LMConfigurationError,
    LMProviderError,
    LMServerError,
    LMTimeoutError,
)

from clocks import FakeClock
from command_programs import Rendezvous, alive, python, script, seen
from skill_fleet.config.settings import Calls, ModelSpec, PriceOverride
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.calls.engine import Retry
from skill_fleet.llm.commands import process
from skill_fleet.llm.commands.model import CommandModel
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.limits.limiters import Limiters

REQUEST = Request(model="command/t", messages=(Message.user("Say [[ ## a ## ]] – ü."),), system="Be kind.")
FIELDS = "[[ ## answer ## ]]\nfine\n\n[[ ## completed ## ]]"


def spec(command: Any, **more: Any) -> ModelSpec:
    return ModelSpec(model="command/t", command=tuple(command), **more)


def model(command: Any, environ: dict[str, str] | None = None, **more: Any) -> CommandModel:
    return CommandModel(spec(command, **more), dict(os.environ) if environ is None else environ)


def said(command: Any, **more: Any) -> str:
    return model(command, **more).complete(REQUEST).message.text or ""


def pids_in(place: Path) -> list[int]:
    return [int(word) for word in place.read_text().split()] if place.exists() else []


def test_the_prompt_comes_in_whole_and_the_answer_comes_back(tmp_path: Path) -> None:
    text = said(script(tmp_path / "m", "cat"))
    assert "=== system ===\nBe kind." in text
    assert text.endswith("=== user ===\nSay [[ ## a ## ]] – ü.")


def test_nothing_is_known_of_what_it_used() -> None:
    answer = model(["echo", "hi"]).complete(REQUEST)
    assert (answer.message.text, answer.finish_reason) == ("hi", "stop")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (None, None)


def test_arguments_pass_no_shell() -> None:
    assert said(["printf", "%s|", "$HOME", "a b", "*", "; echo no", ""]) == "$HOME|a b|*|; echo no||"


def test_it_starts_in_an_empty_folder_that_goes_with_it(tmp_path: Path) -> None:
    program = "import os; d=os.getcwd(); print(d, os.listdir('.')); open('left','w').write('x')"
    folder, listing = said(python(program)).split(" ", 1)
    assert listing == "[]"
    assert not Path(folder).exists()
    assert folder != said(python(program)).split(" ", 1)[0]


def test_it_has_no_terminal_and_a_session_of_its_own() -> None:
    program = """
import os
try:
    os.open("/dev/tty", os.O_RDWR); print("terminal")
except OSError:
    print("none", os.getsid(0) == os.getpid() == os.getpgid(0))
"""
    assert said(python(program)) == "none True"


def test_no_key_and_no_open_file_of_ours_reaches_it(tmp_path: Path) -> None:
    environ = {**os.environ, "OPENAI_API_KEY": "sk-planted", "SKILL_FLEET_API_KEY": "planted"}
    environ |= {"MY_KEY": "given", "LC_ALL": "C.UTF-8"}
    program = (
        "import os, json; print(json.dumps([dict(os.environ),"
        " sorted(int(n) for n in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/'+n))]))"
    )
    with (tmp_path / "ours").open("w"):
        got, files = json.loads(said(python(program), environ=environ, command_env=["MY_KEY"]))
    assert set(got) <= {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "MY_KEY"}
    assert got["MY_KEY"] == "given"
    assert files == [0, 1, 2]


def test_a_program_that_reads_nothing_answers_all_the_same() -> None:
    long = Request(model="m", messages=(Message.user("x" * 2_000_000),))
    assert model(["echo", "fine"]).complete(long).message.text == "fine"


def test_it_may_talk_while_it_reads_and_say_much_on_its_standard_error() -> None:
    program = """
import sys
for line in sys.stdin:
    sys.stderr.write("w" * 3000); sys.stdout.write("." * 3000)
"""
    long = Request(model="m", messages=(Message.user("x\n" * 1000),))
    assert len(model(python(program)).complete(long).message.text or "") > 3_000_000


@pytest.mark.parametrize(
    ("printed", "taken"),
    [
        (b"\xef\xbb\xbfhello\r\nyou\r\n", "hello\nyou"),
        (
            b"\x1b[1;32mgreen\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x1b\\ \x1b(Bplain\x1b[2K",
            "green link plain",
        ),
        (b"\x1b[?25la\x1b[?25h\x00b\x08", "ab"),
        (b"\n a\tb\n\n c \n", "a\tb\n\n c"),
        (
            "gr\u00f6\u00dfer \u65e5\u672c [[ ## x ## ]]".encode(),
            "gr\u00f6\u00dfer \u65e5\u672c [[ ## x ## ]]",
        ),
    ],
)
def test_what_is_meant_for_a_terminal_is_no_part_of_the_answer(printed: bytes, taken: str) -> None:
    assert said(python(f"import sys; sys.stdout.buffer.write({printed!r})")) == taken


def test_what_is_no_text_is_a_malformed_answer() -> None:
    with pytest.raises(LMProviderError, match="no UTF-8 text") as wrong:
        said(python("import sys; sys.stdout.buffer.write(b'ok \\xff\\xfe')"))
    assert (wrong.value.code, wrong.value.status) == ("malformed", 200)


def test_too_much_is_cut_short_and_the_program_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program = (
        f"import os,sys; open({str(pid)!r},'w').write(str(os.getpid()))\nwhile 1: sys.stdout.write('x'*65536)"
    )
    with pytest.raises(LMProviderError, match="more than 8 MB") as wrong:
        said(python(program), timeout=100)
    assert wrong.value.code == "malformed"
    assert seen(lambda: not alive(*pids_in(pid)))


def test_a_hundred_megabytes_of_complaints_are_heard_and_forgotten() -> None:
    program = "import sys\nfor _ in range(1600): sys.stderr.write('x' * 65535 + '\\n')\nprint('yes')"
    assert said(python(program)) == "yes"


def test_one_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    text = f"sleep 100 & echo $! >> {pids}; (sleep 100 & echo $! >> {pids}); echo $$ >> {pids}; sleep 100"
    begun = time.monotonic()
    with pytest.raises(LMTimeoutError, match=r"no answer within 2 s"):
        said(script(tmp_path / "m", text), timeout=2.0)
    assert time.monotonic() - begun < 50
    assert len(pids_in(pids)) == 3
    assert seen(lambda: not any(alive(pid) for pid in pids_in(pids)))


def test_one_that_ignores_being_asked_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    text = f"trap '' TERM INT HUP; echo $$ >> {pids}; while :; do sleep 0.05; done"
    with pytest.raises(LMTimeoutError):
        said(script(tmp_path / "m", text), timeout=1.0)
    assert seen(lambda: not any(alive(pid) for pid in pids_in(pids)))


def test_one_that_is_asked_may_tidy_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_GRACE", 60.0)  # it takes as long as it takes
    with pytest.raises(LMTimeoutError):
        said(
            script(tmp_path / "m", f"trap 'echo tidy > {tmp_path}/done; exit 1' TERM; sleep 100 & wait"),
            timeout=2.0,
        )
    assert (tmp_path / "done").read_text() == "tidy\n"


def test_children_it_leaves_behind_hold_nothing_up_and_are_ended(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    begun = time.monotonic()
    assert said(script(tmp_path / "m", f"sleep 100 & echo $! > {pids}; echo fine"), timeout=90) == "fine"
    assert time.monotonic() - begun < 50
    assert seen(lambda: not any(alive(pid) for pid in pids_in(pids)))


def test_one_that_prints_half_and_dies_has_not_answered(tmp_path: Path) -> None:
    with pytest.raises(LMServerError, match="killed by signal 9") as wrong:
        said(script(tmp_path / "m", "printf '[[ ## answer ## ]] half'; kill -9 $$"))
    assert wrong.value.code == "command_failed"


def test_the_sentence_has_its_words_without_the_keys(tmp_path: Path) -> None:
    environ = {**os.environ, "MY_LOGIN": "planted.word.of.nobody", "OTHER_TOKEN": "another.planted.one"}
    text = (
        "echo colours >&2;"
        " printf '\\033[31merror: bad login %s another.planted.one\\033[0m\\n' $MY_LOGIN >&2; exit 7"
    )
    with pytest.raises(LMServerError) as wrong:
        said(script(tmp_path / "m", text), environ=environ, command_env=["MY_LOGIN"])
    assert wrong.value.message == "m ended with status 7: error: bad login [key] [key]"
    assert "planted" not in repr(vars(wrong.value)) + repr(wrong.value.args)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_a_prompt_that_is_repeated_on_its_standard_error_is_no_cause(tmp_path: Path, streamed: bool) -> None:
    text = "echo a header >&2; cat >&2; echo 'ERROR: connection reset' >&2; exit 1"
    asked = Request(model="m", messages=(Message.user("Explain rate limits, HTTP 429 and quota exceeded."),))
    made = model(script(tmp_path / "m", text))
    with pytest.raises(LMServerError) as wrong:
        list(made.stream(asked)) if streamed else made.complete(asked)
    assert wrong.value.message == "m ended with status 1: ERROR: connection reset"


@pytest.mark.parametrize(
    "end", ["; exit 0", "; exit 7", " >&2; exit 7"], ids=["in place of an answer", "printed", "said"]
)
def test_a_key_at_the_end_of_what_is_told_is_gone_before_it_is_cut_short(tmp_path: Path, end: str) -> None:
    """Half a key would be known no more for one."""
    environ = {**os.environ, "MY_LOGIN": "planted.word.of.nobody.at.all"}
    begin = "Invalid API key: " + "of the account " * 9
    with pytest.raises(LMAuthError) as wrong:
        said(
            script(tmp_path / "m", f"printf '{begin}%s' $MY_LOGIN{end}"),
            environ=environ,
            command_env=["MY_LOGIN"],
        )
    assert "account" in wrong.value.message
    assert "plan" not in repr(vars(wrong.value)) + repr(wrong.value.args)


def test_a_message_in_place_of_an_answer_is_a_failure() -> None:
    with pytest.raises(LMAuthError, match="instead of an answer"):
        said(["echo", "Invalid API key · Please run /login"])


def test_a_program_that_has_gone_meanwhile(tmp_path: Path) -> None:
    made = model(script(tmp_path / "m", "cat"))
    (tmp_path / "m").unlink()
    with pytest.raises(LMConfigurationError, match="m cannot be started: No such file"):
        made.complete(REQUEST)


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("just words")
    (tmp_path / "m").chmod(0o755)
    with pytest.raises(LMConfigurationError, match="cannot be started: Exec format"):
        said([str(tmp_path / "m")])


def test_a_task_that_is_cancelled_ends_the_program(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    made = model(script(tmp_path / "m", f"echo $$ >> {pids}; sleep 100"))

    async def cancelled() -> None:
        task = asyncio.create_task(made.acomplete(REQUEST))
        assert await asyncio.to_thread(seen, lambda: pids_in(pids))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert seen(lambda: not any(alive(pid) for pid in pids_in(pids)))


def test_tasks_await_it_side_by_side(tmp_path: Path) -> None:
    at_once = Rendezvous(tmp_path, 4)
    made = model(("/bin/sh", "-c", f"{at_once.line}; echo fine"))

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(made.acomplete(REQUEST) for _ in range(4)))

    with at_once:
        answers = asyncio.run(all_of_them())
    assert [answer.message.text for answer in answers] == ["fine"] * 4
    assert at_once.met, "none ends before the last has begun"


def test_sixteen_threads_get_each_its_own_answer() -> None:
    before = threading.active_count()
    made = model(["tail", "-n", "1"])

    def one(number: int) -> str:
        return made.complete(Request(model="m", messages=(Message.user(f"n{number}"),))).message.text or ""

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, range(64))) == [f"n{number}" for number in range(64)]
    assert threading.active_count() <= before, "no thread stays"


def call_path(rig: Any, command: Any, **more: Any) -> Any:
    """A command behind the whole call path, limits and all, on a clock on which nobody waits."""
    known = spec(command, **more.pop("entry", {}))
    clock = FakeClock()
    limiter = Limiters().of(known, None, clock, Calls(outage_seconds=20))
    inner = CommandModel(known, dict(os.environ))
    return rig(inner, spec=known, retry=Retry(base=0.0), limiter=limiter, **more)


def attempts(made: Any) -> list[tuple[Any, ...]]:
    query = "select state, reason, possibly_billed from ledger.attempt order by id"
    return [tuple(row) for row in made.journal._db.execute(query).fetchall()]


def test_through_the_call_path_it_is_paid_once_and_its_use_unknown(rig: Any) -> None:
    made = call_path(
        rig, ["echo", "fine"], entry={"price": PriceOverride(input_per_million=9, output_per_million=9)}
    )
    assert made.lm("hello") == ["fine"]
    assert made.lm("hello") == ["fine"]
    spent = made.spent
    assert (spent.calls, spent.settled) == (1, 1)
    assert spent.usd_unknown_calls == 1
    assert not spent.input_tokens
    assert not spent.output_tokens


def test_a_changed_command_is_asked_anew(rig: Any) -> None:
    first = call_path(rig, ["echo", "one"])
    assert first.lm("hello") == ["one"]
    second = call_path(rig, ["echo", "two"], line=first.line, gate=first.gate)
    assert second.lm("hello") == ["two"]
    assert first.lm("hello") == ["one"]
    assert made_calls(first) == 2


def made_calls(made: Any) -> int:
    return int(made.spent.calls)


def test_what_passes_is_tried_again_and_may_have_been_billed(rig: Any, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    text = f"if [ -e {flag} ]; then echo fine; else touch {flag}; echo half; exit 1; fi"
    made = call_path(rig, script(tmp_path / "m", text))
    assert made.lm("hello") == ["fine"]
    assert [row[:2] for row in attempts(made)] == [("failed", "command_failed"), ("settled", None)]
    assert attempts(made)[0][2]


@pytest.mark.parametrize(
    ("text", "reason", "calls"),
    [
        ("echo 'Not logged in' >&2; exit 1", "auth", 1),
        ('echo "You\'ve hit your usage limit" >&2; exit 1', "billing", 1),
        ("echo 'prompt is too long' >&2; exit 1", "context_window_exceeded", 1),
        ("exit 3", "command_failed", None),
        ("true", "empty", 6),
        ("printf '\\377'", "malformed", 6),
    ],
)
def test_each_end_is_the_failure_it_is_of_any_provider(
    rig: Any, tmp_path: Path, text: str, reason: str, calls: int | None
) -> None:
    """What may pass is tried six times; where nothing but failures comes, until it counts as an outage."""
    made = call_path(rig, script(tmp_path / "m", text))
    with pytest.raises(Halt) as halted:
        made.lm("hello")
    assert halted.value.cause == "provider"
    assert (halted.value.error.exit_code, halted.value.error.code) == (6, reason)
    reasons = [row[1] for row in attempts(made)]
    assert set(reasons) == {reason}
    assert len(reasons) == calls or (calls is None and len(reasons) >= 6)


def test_caps_on_calls_hold_exactly(rig: Any) -> None:
    made = call_path(rig, ["echo", "fine"], limits=Limits(calls=3))
    for number in range(3):
        made.lm(f"hello {number}")
    with pytest.raises(Halt) as halted:
        made.lm("one more")
    assert halted.value.cause == "budget"
    assert made_calls(made) == 3
