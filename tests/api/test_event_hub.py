"""Streams of events without a server: nothing lost, nothing twice, one reader of the table for all."""

import asyncio
import contextlib
import json

import pytest

from skill_fleet.api.event_hub import KEPT, PAGE, EventHub, chunk_of
from skill_fleet.foundation.errors import StorageError
from skill_fleet.jobs.records import JobEvent


class Table:
    """The events of one job, in memory; counts how often it is read."""

    def __init__(self, number=0):
        self.rows = []
        self.status = "running"
        self.reads = self.fetched = 0
        self.asked_of = set()
        self.broken = False
        self.add(number)

    def add(self, number=1):
        for _ in range(number):
            self.rows.append(JobEvent(len(self.rows) + 1, "2026-01-15T09:31:00Z", "stage", {"text": "a\nb"}))

    async def events(self, job_id, after, limit):
        self.reads += 1
        self.fetched += 1
        if self.broken:
            raise StorageError("The database is away.")
        return [row for row in self.rows if row.number > after][:limit]

    async def pulses(self, job_ids):
        self.reads += 1
        self.asked_of.add(len(job_ids))
        if self.broken:
            raise StorageError("The database is away.")
        return {} if self.status == "removed" else {name: (len(self.rows), self.status) for name in job_ids}


async def heard(hub, after=0, patience=0.2, until=None):
    """The numbers that a listener is given until the job is over, and the end."""
    numbers = []
    async with hub.listening("j", after) as listener:
        while until is None or len(numbers) < until:
            found = await listener.next(patience)
            numbers += [sent.number for sent in found]
            if not found and listener.ended is not None:
                break
        return numbers, listener.ended


async def alone():
    """Until no other task is left."""
    async with asyncio.timeout(60):
        while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - tasks tell nobody that they are gone
            await asyncio.sleep(0.005)


def hub_of(table):
    return EventHub(table.events, table.pulses, 0.01)


@pytest.mark.parametrize("before", [0, 1, PAGE - 1, PAGE, PAGE + 1, KEPT + PAGE + 3])
def test_every_event_is_given_once_and_in_order(before):
    async def run():
        table = Table(before)
        hub = hub_of(table)
        listening = [asyncio.create_task(heard(hub, after)) for after in (0, before // 2, before)]
        for _ in range(30):
            table.add(7)
            await asyncio.sleep(0.005)
        late = asyncio.create_task(heard(hub, 3))
        await asyncio.sleep(0.02)
        table.add(5)
        table.status = "succeeded"
        whole = len(table.rows)
        for task, after in zip([*listening, late], (0, before // 2, before, 3), strict=True):
            numbers, ended = await asyncio.wait_for(task, 60)
            assert numbers == list(range(after + 1, whole + 1))
            assert ended == "succeeded"
        assert hub.watched == 0

    asyncio.run(run())


def test_the_table_is_read_once_for_all_who_listen():
    async def run():
        table = Table(10)
        hub = hub_of(table)
        tasks = [asyncio.create_task(heard(hub)) for _ in range(200)]
        await asyncio.sleep(0.05)
        before = table.fetched
        for _ in range(5):
            table.add()
            await asyncio.sleep(0.03)
        table.status = "failed"
        table.add()
        results = await asyncio.gather(*tasks)
        assert all(numbers == list(range(1, 17)) for numbers, _ in results)
        assert table.fetched - before <= 6, "once for each that was added"

    asyncio.run(run())


def test_who_asks_for_what_is_not_there_yet_keeps_nothing_from_the_others():
    async def run():
        table = Table(5)
        hub = hub_of(table)
        ahead = asyncio.create_task(heard(hub, 7))
        await asyncio.sleep(0.03)
        other = asyncio.create_task(heard(hub, 2))
        await asyncio.sleep(0.03)
        table.add(4)
        await asyncio.sleep(0.03)
        table.status = "cancelled"
        assert await ahead == ([8, 9], "cancelled")
        assert await other == ([3, 4, 5, 6, 7, 8, 9], "cancelled")

    asyncio.run(run())


def test_nobody_listens_nothing_runs():
    async def run():
        table = Table(3)
        hub = hub_of(table)
        for _ in range(20):
            task = asyncio.create_task(heard(hub))
            await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await alone()
        assert hub.watched == hub.listeners == 0
        before = table.reads
        await asyncio.sleep(0.05)
        assert table.reads == before

    asyncio.run(run())


def test_a_database_that_is_away_for_a_while_loses_nothing():
    async def run():
        table = Table(2)
        hub = hub_of(table)
        task = asyncio.create_task(heard(hub))
        await asyncio.sleep(0.03)
        table.broken = True
        await asyncio.sleep(0.05)
        table.add(3)
        table.status = "stopped"
        table.broken = False
        assert await asyncio.wait_for(task, 60) == ([1, 2, 3, 4, 5], "stopped")

    asyncio.run(run())


def test_a_job_that_is_removed_ends_its_streams():
    async def run():
        table = Table(2)
        hub = hub_of(table)
        task = asyncio.create_task(heard(hub))
        await asyncio.sleep(0.03)
        table.status = "removed"
        numbers, ended = await asyncio.wait_for(task, 60)
        assert (numbers, ended) == ([1, 2], "removed")

    asyncio.run(run())


@pytest.mark.parametrize("status", ["running", "succeeded"])
def test_who_lags_while_its_job_is_removed_gets_an_end(status):
    async def run():
        table = Table(KEPT + 2 * PAGE)
        table.status = status
        hub = hub_of(table)
        async with hub.listening("j", 0) as listener:
            assert len(await listener.next(1)) == PAGE
            table.status = "removed"
            table.rows.clear()
            async with asyncio.timeout(60):
                while listener.ended is None:
                    await listener.next(0.1)
            assert listener.ended in {"removed", status}

    asyncio.run(run())


def test_many_jobs_are_asked_for_in_one_question():
    async def run():
        table = Table(3)
        hub = hub_of(table)
        async with contextlib.AsyncExitStack() as stack:
            for n in range(100):
                await stack.enter_async_context(hub.listening(f"job-{n}", 3))
            await asyncio.sleep(0.05)
            table.asked_of.clear()
            table.fetched = 0
            await asyncio.sleep(0.2)
            assert hub.watched == hub.listeners == 100
            assert (table.asked_of, table.fetched) == ({100}, 0)
        assert hub.watched == 0
        await alone()

    asyncio.run(run())


def test_a_bug_in_the_following_reaches_who_listens():
    async def broken(_job_ids):
        raise ZeroDivisionError

    async def run():
        hub = EventHub(Table().events, broken, 0.01)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(heard(hub, patience=100), 60)

    asyncio.run(run())


def test_an_event_has_the_form_of_an_event_stream():
    chunk = chunk_of(JobEvent(7, "2026-01-15T09:31:00Z", "message", {"text": "one\r\ntwo\u2028\ud800"}))
    lines = chunk.decode("utf-8").split("\n")
    assert lines[:2] == ["id: 7", "event: message"]
    assert lines[3:] == ["", ""]
    assert json.loads(lines[2].removeprefix("data: "))["data"] == {"text": "one\r\ntwo\u2028?"}
