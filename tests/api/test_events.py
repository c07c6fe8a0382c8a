"""Events over a real socket: streams that resume, end, and cost nothing once their reader is gone."""

import contextlib
import itertools
import json
import os
import threading
import time

import httpx2
import pytest
from rest_server import API, client, events_of, make_workspace, opened, serving

from skill_fleet.jobs.records import NewJob

WORKER = "worker-1"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    root = make_workspace(tmp_path_factory.mktemp("workspace"))
    with opened(root, SKILL_FLEET_SERVER__SSE_POLL_SECONDS="0.05") as service:
        yield service


@pytest.fixture(scope="module")
def address(service):
    with serving(service) as address:
        yield address


@pytest.fixture
def rest(address):
    with client(address) as made:
        yield made


@pytest.fixture
def running(service):
    """A job under way, and its lease."""
    name = f"20260115-093000-{time.time_ns() % 16**10:010x}"
    job, _ = service.jobs.create(NewJob(name, "optimization", {}))
    return job.job_id, service.jobs.claim(job.job_id, 1, WORKER)


def end(service, lease, status="succeeded"):
    service.jobs.conclude(lease, status, result={}, error=None, message="Done.")


def stream(rest, job_id, **options):
    headers = {"Accept": "text/event-stream", **options.pop("headers", {})}
    return rest.stream("GET", f"/optimization/jobs/{job_id}/events", headers=headers, **options)


def test_a_stream_gives_every_event_once_and_ends_with_the_job(rest, service, running):
    job_id, lease = running

    def work():
        for n in range(40):
            service.jobs.append(lease, [("stage", {"n": n}), ("stage", {"n": n})])
            time.sleep(0.002)
        end(service, lease)

    thread = threading.Thread(target=work)
    thread.start()
    with stream(rest, job_id) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        found = list(events_of(answer.iter_lines()))
    thread.join()
    *told, last = found
    whole = service.jobs.events(job_id)
    assert [int(one["id"]) for one in told] == [event.number for event in whole]
    assert [json.loads(one["data"])["data"] for one in told] == [event.data for event in whole]
    assert (last["event"], json.loads(last["data"])) == ("end", {"job_id": job_id, "status": "succeeded"})
    assert "id" not in last


@pytest.mark.parametrize("how", ["header", "query", "both"])
def test_a_stream_goes_on_where_it_broke_off(rest, service, running, how):
    job_id, lease = running
    service.jobs.append(lease, [("stage", {"n": n}) for n in range(30)])
    with stream(rest, job_id) as answer:
        first = list(itertools.islice(events_of(answer.iter_lines()), 9))
    place = first[-1]["id"]
    service.jobs.append(lease, [("stage", {"n": 30})])
    end(service, lease)
    given = {
        "header": {"headers": {"Last-Event-ID": place}},
        "query": {"params": {"after": place}},
        "both": {"headers": {"Last-Event-ID": place}, "params": {"after": 2}},
    }[how]
    with stream(rest, job_id, **given) as answer:
        rest_of_it = list(events_of(answer.iter_lines()))[:-1]
    numbers = [int(one["id"]) for one in [*first, *rest_of_it]]
    assert numbers == [event.number for event in service.jobs.events(job_id)]


def test_a_stream_goes_on_on_another_server(service, running):
    job_id, lease = running
    told = []
    for turn in range(4):
        service.jobs.append(lease, [("stage", {"turn": turn, "n": n}) for n in range(5)])
        with serving(service) as address, client(address) as rest:
            last = {"Last-Event-ID": told[-1]} if told else {}
            with stream(rest, job_id, headers=last) as answer:
                told += [one["id"] for one in itertools.islice(events_of(answer.iter_lines()), 4)]
    end(service, lease)
    last = {"Last-Event-ID": told[-1]}
    with serving(service) as address, client(address) as rest, stream(rest, job_id, headers=last) as answer:
        told += [one["id"] for one in list(events_of(answer.iter_lines()))[:-1]]
    assert [int(number) for number in told] == [event.number for event in service.jobs.events(job_id)]


def test_who_polls_gets_pages(rest, service, running):
    job_id, lease = running
    service.jobs.append(lease, [("stage", {"n": n}) for n in range(25)])
    url = f"/optimization/jobs/{job_id}/events"
    seen, after = [], 0
    end(service, lease, "stopped")
    while True:
        page = rest.get(url, params={"after": after, "limit": 10}).json()
        seen += [one["number"] for one in page["events"]]
        after = page["last"]
        if page["over"]:
            break
    assert seen == [event.number for event in service.jobs.events(job_id)]
    assert rest.get(url, params={"after": after}).json() == {"events": [], "last": after, "over": True}
    as_json = rest.get(url, headers={"Accept": "application/json"})
    assert as_json.json()["events"][0]["number"] == 1


def test_while_a_job_goes_on_its_pages_are_not_over(rest, running):
    job_id, _ = running
    page = rest.get(f"/optimization/jobs/{job_id}/events", params={"after": 0}).json()
    assert not page["over"]
    assert page["last"] == len(page["events"])


@pytest.mark.parametrize(
    "given",
    [
        {"headers": {"Last-Event-ID": "x"}},
        {"headers": {"Last-Event-ID": "-1"}},
        {"headers": {"Last-Event-ID": "9" * 17}},
        {"params": {"after": "-1"}},
        {"params": {"after": "x"}},
        {"params": {"after": str(2**63)}},
        {"params": {"limit": "0"}},
    ],
)
def test_a_place_that_is_none_is_refused(rest, running, given):
    job_id, _ = running
    answer = rest.get(f"/optimization/jobs/{job_id}/events", **given)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_job_that_is_removed_ends_its_streams(rest, service, running):
    job_id, lease = running
    with stream(rest, job_id) as answer:
        lines = events_of(answer.iter_lines())
        next(lines)
        end(service, lease)
        service.jobs.remove(job_id, None)
        *_, last = lines
    assert last["event"] == "end"
    with stream(rest, job_id) as answer:
        assert answer.status_code == 410


def test_readers_that_go_away_leave_nothing(address, service, running):
    job_id, lease = running
    service.jobs.append(lease, [("stage", {})])
    with client(address) as rest:
        with stream(rest, job_id) as answer:
            next(events_of(answer.iter_lines()))
        before = handles()
    for _ in range(3):
        gone = [httpx2.Client(base_url=f"{address}{API}") for _ in range(10)]
        for one in gone:
            with stream(one, job_id) as answer:
                next(events_of(answer.iter_lines()))
            one.close()
    deadline = time.monotonic() + 60
    while handles() > before + FEW and time.monotonic() < deadline:
        time.sleep(0.05)
    assert handles() <= before + FEW


FEW = 8
"""The threads that answer may have opened the database meanwhile, each once; thirty readers are more."""


def handles():
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the listing's own is among them


def test_a_server_that_stops_ends_its_streams_without_an_end(service, running):
    job_id, _ = running
    server = contextlib.ExitStack()
    address = server.enter_context(serving(service))
    with client(address) as rest, stream(rest, job_id) as answer:
        lines = events_of(answer.iter_lines())
        next(lines)
        began = time.monotonic()
        stopping = threading.Thread(target=server.close)
        stopping.start()
        left = [one["event"] for one in lines]
    stopping.join(20)
    assert "end" not in left
    assert time.monotonic() - began < 40


def test_a_stream_that_is_silent_is_kept_alive_and_ends_in_time(rest, running, monkeypatch):
    monkeypatch.setattr("skill_fleet.api.events.KEEP_ALIVE_SECONDS", 0.05)
    monkeypatch.setattr("skill_fleet.api.events.LONGEST_SECONDS", 2.0)
    job_id, _ = running
    with stream(rest, job_id) as answer:
        lines = list(answer.iter_lines())
    assert lines.count(": still there") >= 3
    assert not any("event: end" in line for line in lines)


def test_more_streams_than_a_server_holds_are_told_to_poll(rest, running, monkeypatch):
    monkeypatch.setattr("skill_fleet.api.events.MOST_STREAMS", 0)
    job_id, _ = running
    with stream(rest, job_id) as answer:
        assert answer.status_code == 503
        assert "after" in json.loads(answer.read())["hint"]


@pytest.fixture
def guarded(tmp_path):
    """A service of its own, for keys; and its address."""
    with (
        opened(tmp_path, SKILL_FLEET_SERVER__SSE_POLL_SECONDS="0.05") as service,
        serving(service) as address,
    ):
        yield service, address


def job_of(service, owner):
    name = f"20260115-093000-{time.time_ns() % 16**10:010x}"
    return service.jobs.create(NewJob(name, "optimization", {}, owner=owner))[0].job_id


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "busy"])
def test_a_revoked_key_ends_its_streams_and_no_others(guarded, monkeypatch, silent):
    monkeypatch.setattr("skill_fleet.api.events.LOOK_SECONDS", 0.1 if silent else 100.0)
    service, address = guarded
    key, secret = service.keys.create("somebody", ("run",))
    _, others = service.keys.create("another", ("admin",))
    job_id = job_of(service, key.key_id)
    with contextlib.ExitStack() as stack:
        streams = []
        for one in (secret, others):
            rest = stack.enter_context(client(address, headers={"Authorization": f"Bearer {one}"}))
            lines = stack.enter_context(stream(rest, job_id)).iter_lines()
            next(events_of(lines))
            streams.append(lines)
        service.keys.revoke(key.key_id)
        if not silent:
            time.sleep(1.1)  # for so long an answer of the store stands
            service.jobs.note(job_id, "asked", {"said": "of the job"})
        began = time.monotonic()
        left = list(streams[0])
        assert time.monotonic() - began < 50
        assert not any("event:" in line or "said" in line for line in left)
        if silent:
            service.jobs.note(job_id, "asked", {"said": "of the job"})
        assert next(events_of(streams[1]))["event"] == "asked", "the other key's goes on"
        with client(address, headers={"Authorization": f"Bearer {secret}"}) as again:
            assert again.get(f"/optimization/jobs/{job_id}/events").status_code == 401


def test_a_stream_without_a_key_ends_when_there_is_one(guarded, monkeypatch):
    monkeypatch.setattr("skill_fleet.api.events.LOOK_SECONDS", 0.1)
    service, address = guarded
    with client(address) as rest, stream(rest, job_of(service, None)) as answer:
        lines = answer.iter_lines()
        next(events_of(lines))
        service.keys.create("first", ("run",))
        assert not any("event:" in line for line in lines)
