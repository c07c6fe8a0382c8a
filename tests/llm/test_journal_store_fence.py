"""Who has lost a job makes no further paid call, and what was paid before is in the books."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from dspy.lm15 import Request

from skill_fleet.foundation.errors import LeaseLost
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.database_engine import passing, postgres_engine
from skill_fleet.llm.journal.spent import Usage
from skill_fleet.llm.testing import ScriptedModel

USAGE = Usage(10, 5, 0.25)


def test_only_the_newest_lease_may_note_a_call(database: Any) -> None:
    old, new = (database.open(lease=database.take_up("job")) for _ in range(2))
    other = database.open(lease=database.take_up("another job"))
    with pytest.raises(LeaseLost, match="job was taken up by another process"):
        old.open_attempt("job", "k", "evaluation", "m")
    with pytest.raises(LeaseLost):
        old.reconcile("job")
    new.open_attempt("job", "k", "evaluation", "m")
    other.open_attempt("job", "k", "evaluation", "m")
    assert new.spent("job").calls == 2, "nothing of the old one"
    assert new.reconcile("job") == 2


def test_a_lease_that_is_gone_is_lost(database: Any) -> None:
    journal = database.open(lease=database.take_up("job"))
    database.rows("delete from skill_fleet.lease")
    with pytest.raises(LeaseLost):
        journal.open_attempt("job", "k", "evaluation", "m")


def test_what_was_paid_under_the_old_lease_is_kept_whatever_comes_after(database: Any) -> None:
    old = database.open(lease=database.take_up("job"))
    attempt = old.open_attempt("job", "k", "evaluation", "m")
    failing = old.open_attempt("job", "f", "evaluation", "m")
    new = database.open(lease=database.take_up("job"))
    assert new.reconcile("job") == 2
    assert old.settle(attempt, "k", "m", '"late"', USAGE) == '"late"'
    old.fail(failing, "server", billed=True)
    assert new.lookup("k") == '"late"'
    spent = new.spent("job")
    assert (spent.calls, spent.settled, spent.failed, spent.lost, spent.usd) == (2, 1, 1, 0, 0.25)


def test_who_takes_over_waits_for_an_intent_that_is_being_committed(database: Any) -> None:
    """The new process must know of every call: an intent is before the take-over, or it is refused."""
    journal = database.open(lease=database.take_up("job"))
    with contextlib.ExitStack() as stack:
        # The journal's own transaction, held open between its statement and its commit.
        connection = stack.enter_context(journal._writing.held(whole=True))
        journal._connection = connection
        from skill_fleet.llm.journal.database_statements import FENCED_INTENT, values

        row = values(attempt="a", run="job", key="k", phase="p", model="m", state="open", started_at=0.0)
        fenced = {**row, **values(reserved_tokens=None, reserved_usd=None, job_id="job", fence=1)}
        assert connection.execute(FENCED_INTENT, fenced).scalar_one() == 1
        taken = threading.Thread(target=database.take_up, args=("job",))
        taken.start()
        taken.join(0.3)
        assert taken.is_alive(), "the taking-up waits"
    taken.join(60)
    assert not taken.is_alive()
    assert database.open(lease=database.take_up("job")).reconcile("job") == 1


def test_a_process_that_stopped_inside_a_transaction_hinders_nobody_for_long(database: Any) -> None:
    """As SIGSTOP leaves it, or a cable that was pulled: the lease's row is locked, and nobody lets go."""
    journal = database.open(lease=database.take_up("job"))
    stopped, go_on = threading.Event(), threading.Event()

    def stops(attempt: str) -> None:
        def work() -> None:
            journal._connection.execute(sa.text("select * from skill_fleet.lease for share"))
            if not go_on.is_set():
                stopped.set()
                go_on.wait(60)
            journal._connection.execute(sa.text("select 1"))

        with journal._transaction(False, 2):
            work()

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(stops, "a")
        stopped.wait(60)
        began = time.monotonic()
        database.take_up("job")
        assert time.monotonic() - began < 30, "who stopped would go on after a minute"
        go_on.set()
        with pytest.raises(sa.exc.DBAPIError) as caught:
            asked.result(60)
    assert passing(caught.value), "it is written again, where the lease allows it"
    with pytest.raises(LeaseLost):
        journal.open_attempt("job", "k", "evaluation", "m")


def test_an_intent_that_waited_for_the_take_over_is_refused(database: Any) -> None:
    journal = database.open(lease=database.take_up("job"))
    engine = postgres_engine(database.url)
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as taking:
            taking.execute(sa.text("update skill_fleet.lease set fence = fence + 1"))
            asked = pool.submit(journal.open_attempt, "job", "k", "evaluation", "m")
            time.sleep(0.2)
            assert not asked.done(), "the intent waits for whoever takes the job up"
        with pytest.raises(LeaseLost):
            asked.result(60)
    engine.dispose()
    assert journal.spent("job").calls == 0


def test_every_call_is_before_the_take_over_or_refused_at_any_moment(database: Any) -> None:
    """Eight threads note calls while the job is taken up again and again: each new holder sees them all."""
    seen: list[int] = []

    def notes(journal: Any, noted: list[str]) -> None:
        with contextlib.suppress(LeaseLost):
            while True:
                noted.append(journal.open_attempt("job", "k", "evaluation", "m"))

    holder = database.open(lease=database.take_up("job"))
    for _ in range(4):
        noted: list[str] = []
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(notes, holder, noted) for _ in range(8)]
            until = time.monotonic() + 60
            while len(noted) < 8 and time.monotonic() < until:
                time.sleep(0.001)
            following = database.open(lease=database.take_up("job"))
            seen.append(following.reconcile("job"))
            for one in asked:
                one.result(60)
        assert seen[-1] == len(noted), "none was noted after the take-over, none was hidden from it"
        assert following.reconcile("job") == 0
        holder = following
    assert sum(seen) > 8


@pytest.mark.parametrize("threads", [1, 8])
def test_a_process_that_lost_its_job_makes_no_further_call(database: Any, rig: Any, threads: int) -> None:
    lease = database.take_up("job")

    made_then: list[int] = []
    taken = threading.Event()

    def takes_over(number: int, _: Request) -> None:
        if number == 9:
            database.take_up("job")
            made_then.append(model.attempts)
            taken.set()
        elif number > 40:  # on a slow machine the others would be through before
            taken.wait(60)

    model = ScriptedModel(latency=0.005, fault=takes_over, answer=lambda r: f"to {r.messages[-1].text}")
    made = rig(model, store=database.open(lease=lease), run="job", limits=Limits(calls=1000))
    halts = []

    def ask(number: int) -> None:
        try:
            made.lm(f"item {number}")
        except Halt as halt:
            halts.append(halt)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(ask, range(90)))
    assert model.attempts < made_then[0] + threads, "those under way end, no other begins"
    assert len(halts) == 90 - model.attempts
    assert {(halt.cause, halt.error.code) for halt in halts} == {("lease", "lease_lost")}
    assert made.gate.closed.cause == "lease"
    new = database.open(lease=database.take_up("job"))
    assert new.reconcile("job") == 0, "all that was under way is settled, also late"
    spent = new.spent("job")
    assert (spent.calls, spent.settled, spent.lost) == (model.attempts, model.attempts, 0)
    assert (made.account._under_way.total(), made.account._reserved.tokens) == (0, 0), "nothing stays aside"

    # The one who has it now goes on, and pays for the rest alone.
    rest = rig(model, store=new, run="job")
    before = model.attempts
    for number in range(90):
        rest.lm(f"item {number}")
    assert model.attempts == 90
    assert new.spent("job").settled == 90
    assert rest.line.traffic.from_journal == before


async def _ask(made: Any, number: int) -> None:
    await made.lm.acall(f"item {number}")


def test_the_awaited_path_is_fenced_too(database: Any, rig: Any) -> None:
    import asyncio

    made = rig(store=database.open(lease=database.take_up("job")), run="job")
    asyncio.run(_ask(made, 0))
    database.take_up("job")
    with pytest.raises(Halt) as caught:
        asyncio.run(_ask(made, 1))
    assert caught.value.cause == "lease"
    assert made.model.attempts == 1
