"""What a simulated provider does not take: errors in OpenAI's shape, never a traceback, and it goes on."""

import json
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulator_client import polled

from raw_http import one_answer, received_until
from skill_fleet.simulator import Faults, Limits, SimulatorSettings, running
from skill_fleet.simulator.asking import read_asked
from skill_fleet.simulator.bodies import ApiError

HELLO = [{"role": "user", "content": "hello"}]


def error_of(answer, status):
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 5}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [*HELLO, {"role": "user"}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"seed": 1.5}, "seed"),
        ({"seed": True}, "seed"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -5}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": True}, "stream_options"),
        ({"response_format": "json"}, "response_format.type"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"properties": [1]}}}},
            "response_format.json_schema",
        ),
    ],
)
def test_a_bad_request_names_what_is_wrong(provider, changes, param):
    here = provider()
    error = error_of(here.ask(**changes), 400)
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    (record,) = here.server.records()
    assert (record.status, record.fault, record.billed, record.delivered) == (400, None, False, True)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 5000])
def test_a_body_that_is_no_object_is_refused(provider, body):
    error_of(provider().post(body), 400)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "text", "role", "content", "schema", "json_schema", "items", "enum", "properties"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
fields = st.sampled_from(
    [
        "messages",
        "temperature",
        "n",
        "seed",
        "max_tokens",
        "stream",
        "stream_options",
        "response_format",
        "tools",
    ]
)


@given(st.dictionaries(fields, json_values, max_size=4))
def test_no_body_is_more_than_refused(changes):
    body = {"model": "offline/rules-v1", "messages": HELLO, **changes}
    try:
        status = 200 if read_asked(json.dumps(body).encode()) else 0
    except ApiError as error:
        status = error.status
    assert status in {200, 400}


@pytest.fixture(scope="module")
def one_server():
    with running(SimulatorSettings()) as server:
        yield server


schemas = st.recursive(
    st.sampled_from([{"type": "string"}, {"type": "number"}, {"enum": ["a", 2]}, {"$ref": "#/$defs/x"}, {}]),
    lambda inner: (
        st.builds(lambda value: {"type": "array", "items": value}, inner)
        | st.builds(lambda value: {"anyOf": [value, {"type": "null"}]}, inner)
        | st.builds(
            lambda values: {"type": "object", "properties": values, "required": ["a", "b"]},
            st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        )
    ),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(schemas, json_values)
def test_any_schema_is_answered_or_refused(provider_of_module, schema, odd):
    for each in (schema, odd):
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": each}}
        answer = provider_of_module.ask(response_format=form)
        assert answer.status_code in {200, 400}
        if answer.status_code == 200:
            json.loads(answer.json()["choices"][0]["message"]["content"])


@pytest.fixture(scope="module")
def provider_of_module(one_server):
    from simulator_client import Provider, http_client

    with http_client() as http:
        yield Provider(one_server, http)


def test_a_wrong_key_is_refused_and_not_repeated(provider):
    here = provider(api_key="right-key-of-nobody")
    for headers in ({}, {"authorization": "Bearer wrong-key"}, {"authorization": "Bearer rïght".encode()}):
        answer = here.ask(headers=headers)
        assert error_of(answer, 401)["code"] == "invalid_api_key"
        assert "wrong-key" not in answer.text
        listed = here.http.get(f"{here.server.url}/models", headers=headers)
        assert error_of(listed, 401)["code"] == "invalid_api_key"
    assert here.ask(headers={"authorization": "Bearer right-key-of-nobody"}).status_code == 200
    assert "right-key-of-nobody" not in repr(SimulatorSettings(api_key="right-key-of-nobody"))


def test_without_a_key_of_its_own_it_takes_any(provider):
    assert provider().ask(headers={"authorization": "Bearer whatever"}).status_code == 200


def test_a_model_that_is_not_served_is_not_found(provider):
    error = error_of(provider().ask(model="gpt-5"), 404)
    assert error["code"] == "model_not_found"
    assert "gpt-5" in error["message"]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("POST", "/v1/responses"), ("GET", "/v1/chat/completions")]
)
def test_what_is_not_there_says_what_is(provider, method, path):
    here = provider()
    error = error_of(here.http.request(method, here.root + path), 404)
    assert "POST /v1/chat/completions" in error["message"]
    assert here.server.totals().requests == 0


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/models/offline/rules-v1", "/simulator/totals", "/nothing"]
)
def test_head_is_get_without_its_body(provider, path):
    here = provider()
    head, whole = (here.http.request(method, here.root + path) for method in ("HEAD", "GET"))
    assert (head.status_code, head.content) == (whole.status_code, b"")
    named = {name: value for name, value in head.headers.items() if name != "content-length"}
    assert named == {name: value for name, value in whole.headers.items() if name != "content-length"}
    assert int(head.headers["content-length"]) > 0


@pytest.mark.parametrize("method", ["OPTIONS", "DELETE", "PUT"])
def test_any_method_is_answered_and_it_goes_on(provider, method):
    here = provider()
    answer = here.http.request(method, f"{here.server.url}/models")
    assert answer.status_code == 404
    upgrade = {"connection": "upgrade", "upgrade": "h2c"}
    assert here.http.get(f"{here.server.url}/models", headers=upgrade).status_code == 200
    assert here.ask(headers={"connection": "close"}).status_code == 200
    assert here.ask().status_code == 200


def test_a_bug_is_told_to_whoever_met_it_and_the_others_go_on(provider, monkeypatch, caplog):
    from skill_fleet.simulator import deciding

    here = provider(limits=Limits(max_in_flight=1))
    with monkeypatch.context() as broken:
        broken.setattr(deciding, "answers", lambda asked: {}[asked.model])
        error = error_of(here.ask(), 500)
    assert error["type"] == "simulator_bug"
    assert "KeyError" in error["message"]
    assert "KeyError" in caplog.text
    assert here.ask().status_code == 200
    assert [record.status for record in here.server.records()] == [500, 200]


@pytest.mark.parametrize("target", ["//[", "/simulator/records?after=%C2%B2", "/simulator/records?after=-1"])
def test_a_target_that_is_none_is_a_bad_request(provider, target):
    here = provider()
    with socket.create_connection(("127.0.0.1", here.port), timeout=60) as raw:
        raw.sendall(b"GET %s HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" % target.encode())
        said = b""
        while piece := raw.recv(65536):
            said += piece
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"invalid_request_error" in said


@pytest.mark.parametrize("rest", [None, "x", 5, [], {"schema": 5}])
@pytest.mark.parametrize("kind", ["json_object", "text"])
def test_a_schema_where_none_belongs_is_nobody_s_business(provider, kind, rest):
    here = provider()
    answer = here.ask(response_format={"type": kind, "json_schema": rest})
    assert answer.status_code == 200
    assert here.server.totals().answered == here.server.totals().requests == 1


def test_more_behind_a_request_than_a_body_may_have_resets_the_connection(provider, monkeypatch):
    monkeypatch.setattr("skill_fleet.simulator.server.MAX_BODY_BYTES", 1000)
    here = provider(faults=Faults({"hang": 1.0}, in_a_row=1))
    body = json.dumps({"model": "offline/rules-v1", "messages": HELLO}).encode()
    with socket.create_connection(("127.0.0.1", here.port), timeout=20) as raw:
        raw.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        raw.sendall(body)
        polled(lambda: here.server.totals().requests)
        raw.sendall(b"x" * 1000)
        assert here.server.records()[0].delivered is None, "so much may wait"
        raw.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            raw.recv(1)
    polled(lambda: here.server.records()[0].delivered is False)
    here.server.change(faults={})
    assert here.ask().status_code == 200


def test_http_1_0_is_answered_too(provider):
    here = provider()
    body = json.dumps({"model": "offline/rules-v1", "messages": HELLO, "stream": True}).encode()
    with socket.create_connection(("127.0.0.1", here.port), timeout=60) as raw:
        head = b"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n" % len(body)
        raw.sendall(head + body)
        said = b""
        while piece := raw.recv(65536):
            said += piece
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.endswith(b"data: [DONE]\n\n")


def test_a_body_beyond_the_limit_is_refused_before_it_is_there(provider, monkeypatch):
    monkeypatch.setattr("skill_fleet.simulator.server.MAX_BODY_BYTES", 1000)
    here = provider()
    assert here.ask("x" * 700).status_code == 200
    for path in (b"/v1/chat/completions", b"/simulator/settings"):
        with socket.create_connection(("127.0.0.1", here.port), timeout=60) as raw:
            head = b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: 999999\r\n\r\n" % path
            raw.sendall(head + b"x" * 2000)
            said = one_answer(raw)
        assert said.startswith(b"HTTP/1.1 413 ")
        assert b"\r\nconnection: close\r\n" in said.lower()
        assert b"The body is longer than 1000 bytes." in said
    assert here.ask("x").status_code == 200
    assert [record.status for record in here.server.records()] == [200, 413, 200], "asked for an answer"
    assert here.server.totals().requests == 3


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nlong: " + b"x" * 70_000,
    ],
)
def test_what_is_no_http_is_refused_and_the_rest_goes_on(provider, sent):
    here = provider()
    with socket.create_connection(("127.0.0.1", here.port), timeout=60) as raw:
        raw.sendall(sent + b"\r\n\r\n")
        said = one_answer(raw)
        assert b" 200 " not in said.partition(b"\r\n")[0]
        assert said.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
    assert here.ask().status_code == 200


def test_connections_that_say_nothing_or_leave_early_hurt_nobody(provider):
    here = provider()
    silent = [socket.create_connection(("127.0.0.1", here.port)) for _ in range(20)]
    for raw in silent[:10]:
        raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        raw.close()
    assert here.ask().status_code == 200
    for raw in silent:
        raw.close()
    assert here.server.totals().requests == 1


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(provider):
    here = provider()
    body = json.dumps({"model": "offline/rules-v1", "messages": HELLO}).encode()
    with socket.create_connection(("127.0.0.1", here.port), timeout=60) as raw:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n"
        raw.sendall(head + b"content-length: %d\r\n\r\n" % len(body))
        assert one_answer(raw).startswith(b"HTTP/1.1 100 ")
        raw.sendall(body)
        assert one_answer(raw).startswith(b"HTTP/1.1 200 ")


def test_requests_sent_at_once_on_one_connection_are_answered_in_order(provider):
    here = provider()
    bodies = [
        json.dumps({"model": name, "messages": HELLO}).encode() for name in ("offline/rules-v1", "none")
    ]
    sent = b"".join(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        for body in bodies
    )
    with socket.create_connection(("127.0.0.1", here.port), timeout=60) as raw:
        raw.sendall(sent)
        said = received_until(raw, b"model_not_found")
    assert said.index(b"HTTP/1.1 200 ") < said.index(b"HTTP/1.1 404 ")
