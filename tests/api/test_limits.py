"""What is sent is bounded: in size, in time, in kind."""

import asyncio
import time

import pytest
from api_frame import HandClock, client_of, frame
from fastapi.testclient import TestClient

from skill_fleet.api.limits import Bodies
from skill_fleet.api.problems import Refused

JSON = {"Content-Type": "application/json"}


def code_of(response):
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


@pytest.fixture
def narrow(tmp_path, hand_clock: HandClock) -> TestClient:
    return client_of(frame(tmp_path, hand_clock, SKILL_FLEET_SERVER__MAX_BODY_BYTES="1000"))


@pytest.mark.parametrize("size", [1001, 2000, 100_000])
def test_a_body_too_large_is_413(narrow: TestClient, size: int) -> None:
    body = b'"' + b"x" * (size - 2) + b'"'
    assert code_of(narrow.post("/probe/echo", content=body, headers=JSON)) == (413, "body_too_large")
    assert code_of(narrow.post("/probe/echo", content=iter([body]), headers=JSON)) == (413, "body_too_large")


def test_a_body_of_the_largest_size_comes_through(narrow: TestClient) -> None:
    body = b'"' + b"x" * 998 + b'"'
    assert narrow.post("/probe/echo", content=body, headers=JSON).json()["body"] == "x" * 998
    pieces = iter([body[:500], body[500:]])
    assert narrow.post("/probe/echo", content=pieces, headers=JSON).json()["body"] == "x" * 998


@pytest.mark.parametrize("length", ["99999999999999999999999999", "-1", "1e3", "0x10", "", "٣"])
def test_a_length_that_is_none_is_refused(narrow: TestClient, length: str) -> None:
    headers = [*JSON.items(), ("Content-Length", length.encode())]
    assert narrow.post("/probe/echo", content=b"{}", headers=headers).status_code == 413


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/jsonp",
        "application/problem+json",
        "text/json",
        "",
    ],
)
def test_another_kind_of_body_is_415(visitor: TestClient, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    for method in ("POST", "DELETE", "GET"):
        response = visitor.request(method, "/probe/echo", content=b"{}", headers=headers)
        assert code_of(response) == (415, "unsupported_media_type"), method


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON ; Charset=UTF-8", 'application/json;charset="utf-8"']
)
def test_json_by_any_spelling(visitor: TestClient, kind: str) -> None:
    assert visitor.post("/probe/echo", content=b"{}", headers={"Content-Type": kind}).status_code == 200


def test_two_kinds_or_a_compressed_body_are_415(visitor: TestClient) -> None:
    twice = [("Content-Type", "application/json"), ("Content-Type", "application/json")]
    assert visitor.post("/probe/echo", content=b"{}", headers=twice).status_code == 415
    packed = {**JSON, "Content-Encoding": "gzip"}
    assert visitor.post("/probe/echo", content=b"{}", headers=packed).status_code == 415


def test_no_body_needs_no_kind(visitor: TestClient) -> None:
    assert visitor.post("/probe/item/x").status_code == 200
    assert visitor.get("/probe/item/x", headers={"Content-Length": "0"}).status_code == 200


async def _never(_scope, _receive, _send):
    raise AssertionError("the application was called")


def _scope(*headers):
    return {"type": "http", "headers": [(b"content-type", b"application/json"), *headers]}


def test_a_slow_body_is_408_whatever_trickles_in() -> None:
    async def trickle():
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    bodies = Bodies(_never, most=10**6, seconds=0.2)
    began = time.monotonic()
    with pytest.raises(Refused) as refused:
        asyncio.run(bodies(_scope((b"transfer-encoding", b"chunked")), trickle, _never))
    assert refused.value.code == "slow_body"
    assert refused.value.headers == {"Connection": "close"}
    assert time.monotonic() - began < 40.0


def test_an_announced_body_that_is_too_large_is_refused_unread() -> None:
    async def unread():
        raise AssertionError("a byte was read")

    with pytest.raises(Refused) as refused:
        asyncio.run(Bodies(_never, most=10, seconds=1.0)(_scope((b"content-length", b"11")), unread, _never))
    assert refused.value.code == "body_too_large"


def test_who_goes_away_is_not_answered() -> None:
    async def gone():
        return {"type": "http.disconnect"}

    asyncio.run(Bodies(_never, most=10, seconds=1.0)(_scope((b"content-length", b"5")), gone, _never))
