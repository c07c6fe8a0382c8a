"""A run on the database's journal: the same program, and whoever takes it over repeats no paid call."""

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace

import pytest
import sqlalchemy as sa

from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.jobs.records import Lease
from skill_fleet.llm.journal.database_engine import postgres_engine
from skill_fleet.llm.journal.database_tables import JOURNAL_TABLES, LEASE, METADATA, REVISION, SCHEMA, VERSION
from skill_fleet.llm.journal.journals import open_journal
from skill_fleet.llm.journal.readings import readings_of
from skill_fleet.llm.models import Connections, inner_of
from skill_fleet.optimization.conclusions.verdict import digest_of_test
from skill_fleet.optimization.ending import sealed
from skill_fleet.optimization.planning.output import output_file
from skill_fleet.optimization.planning.plan import make_plan, resumed_plan
from skill_fleet.optimization.records.runs import find_run, new_run
from skill_fleet.optimization.run import run

FINISHED = ("bootstrap_few_shot", {"rounds": 1})


@pytest.fixture
def prepared(postgres_url):
    """Runs statements in a database that has the journal's tables."""
    engine = postgres_engine(postgres_url)
    with engine.begin() as db:
        db.execute(sa.schema.CreateSchema(SCHEMA))
        METADATA.create_all(db, tables=[*JOURNAL_TABLES, LEASE])
        VERSION.create(db)
        db.execute(VERSION.insert(), {"version_num": REVISION})

    def rows(statement):
        with engine.begin() as db:
            found = db.execute(sa.text(statement))
            return [tuple(row) for row in found] if found.returns_rows else []

    yield rows
    engine.dispose()


def take_up(rows, job):
    ((fence,),) = rows(
        f"insert into skill_fleet.lease values ('{job}', 1, 'w', 0)"  # noqa: S608
        " on conflict (job_id) do update set fence = lease.fence + 1 returning fence"
    )
    return Lease(job, fence, "w")


def on_database(place, url):
    place.loaded = replace(place.loaded, database=url)
    return place


def paid_twice(rows):
    return rows(
        "select run, key, count(*) from skill_fleet.attempt where state = 'settled'"
        " group by run, key having count(*) > 1"
    )


def counted(on_call):
    """What answers for a model; tells how many calls it has had before each."""
    made = [0]

    def factory(spec, environ):
        inner = inner_of(spec, environ)

        class Counted:
            def complete(self, request):
                made[0] += 1
                on_call(made[0])
                return inner.complete(request)

            acomplete = inner.acomplete

        return Counted()

    return made, Connections.of({}, factory)


def test_a_run_is_the_same_on_files_and_on_the_database(places, postgres_url, prepared):
    name, options = FINISHED
    files = places("files")
    whole = files.optimize(files.request(name, **options)).result
    place = on_database(places("database"), postgres_url)
    done = place.optimize(place.request(name, **options)).result
    assert (done.status, done.program_hash) == ("succeeded", whole.program_hash)
    # How many threads joined a call under way, and how many came after it, is the machine's affair.
    counted = [{**one.calls, "from_journal": None} for one in (done, whole)]
    assert counted[0] == counted[1]
    assert (done.tokens, done.by_phase) == (whole.tokens, whole.by_phase)
    assert done.verdict == whole.verdict
    assert not place.loaded.workspace.ledger.exists()
    assert not place.loaded.workspace.responses.exists()

    # Another workspace on the same database pays for nothing, and is the same reading of the test.
    other = on_database(places("other"), postgres_url)
    again = other.optimize(other.request(name, **options)).result
    assert (again.program_hash, again.calls["made"]) == (whole.program_hash, 0)
    assert again.calls["reused"] == whole.calls["made"]
    plan = make_plan(other.request(name, **options), other.loaded)
    assert readings_of(other.loaded).next(digest_of_test(plan.tested)) == 2


@pytest.mark.parametrize("moment", [3, 60])
def test_a_run_that_is_taken_over_makes_no_further_call_and_publishes_nothing(
    places, postgres_url, prepared, moment
):
    name, options = FINISHED
    files = places("files")
    whole = files.optimize(files.request(name, **options)).result
    place = on_database(places("database"), postgres_url)
    request = place.request(name, **options)
    plan = make_plan(request, place.loaded)
    folder = new_run(place.loaded.workspace.runs, SYSTEM_CLOCK)
    job = folder.run_id

    made_then, taken = [], threading.Event()

    def takes_over(number):
        if number == moment:
            take_up(prepared, job)
            made_then.append(made[0])
            taken.set()
        elif number > moment + 10:  # on a slow machine the others would be through before
            taken.wait(20)

    made, connections = counted(takes_over)
    lease = take_up(prepared, job)
    lost = run(plan, folder, place.loaded, connections=connections, lease=lease)
    assert (lost.result.status, lost.result.stop_reason) == ("stopped", "lease")
    assert lost.error.code == "lease_lost"
    assert made[0] < made_then[0] + request.num_threads, "those under way end, no other begins"
    assert not output_file(request, place.loaded).exists()
    assert lost.result.calls["made"] == made[0]

    before = made[0]
    made, connections = counted(lambda _: None)
    folder = find_run(place.loaded.workspace.runs, job)
    following = resumed_plan(folder, place.loaded, request)
    done = run(following, folder, place.loaded, connections=connections, lease=take_up(prepared, job))
    assert (done.result.status, done.result.program_hash) == ("succeeded", whole.program_hash)
    assert done.result.calls["made"] == before + made[0] == whole.calls["made"]
    assert paid_twice(prepared) == []
    journal = open_journal(place.loaded)
    assert journal.spent(job).lost == 0
    journal.close()


def refuse_readings(place, rows):
    """Let no reading be counted; what allows them again."""
    refuse = "create trigger full_up before insert on {} {}"
    if place.loaded.database is not None:
        rows(
            "create function skill_fleet.refuse() returns trigger language plpgsql"
            " as $$ begin raise exception 'no room'; end $$"
        )
        rows(refuse.format("skill_fleet.test_reading", "for each row execute function skill_fleet.refuse()"))
        return lambda: rows("drop trigger full_up on skill_fleet.test_reading")

    def on_file(*statements):
        with closing(sqlite3.connect(place.loaded.workspace.ledger, isolation_level=None)) as db:
            for statement in statements:
                db.execute(statement)

    readings_of(place.loaded).count("another test", "somebody")
    on_file(refuse.format("test_reading", "begin select raise(abort, 'no room'); end"))
    return lambda: on_file("drop trigger full_up")


@pytest.mark.parametrize("kind", ["files", "database"])
def test_a_reading_that_cannot_be_counted_stops_the_run_which_goes_on_for_nothing(places, request, kind):
    place, rows = places("readings"), None
    if kind == "database":
        place = on_database(place, request.getfixturevalue("postgres_url"))
        rows = request.getfixturevalue("prepared")
    else:
        place.loaded.workspace.ledger.parent.mkdir(parents=True, exist_ok=True)
    name, options = FINISHED
    asked = place.request(name, **options)
    allow = refuse_readings(place, rows)
    stopped = place.optimize(asked).result
    assert (stopped.status, stopped.stop_reason) == ("stopped", "storage")
    assert (stopped.test_reads, stopped.p_value) == (None, None)
    assert stopped.optimized["test"] is stopped.accuracy["optimized"] is None, (
        "nobody sees what is not counted"
    )
    assert stopped.resume == f"skill-fleet runs resume {stopped.run_id}"
    assert not output_file(asked, place.loaded).exists()

    allow()
    done = place.resume(stopped.run_id, asked).result
    assert (done.status, done.test_reads) == ("succeeded", 1)
    assert done.calls["made"] == stopped.calls["made"]


def test_who_loses_the_job_before_the_reading_is_noted_notes_none(
    places, postgres_url, prepared, monkeypatch
):
    """It asked whether it may, as it had for the baseline, and then another process took the job up."""
    place = on_database(places("database"), postgres_url)
    name, options = FINISHED
    plan = make_plan(place.request(name, **options), place.loaded)
    folder = new_run(place.loaded.workspace.runs, SYSTEM_CLOCK)
    lease = take_up(prepared, folder.run_id)
    done = []

    def may_write():
        done.append("asked")

    def meanwhile(*given):
        take_up(prepared, folder.run_id)
        done.append("taken up")
        return readings_of(*given)

    monkeypatch.setattr(sealed, "readings_of", meanwhile)
    _, connections = counted(lambda _: None)
    lost = run(plan, folder, place.loaded, connections=connections, lease=lease, may_write=may_write)
    assert done == ["asked", "asked", "taken up"]
    assert (lost.result.status, lost.result.stop_reason) == ("stopped", "lease")
    assert lost.error.code == "lease_lost"
    assert lost.result.optimized["test"] is None
    assert prepared("select * from skill_fleet.test_reading") == []
