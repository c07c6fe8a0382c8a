"""Each fault on the wire, as a plain client meets it, and what the ledger says of it."""

import asyncio
import json
import re
import socket
import time
from contextlib import ExitStack

import httpx2
import pytest
from simulator_client import polled

from clocks import FakeClock
from skill_fleet.foundation.errors import UnknownName, UsageError
from skill_fleet.simulator import CATALOGUE, Faults, Limits, Price
from skill_fleet.simulator.wire import Connection

BROKEN = ("reset", "truncated")
CREATED = re.compile(r'"created":\d+')


def always(name, **more):
    return Faults({name: 1.0}, **more)


@pytest.mark.parametrize(
    ("name", "status", "kind", "code"),
    [
        ("rate_limit", 429, "requests", "rate_limit_exceeded"),
        ("quota", 429, "insufficient_quota", "insufficient_quota"),
        ("auth", 401, "invalid_request_error", "invalid_api_key"),
        ("context", 400, "invalid_request_error", "context_length_exceeded"),
        ("not_found", 404, "invalid_request_error", "model_not_found"),
        ("server_error", 500, "server_error", None),
        ("unavailable", 503, "server_error", "overloaded"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_refusals_and_errors_are_openai_s_and_cost_nothing(provider, name, status, kind, code, stream):
    here = provider(faults=always(name), price=Price(1, 1))
    answer = here.ask(stream=stream)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (status, kind, code)
    waits = name in {"rate_limit", "unavailable"}
    assert (answer.headers.get("retry-after"), answer.headers.get("retry-after-ms")) == (
        ("1", "1000") if waits else (None, None)
    )
    totals = here.server.totals()
    assert totals.by_fault == {name: 1}
    assert (totals.requests, totals.answered, totals.rejected) == (1, 0, 0)
    assert (totals.billed_prompt_tokens, totals.billed_usd, totals.prompt_tokens) == (0, 0, 0)


def test_bad_gateway_is_a_page_of_html(provider):
    answer = provider(faults=always("bad_gateway")).ask()
    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html")
    assert answer.text.startswith("<html>")


@pytest.mark.parametrize("name", ["server_error", "rate_limit", "bad_gateway"])
def test_errors_are_billed_for_their_prompt_where_that_is_asked_for(provider, name):
    here = provider(faults=always(name), bill_errors=True, price=Price(1, 1))
    here.ask("x" * 400)
    totals = here.server.totals()
    assert totals.billed_prompt_tokens == 103  # 400 + 9 characters of "Be brief.", four a token
    assert (totals.prompt_tokens, totals.billed_completion_tokens) == (0, 0)
    assert totals.billed_without_answer == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", BROKEN)
def test_a_connection_that_breaks_is_billed(provider, name, stream):
    here = provider(faults=always(name), price=Price(1, 1))
    with pytest.raises(httpx2.ReadError if name == "reset" else httpx2.RemoteProtocolError):
        here.ask(stream=stream)
    totals = here.server.totals()
    assert totals.billed_prompt_tokens == totals.prompt_tokens > 0
    assert totals.billed_completion_tokens > 0
    assert (totals.answered, totals.billed_without_answer) == (0, 1)
    polled(lambda: here.server.records()[0].delivered is not None)
    (record,) = here.server.records()
    assert (record.fault, record.delivered) == (name, False)
    assert record.status == (None if name == "reset" else 200)


def test_a_hang_lasts_until_the_client_leaves(provider):
    here = provider(faults=always("hang"), price=Price(1, 1))
    with pytest.raises(httpx2.ReadTimeout):
        here.http.post(
            f"{here.server.url}/chat/completions",
            json={"model": "offline/rules-v1", "messages": [{"role": "user", "content": "x"}]},
            timeout=0.2,
        )
    polled(lambda: here.server.totals().requests == 1)  # a busy machine may read it only now
    assert here.server.totals().billed_without_answer == 1  # at once: whoever has given up finds it billed
    polled(lambda: here.server.records()[0].delivered is False)


def test_a_hang_ends_by_itself_after_its_time(provider):
    here = provider(faults=always("hang", hang_seconds=0.1))
    with pytest.raises(httpx2.RemoteProtocolError):
        here.ask()


@pytest.mark.parametrize("stream", [False, True])
def test_malformed_is_whole_http_and_broken_json(provider, stream):
    here = provider(faults=always("malformed"))
    answer = here.ask(stream=stream)
    assert answer.status_code == 200
    last = answer.text.strip().rpartition("data: ")[2]
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(last)
    assert here.server.totals().billed_without_answer == 1
    polled(lambda: here.server.records()[0].delivered is False)  # whole HTTP, but no whole answer


@pytest.mark.parametrize(
    ("name", "text", "finish"), [("blank", "", "stop"), ("content_filter", "", "content_filter")]
)
def test_answers_of_no_use_are_billed_by_their_usage(provider, name, text, finish):
    here = provider(faults=always(name))
    value = here.ask().json()
    assert value["choices"][0]["message"]["content"] == text
    assert value["choices"][0]["finish_reason"] == finish
    totals = here.server.totals()
    assert value["usage"]["completion_tokens"] == totals.billed_completion_tokens > 0
    assert (totals.answered, totals.billed_without_answer) == (0, 0)


def test_empty_has_no_choices_and_its_usage(provider):
    here = provider(faults=always("empty"))
    value = here.ask().json()
    assert value["choices"] == []
    assert value["usage"]["completion_tokens"] == here.server.totals().billed_completion_tokens > 0
    streamed = provider(faults=always("empty")).ask(stream=True, stream_options={"include_usage": True})
    events = [json.loads(line[6:]) for line in streamed.text.split("\n\n")[:-2]]
    assert [event["choices"] for event in events] == [[]]


def test_length_is_half_the_text(provider):
    here = provider(faults=always("length", in_a_row=1))
    cut, whole = (here.ask().json()["choices"][0] for _ in range(2))
    assert (cut["finish_reason"], whole["finish_reason"]) == ("length", "stop")
    assert 0 < len(cut["message"]["content"]) < len(whole["message"]["content"])
    assert whole["message"]["content"].startswith(cut["message"]["content"])


def test_no_usage_is_an_answer_that_is_billed(provider):
    here = provider(faults=always("no_usage"), price=Price(1, 1))
    value = here.ask().json()
    assert "usage" not in value
    assert value["choices"][0]["message"]["content"]
    totals = here.server.totals()
    assert (totals.answered, totals.billed_without_answer) == (1, 0)
    assert totals.billed_usd > 0
    streamed = here.ask("Another.", stream=True, stream_options={"include_usage": True}).text
    assert "prompt_tokens" not in streamed


@pytest.mark.parametrize("stream", [False, True])
def test_slow_answers_come_whole(provider, stream):
    plain = provider().ask(stream=stream).text
    for name in ("slow_first_byte", "drip"):
        here = provider(faults=always(name, slow_seconds=0.3))
        began, came, body = time.monotonic(), [], b""
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello."}]
        asked = {"model": "offline/rules-v1", "messages": messages, "stream": stream}
        with here.http.stream("POST", f"{here.server.url}/chat/completions", json=asked) as answer:
            for piece in answer.iter_raw():
                came.append(time.monotonic() - began)
                body += piece
        assert CREATED.sub("", body.decode()) == CREATED.sub("", plain)
        assert came[-1] >= 0.28
        if name == "slow_first_byte":
            assert came[0] >= 0.28
        else:  # twenty drops, of which a busy client may read some together
            assert len(came) > 3
            assert came[-1] - came[0] > 0.1
        assert here.server.totals().answered == 1


def test_each_fault_is_one_of_these_tests():
    tested = {
        "rate_limit",
        "quota",
        "auth",
        "context",
        "not_found",
        "server_error",
        "unavailable",
        "bad_gateway",
    }
    tested |= {*BROKEN, "hang", "malformed", "blank", "content_filter", "empty", "length", "no_usage"}
    assert tested | {"slow_first_byte", "drip"} == set(CATALOGUE)


def test_a_request_is_answered_after_four_faults(provider):
    here = provider(faults=always("server_error"))
    assert [here.ask().status_code for _ in range(6)] == [500, 500, 500, 500, 200, 500]
    assert [record.attempt for record in here.server.records()] == list(range(6))


def test_over_its_rate_it_answers_429_and_says_when_to_come_back(provider):
    clock = FakeClock()
    here = provider(clock, limits=Limits(rps=4))
    answers = [here.ask(f"Task {number}") for number in range(8)]
    statuses = [answer.status_code for answer in answers]
    assert statuses == [200] * 4 + [429] * 4
    refused = answers[statuses.index(429)]
    assert refused.headers["retry-after-ms"] == "250"
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    totals = here.server.totals()
    assert (totals.rejected, totals.by_fault) == (statuses.count(429), {"limit": statuses.count(429)})
    assert totals.answered == statuses.count(200)
    assert here.server.records()[0].attempt == 0
    assert here.server.records()[statuses.index(429)].attempt is None
    clock.sleep(0.25)
    assert [here.ask("again").status_code for _ in range(2)] == [200, 429]


def test_how_long_to_wait_can_be_told_otherwise_or_not_at_all(provider):
    told = provider(limits=Limits(rps=0.01, retry_after=7.5, rate_headers=False))
    told.ask()
    answer = told.ask()
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("7.5", "7500")
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
    silent = provider(limits=Limits(rps=0.01, retry_header=False))
    silent.ask()
    answer = silent.ask()
    assert answer.status_code == 429
    assert "retry-after" not in answer.headers
    assert "retry-after-ms" not in answer.headers


def test_too_many_at_once_are_turned_away(provider):
    here = provider(limits=Limits(max_in_flight=2), faults=always("hang", in_a_row=1))
    body = json.dumps({"model": "offline/rules-v1", "messages": [{"role": "user", "content": "x"}]}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    with ExitStack() as held:
        for number in (1, 2):
            raw = held.enter_context(socket.create_connection(("127.0.0.1", here.port), timeout=60))
            raw.sendall(head + body.replace(b'"x"', b'"%d"' % number))
        polled(lambda: here.server.totals().requests == 2)
        found = [here.ask(f"Task {number}") for number in range(4)]
    assert [answer.status_code for answer in found] == [429] * 4
    assert {answer.json()["error"]["code"] for answer in found} == {"too_many_concurrent_requests"}
    polled(lambda: all(record.delivered is not None for record in here.server.records()))
    here.server.change(faults={})
    assert here.ask("later").status_code == 200


def test_what_a_client_does_not_take_is_not_delivered():
    """Though it is less than a transport takes into its buffer before it says that it is full."""

    async def meeting():
        loop, connections = asyncio.get_running_loop(), set()
        delivered = loop.create_future()

        async def answering(_request, connection):
            delivered.set_result(await connection.respond(200, [], b"x" * 60_000))

        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        server = await loop.create_server(lambda: Connection(answering, 1000, connections), sock=listener)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.setblocking(False)
            await loop.sock_connect(client, listener.getsockname())
            await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert await loop.sock_recv(client, 15) == b"HTTP/1.1 200 OK"
            assert not delivered.done(), "the rest waits for the client"
        assert await delivered is False
        server.close()

    asyncio.run(asyncio.wait_for(meeting(), 60))


def test_an_answer_takes_its_time(provider):
    here = provider(latency=0.15, latency_sigma=0)
    began = time.monotonic()
    here.ask()
    assert time.monotonic() - began >= 0.14
    assert here.server.totals().most_in_flight == 1


def test_who_leaves_before_the_answer_is_billed_for_it(provider):
    here = provider(latency=100, latency_sigma=0, price=Price(1, 1))
    with pytest.raises(httpx2.ReadTimeout):
        here.http.post(
            f"{here.server.url}/chat/completions",
            json={"model": "offline/rules-v1", "messages": [{"role": "user", "content": "x"}]},
            timeout=0.1,
        )
    polled(lambda: here.server.totals().billed_without_answer == 1)
    totals = here.server.totals()
    assert (totals.answered, totals.requests) == (0, 1)
    assert totals.billed_completion_tokens > 0


def test_after_its_death_every_request_is_reset_until_it_is_revived(provider):
    here = provider(die_after=2)
    assert [here.ask().status_code for _ in range(2)] == [200, 200]
    for _ in range(3):
        with pytest.raises(httpx2.ReadError):
            here.ask()
    totals = here.server.totals()
    assert totals.by_fault == {"died": 3}
    assert totals.billed_prompt_tokens == totals.prompt_tokens == 2 * here.server.records()[0].prompt_tokens
    here.server.change(die_after=None)
    assert here.ask().status_code == 200


def test_settings_change_while_it_runs(provider):
    here = provider(seed=3)
    assert here.ask().status_code == 200
    asked = {"faults": {"server_error": 1}, "in_a_row": 9, "limits": {"rps": 50}, "latency": 0.01}
    shown = here.http.post(f"{here.root}/simulator/settings", json=asked).json()
    assert shown["faults"] == {"server_error": 1}
    assert shown["limits"]["rps"] == 50
    assert here.http.get(f"{here.root}/simulator/settings").json() == shown
    assert [here.ask().status_code for _ in range(6)] == [500] * 6
    here.http.post(f"{here.root}/simulator/settings", json={"faults": {}})
    answer = here.ask()
    assert answer.status_code == 200
    assert answer.headers["x-ratelimit-limit-requests"] == "3000"


@pytest.mark.parametrize(
    "asked",
    [
        {"faults": {"hangs": 1}},
        {"faults": {"hang": 2}},
        {"faults": ["hang"]},
        {"limits": {"rps": "fast"}},
        {"limits": {"speed": 1}},
        {"limits": 5},
        {"in_a_row": 1.5},
        {"latency": -1},
        {"bill_errors": "yes"},
        {"models": ["gpt-5"]},
        [],
    ],
)
def test_settings_that_make_no_sense_change_nothing(provider, asked):
    here = provider()
    before = here.http.get(f"{here.root}/simulator/settings").json()
    answer = here.http.post(f"{here.root}/simulator/settings", json=asked)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].endswith((".", "?"))
    assert here.http.get(f"{here.root}/simulator/settings").json() == before
    if isinstance(asked, dict):
        with pytest.raises((UnknownName, UsageError)):
            here.server.change(**asked)


def test_totals_and_records_over_http_are_those_of_the_server(provider):
    here = provider(price=Price(1, 2))
    for number in range(3):
        here.ask(f"Task {number}")
    assert here.http.get(f"{here.root}/simulator/totals").json() == here.server.totals().to_json()
    page = here.http.get(f"{here.root}/simulator/records?after=1").json()
    assert page == {"records": [each.to_json() for each in here.server.records()[1:]], "next": 3}
    assert here.http.get(f"{here.root}/simulator/records?after=3").json() == {"records": [], "next": 3}
    assert here.http.get(f"{here.root}/simulator/records?after=x").status_code == 400


def test_no_page_of_a_browser_steers_it(provider):
    here = provider()
    answer = here.http.get(f"{here.root}/simulator/totals", headers={"origin": "https://example.org"})
    assert answer.status_code == 403
