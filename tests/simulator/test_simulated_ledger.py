"""The ledger: a record for each request, exact totals at any moment, lines of JSON as it happens."""

import json
import threading
from pathlib import Path

import httpx2
import pytest
from simulator_client import http_client, polled

from skill_fleet.foundation.errors import StorageError, UsageError
from skill_fleet.simulator import Faults, Limits, Price, SimulatorSettings, running
from skill_fleet.simulator.ledger import Ledger, Record

MIXED = Faults(
    {"server_error": 0.15, "rate_limit": 0.1, "blank": 0.1, "malformed": 0.1, "no_usage": 0.1, "length": 0.1}
)


def test_the_totals_are_the_sum_of_the_records_at_any_moment(provider):
    from concurrent.futures import ThreadPoolExecutor

    here = provider(faults=MIXED, price=Price(3, 7), limits=Limits(rps=0.5, burst=150))
    stop, wrong = threading.Event(), []

    def watch():
        while not stop.is_set():
            records = here.server.records()
            totals = here.server.totals()
            if totals.requests < len(records) or totals.billed_prompt_tokens < sum(
                record.billed_prompt_tokens for record in records
            ):
                wrong.append((totals, len(records)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(8) as pool:
        statuses = [
            answer.status_code for answer in pool.map(lambda number: here.ask(f"Task {number}"), range(200))
        ]
    stop.set()
    watcher.join()
    assert not wrong
    records, totals = here.server.records(), here.server.totals()
    assert totals.requests == len(records) == 200
    assert sorted(statuses) == sorted(record.status for record in records)
    for name in ("prompt_tokens", "completion_tokens", "billed_prompt_tokens", "billed_completion_tokens"):
        assert getattr(totals, name) == sum(getattr(record, name) for record in records)
    assert totals.billed_usd == pytest.approx(sum(record.usd for record in records), abs=1e-12)
    faults = [record.fault for record in records if record.fault is not None]
    assert totals.by_fault == {name: faults.count(name) for name in sorted(set(faults))}
    assert totals.rejected == faults.count("limit") > 0
    assert totals.answered == sum(record.fault in {None, "no_usage"} for record in records)
    assert totals.billed_without_answer == faults.count("malformed")
    assert 1 <= totals.most_in_flight <= 8


def test_the_file_has_a_line_for_each_request_as_it_ends(tmp_path):
    path = tmp_path / "ledger.ndjson"
    with running(SimulatorSettings(faults=MIXED, ledger=path, price=Price(1, 1))) as server:
        body = {"model": "offline/rules-v1", "messages": [{"role": "user", "content": "hello"}]}
        with http_client() as http:
            for number in range(20):
                http.post(f"{server.url}/chat/completions", json=body | {"seed": number})
        polled(lambda: len(path.read_text().splitlines()) == 20)
        records = server.records()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [record.to_json() for record in records]
    assert [line["seed"] for line in lines] == list(range(20))


@pytest.mark.parametrize(
    ("settings", "answered_before"),
    [({"latency": 100, "latency_sigma": 0}, 1), ({"faults": Faults({"hang": 1.0})}, 0)],
)
def test_what_is_under_way_at_the_end_was_not_answered_and_is_billed(tmp_path, settings, answered_before):
    path = tmp_path / "ledger.ndjson"
    body = {"model": "offline/rules-v1", "messages": [{"role": "user", "content": "hello"}]}
    with running(SimulatorSettings(ledger=path, price=Price(1, 1), **settings)) as server:
        errors = []

        def ask():
            with http_client() as http:
                try:
                    http.post(f"{server.url}/chat/completions", json=body)
                except httpx2.TransportError as error:
                    errors.append(error)

        client = threading.Thread(target=ask)
        client.start()
        polled(lambda: server.totals().requests)
        assert server.totals().answered == answered_before, "about to be"
    client.join()
    assert len(errors) == 1  # the client is not left hanging
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["delivered"] is False
    totals = server.totals()
    assert (totals.requests, totals.answered, totals.billed_without_answer) == (1, 0, 1)
    assert totals.billed_usd == json.loads(line)["usd"] > 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_disk_that_is_full_at_the_end_changes_no_totals():
    ledger = Ledger(Price(1, 1), Path("/dev/full"))
    for number in range(2):
        record = Record(offset=0.0, id=f"sim-{number}", billed_prompt_tokens=2)
        ledger.open(record, answered=True)
    with pytest.raises(StorageError, match="No space left"):
        ledger.close()
    assert (ledger.totals().answered, ledger.totals().billed_without_answer) == (0, 2)
    assert ledger.under_way == 0


def test_memory_is_bounded_and_totals_are_not():
    ledger = Ledger(None, keep=5)
    for number in range(12):
        record = Record(offset=0.0, id=f"sim-{number}", billed_prompt_tokens=2)
        ledger.open(record, answered=True)
        ledger.close_record(record, delivered=True)
    assert [record.id for record in ledger.records()] == [f"sim-{number}" for number in range(7, 12)]
    assert (ledger.totals().requests, ledger.totals().billed_prompt_tokens) == (12, 24)
    assert ledger.page(0, 2) == (ledger.records()[:2], 9)
    assert ledger.page(9, 10) == (ledger.records()[2:], 12)
    assert ledger.page(50, 10) == ([], 50)


def test_without_a_price_no_dollars_are_known():
    ledger = Ledger(None)
    ledger.open(Record(offset=0.0, id="sim-1", billed_prompt_tokens=2), answered=True)
    assert ledger.records()[0].usd is None
    assert ledger.totals().billed_usd is None


def test_a_record_ends_once():
    ledger = Ledger(Price(1, 1))
    record = Record(offset=0.0, id="sim-1", billed_prompt_tokens=2)
    ledger.open(record, answered=True)
    assert ledger.totals().answered == 1
    for _ in range(2):
        ledger.close_record(record, delivered=False)
    assert (ledger.totals().answered, ledger.totals().billed_without_answer) == (0, 1)


def test_a_ledger_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "ledger"):
        with (
            pytest.raises(StorageError, match=r"The ledger .* cannot be written"),
            running(SimulatorSettings(ledger=path)),
        ):
            pass


def test_a_ledger_that_fills_its_disk_ends_the_server(tmp_path):
    body = {"model": "offline/rules-v1", "messages": [{"role": "user", "content": "hello"}]}
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with (
        pytest.raises(StorageError, match="No space left"),
        running(SimulatorSettings(ledger=Path("/dev/full"))) as server,
        http_client() as http,
    ):
        assert http.post(f"{server.url}/chat/completions", json=body).status_code == 200


@pytest.mark.parametrize(
    "options",
    [
        {"models": ()},
        {"models": ("gpt-5",)},
        {"models": ("offline/rules-v2",)},
        {"models": ("simulated/",)},
        {"models": ("simulated/a\nb",)},
        {"latency": -1},
        {"latency_sigma": float("nan")},
        {"die_after": -1},
        {"max_requests": 0},
        {"max_seconds": 0},
    ],
)
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(UsageError):
        SimulatorSettings(**options)


def test_a_price_below_zero_is_refused():
    with pytest.raises(UsageError):
        Price(-1, 0)


def test_an_address_that_is_taken_is_one_sentence(provider):
    here = provider()
    settings = SimulatorSettings(port=here.port)
    with pytest.raises(UsageError, match=f"Cannot listen at 127.0.0.1, port {here.port}"), running(settings):
        pass


def test_it_listens_at_ipv6_too():
    with running(SimulatorSettings(host="::1")) as server, http_client() as http:
        assert server.url.startswith("http://[::1]:")
        assert http.get(f"{server.url}/models").status_code == 200
        assert http.get(f"{server.url.removesuffix('/v1')}/simulator/totals").status_code == 200
