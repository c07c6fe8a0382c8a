"""Questions put to a process: it may die, hang or be flooded, and nobody gets another's answer."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from skill_fleet.config.load import DATABASE_URL
from skill_fleet.foundation import errors
from skill_fleet.foundation.errors import (
    DataError,
    KeyMissing,
    NotFound,
    ProviderError,
    SkillFleetError,
    StorageError,
    UnknownName,
    UsageError,
)
from skill_fleet.services.asking import Helper, HelperUnavailable, helper_of
from skill_fleet.services.context import open_context

# The real end of the line with other questions, so that each misbehaves as it is told to.
ANSWERS = """
import os, signal, sys, time
import skill_fleet.services.answering as answering
from skill_fleet.foundation import errors

def raises(context, payload):
    kind = getattr(errors, payload["kind"])
    if kind is errors.UnknownName:
        raise kind("optimizer", "gepo", ["gepa"])
    raise kind("It is so.", hint="Do this.")

def noisy(context, payload):
    print("printed", flush=True)
    os.write(1, b"written to the descriptor\\n")
    return "heard"

def dies_once(context, payload):
    if not os.path.exists(payload["marker"]):
        open(payload["marker"], "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"

def dies(context, payload):
    print("it broke at", os.environ.get("SKILL_FLEET_DATABASE_URL"), file=sys.stderr)
    print("with hunter 2, hunter%202 and", os.environ.get("SOME_API_KEY"), file=sys.stderr)
    print("not far from https://me:sesame@host/x", file=sys.stderr)
    sys.stderr.flush()
    os._exit(3)

def sleeps(context, payload):
    time.sleep(payload["seconds"])
    return payload["seconds"]

answering.QUESTIONS = {
    "raises": raises, "noisy": noisy, "dies_once": dies_once, "dies": dies, "sleeps": sleeps,
    "echo": lambda context, payload: payload, "pid": lambda context, payload: os.getpid(),
    "nan": lambda context, payload: float("nan"), "unsaid": lambda context, payload: object(),
    "bug": lambda context, payload: 1 / 0,
    "large": lambda context, payload: "x" * payload["length"],
}
answering.main()
"""


@pytest.fixture
def asked(workspace: Path) -> Callable[..., Any]:
    """Runs a conversation with a helper; whatever it left behind is ended."""

    def run(talk: Callable[[Helper], Awaitable[Any]], environ: dict[str, str] | None = None, **options: Any):
        async def conversation() -> Any:
            given = {"SKILL_FLEET_WORKSPACE": str(workspace), **os.environ, **(environ or {})}
            helper = Helper(given, command=(sys.executable, "-c", ANSWERS), **options)
            try:
                return await talk(helper)
            finally:
                await helper.aclose()

        return asyncio.run(conversation())

    return run


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone_within(pid: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_alive(pid)


def test_fifty_at_once_get_their_own_answers_from_one_process_in_the_order_asked(asked):
    async def talk(helper: Helper):
        order: list[int] = []

        async def one(number: int) -> None:
            assert await helper.ask("echo", {"number": number}) == {"number": number}
            order.append(number)

        first = await helper.ask("pid", {})
        await asyncio.gather(*(one(number) for number in range(50)))
        assert order == list(range(50))
        assert await helper.ask("pid", {}) == first == helper.pid

    asked(talk)


def test_megabytes_there_and_back(asked):
    async def talk(helper: Helper):
        question = {"text": "ä\ud800\0" * 1_000_000}
        assert await helper.ask("echo", question) == question
        assert len(await helper.ask("large", {"length": 5_000_000})) == 5_000_000
        assert await helper.ask_json("large", {"length": 5_000_000}) == b'"' + b"x" * 5_000_000 + b'"'

    asked(talk)


def test_what_an_answer_prints_is_no_answer(asked):
    async def talk(helper: Helper):
        assert await helper.ask("noisy", {}) == "heard"
        assert await helper.ask("echo", {"a": 1}) == {"a": 1}

    asked(talk)


def test_errors_come_back_as_what_they_were(asked):
    plain = [DataError, NotFound, StorageError, UsageError, KeyMissing, SkillFleetError]

    async def talk(helper: Helper):
        for kind in plain:
            with pytest.raises(SkillFleetError) as caught:
                await helper.ask("raises", {"kind": kind.__name__})
            assert type(caught.value) is kind
            assert (caught.value.message, caught.value.hint) == ("It is so.", "Do this.")
            assert (caught.value.code, caught.value.exit_code) == (kind.code, kind.exit_code)
        with pytest.raises(UnknownName, match="no optimizer named 'gepo'") as unknown:
            await helper.ask("raises", {"kind": "UnknownName"})
        assert unknown.value.hint == "Did you mean 'gepa'?"
        with pytest.raises(SkillFleetError, match="ZeroDivisionError") as bug:
            await helper.ask("bug", {})
        assert bug.value.code == "error"
        for odd in ("nan", "unsaid", "no such question"):
            with pytest.raises(SkillFleetError, match="failed"):
                await helper.ask(odd, {})
        assert await helper.ask("echo", {}) == {}, "a bug does not end the process"

    asked(talk)


def test_a_process_that_dies_is_asked_once_more(asked, tmp_path):
    async def talk(helper: Helper):
        assert await helper.ask("dies_once", {"marker": str(tmp_path / "died")}) == "alive"

    asked(talk)


def test_a_killed_process_is_replaced_and_a_waiting_question_answered(asked):
    async def talk(helper: Helper):
        pid = await helper.ask("pid", {})
        waiting = asyncio.create_task(helper.ask("sleeps", {"seconds": 0.3}))
        await asyncio.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        assert await waiting == 0.3
        assert helper.pid != pid
        os.kill(helper.pid, signal.SIGKILL)
        await asyncio.sleep(0.05)
        assert await helper.ask("echo", {"b": 2}) == {"b": 2}, "also when it was killed between questions"

    asked(talk)


def test_a_question_that_kills_is_refused_and_the_log_holds_no_secret(asked, caplog):
    environ = {DATABASE_URL: "postgresql://me:hunter%202@db.example/fleet", "SOME_API_KEY": "abc-123456"}

    async def talk(helper: Helper):
        with pytest.raises(HelperUnavailable, match="died twice") as caught:
            await helper.ask("dies", {})
        assert caught.value.code == "helper_crashed"
        assert await helper.ask("echo", {}) == {}

    asked(talk, environ)
    assert "it broke at [secret]" in caplog.text
    assert "with [secret], [secret] and [secret]" in caplog.text
    assert not {word for word in ("hunter", "abc-123456", "sesame") if word in caplog.text}


def test_a_process_that_hangs_is_killed_and_the_next_question_answered(asked):
    async def talk(helper: Helper):
        pid = await helper.ask("pid", {})
        before = time.monotonic()
        with pytest.raises(HelperUnavailable, match=r"within 0\.2 s") as caught:
            await helper.ask("sleeps", {"seconds": 60}, timeout=0.2)
        assert caught.value.code == "helper_timeout"
        assert time.monotonic() - before < 30
        assert not is_alive(pid)
        assert await helper.ask("echo", {"c": 3}) == {"c": 3}

    asked(talk)


def test_whoever_goes_away_leaves_no_answer_for_the_next(asked):
    async def talk(helper: Helper):
        await helper.ask("pid", {})
        gone = asyncio.create_task(helper.ask("sleeps", {"seconds": 0.2}))
        impatient = asyncio.create_task(helper.ask("sleeps", {"seconds": 30}))
        await asyncio.sleep(0.05)
        gone.cancel()
        impatient.cancel()
        assert await helper.ask("echo", {"d": 4}) == {"d": 4}
        for task in (gone, impatient):
            with pytest.raises(asyncio.CancelledError):
                await task

    asked(talk)


def test_who_waits_too_long_in_line_is_told_so_in_its_own_time(asked):
    async def talk(helper: Helper):
        await helper.ask("pid", {})
        slow = asyncio.create_task(helper.ask("sleeps", {"seconds": 3.0}))
        await asyncio.sleep(0)
        with pytest.raises(HelperUnavailable) as caught:
            await helper.ask("echo", {}, timeout=0.2)
        assert not slow.done()
        assert caught.value.code == "helper_busy"
        assert await slow == 3.0

    asked(talk)


async def counted_turns() -> None:
    """Is over when the event loop has gone round a few times."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_wait_that_can_be_foreseen_is_refused_at_once_and_says_how_long(asked):
    async def talk(helper: Helper):
        for _ in range(12):  # by now it is known how long one takes
            await helper.ask("sleeps", {"seconds": 0.2})
        line = [asyncio.create_task(helper.ask("sleeps", {"seconds": 0.2})) for _ in range(8)]
        await asyncio.sleep(0)
        turns = asyncio.create_task(counted_turns())
        with pytest.raises(HelperUnavailable) as caught:
            await helper.ask("echo", {}, timeout=2.0)  # half of which may be spent in the line
        assert not turns.done(), "it did not wait to be refused"
        assert caught.value.code == "helper_busy"
        assert caught.value.retry_after >= 2  # 8 x 0.2 s, and what is late
        turns.cancel()
        assert await helper.ask("echo", {"a": 1}, timeout=100) == {"a": 1}
        assert await asyncio.gather(*line) == [0.2] * 8

    asked(talk)


def test_a_question_that_waited_still_ends_in_its_time(asked):
    async def talk(helper: Helper):
        await helper.ask("pid", {})
        slow = asyncio.create_task(helper.ask("sleeps", {"seconds": 0.3}))
        await asyncio.sleep(0)
        before = time.monotonic()
        with pytest.raises(HelperUnavailable) as caught:
            await helper.ask("sleeps", {"seconds": 90}, timeout=3.0)
        assert 2.9 < time.monotonic() - before < 60
        assert caught.value.code == "helper_timeout"
        assert await slow == 0.3

    asked(talk)


def test_an_idle_process_ends_and_another_begins(asked):
    async def talk(helper: Helper):
        pid = await helper.ask("pid", {})
        assert is_alive(pid)
        assert await helper.ask("pid", {}) == pid
        assert await asyncio.to_thread(gone_within, pid, 60)
        assert helper.pid is None
        assert await helper.ask("pid", {}) != pid

    asked(talk, idle_seconds=1.0)


def test_a_closed_helper_answers_nobody_and_leaves_no_process(asked):
    async def talk(helper: Helper):
        pid = await helper.ask("pid", {})
        busy = [asyncio.create_task(helper.ask("sleeps", {"seconds": 90})) for _ in range(3)]
        await asyncio.sleep(0.05)
        before = time.monotonic()
        await helper.aclose()
        assert time.monotonic() - before < 30
        assert not is_alive(pid)
        with pytest.raises(HelperUnavailable) as caught:
            await helper.ask("echo", {})
        assert caught.value.code == "interrupted"
        for told in await asyncio.gather(*busy, return_exceptions=True):
            assert isinstance(told, HelperUnavailable)
        assert helper.pid is None

    asked(talk)


def test_a_program_that_cannot_be_started_is_said(workspace):
    async def talk() -> None:
        helper = Helper({}, command=(str(workspace / "nothing"),))
        with pytest.raises(HelperUnavailable, match="died twice"):
            await helper.ask("echo", {})
        await helper.aclose()

    asyncio.run(talk())


def test_the_process_ends_with_the_server_that_is_killed(workspace):
    server = """
import asyncio, os, sys
from skill_fleet.services.asking import Helper
async def main():
    environ = {"SKILL_FLEET_WORKSPACE": sys.argv[1], **os.environ}
    helper = Helper(environ, command=(sys.executable, "-c", sys.argv[2]))
    print(await helper.ask("pid", {}), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    command = [sys.executable, "-c", server, str(workspace), ANSWERS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        pid = int(process.stdout.readline())
        assert is_alive(pid)
        process.kill()
    assert gone_within(pid, 60)


def test_every_error_of_the_tree_can_travel():
    from skill_fleet.services.asking import _raise_told

    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, SkillFleetError):
            told = {"code": "a", "message": "b", "hint": "c", "kind": name}
            with pytest.raises(kind) as caught:
                _raise_told(json.loads(json.dumps({"number": 1, "error": told})))
            assert (caught.value.code, str(caught.value), caught.value.hint) == ("a", "b", "c")
            assert caught.value.to_json() == {"code": "a", "message": "b", "hint": "c"}


def test_what_else_an_error_knows_travels_too():
    from skill_fleet.services.asking import _raise_told

    told = ProviderError("b", hint="c", code="truncated", attempts=6, finish_reason="length").to_json()
    assert (told["attempts"], told["finish_reason"]) == (6, "length")
    with pytest.raises(ProviderError) as caught:
        _raise_told({"number": 1, "error": {**told, "kind": "ProviderError"}})
    assert caught.value.to_json() == told


def test_a_workspaces_files_are_no_modules(workspace):
    for name in ("json", "dspy", "skill_fleet", "sqlalchemy"):
        (workspace / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")

    async def talk() -> None:
        helper = helper_of(open_context(workspace, environ=dict(os.environ)))
        assert (await helper.ask("check_creation", {"request": {"task": "x"}}))["provider"] == "offline"
        await helper.aclose()

    asyncio.run(talk())


def test_the_real_process_checks_estimates_and_recommends(workspace):
    from skill_fleet.services.answering import QUESTIONS
    from skill_fleet.services.job_requests import optimization_asked
    from skill_fleet.services.optimization import (
        estimate_optimization,
        prepare_optimization,
        request_of,
    )
    from skill_fleet.services.recommendation import recommend_optimizer

    context = open_context(workspace, environ=dict(os.environ))

    def in_this_process(question: str, request: dict[str, Any]) -> Any:
        within, asked = optimization_asked(context, request)
        wanted = request_of(within, asked)
        found = (
            estimate_optimization(prepare_optimization(within, wanted))
            if question == "estimate"
            else recommend_optimizer(within, wanted)
        )
        return json.loads(json.dumps(found))

    async def talk() -> None:
        helper = helper_of(context)
        request = {"optimizer": "labeled_few_shot", "auto": "light", "budget": {"max_calls": 50}}
        payload = {"request": request, "keys": True}
        checked = await helper.ask("check_optimization", payload, timeout=60)
        assert checked == {"provider": "offline", "optimizer": "labeled_few_shot", "simulated": True}
        made = await helper.ask("check_creation", {"request": {"task": "Brew coffee"}, "keys": True})
        assert made == {"provider": "offline", "simulated": True}
        assert await helper.ask("estimate", {"request": request}) == in_this_process("estimate", request)
        assert await helper.ask("recommend", {"request": {}}) == in_this_process("recommend", {})
        assert len((await helper.ask("optimizers", {}))["optimizers"]) >= 13
        with pytest.raises(UnknownName, match="There is no optimizer named 'mipro'"):
            await helper.ask("check_optimization", {"request": {"optimizer": "mipro"}})
        with pytest.raises(UsageError, match="--trials and --auto exclude each other"):
            await helper.ask("check_optimization", {"request": {"trials": 3, "auto": "light"}})
        found = await helper.ask("evaluate_batch", {"paths": ["nowhere"]})
        assert found["errors"][0]["code"] == "not_found"
        await helper.aclose()

    asyncio.run(talk())
    asked_here = {"check_optimization", "check_creation", "estimate", "recommend", "optimizers"}
    assert set(QUESTIONS) == asked_here | {"evaluate_batch", "validate_batch"}
