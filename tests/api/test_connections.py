"""Raw sockets: who sends slowly, too much, or what is no HTTP."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from api_frame import HandClock, frame, listening

from raw_http import one_answer
from skill_fleet.api.connections import HEADER_BYTES

HEAD = b"Host: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture
def seconds() -> float:
    """How long a header, or a body, may take: longer than a busy machine keeps anybody waiting."""
    return 60.0


HASTY = pytest.mark.parametrize("seconds", [0.5])
"""For who is too slow on purpose."""


@pytest.fixture
def address(tmp_path, hand_clock: HandClock, seconds: float) -> Iterator[tuple[str, int]]:
    app = frame(
        tmp_path,
        hand_clock,
        SKILL_FLEET_SERVER__BODY_SECONDS=str(seconds),
        SKILL_FLEET_SERVER__MAX_BODY_BYTES="100000",
    )
    with listening(app, seconds) as address:
        yield address


def connected(address):
    connection = socket.create_connection(address, timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def all_of(connection) -> bytes:
    """What comes until the other side closes."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionError:
        pass
    return received


def problem_in(received: bytes) -> tuple[int, str]:
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    return int(head.split()[1]), json.loads(body)["code"]


def trickle(connection, data: bytes, pause: float) -> None:
    """Send byte by byte, until the other side has enough of it."""

    def send():
        try:
            for place in range(len(data)):
                connection.sendall(data[place : place + 1])
                time.sleep(pause)
        except OSError:
            pass

    threading.Thread(target=send, daemon=True).start()


@HASTY
def test_a_header_that_trickles_is_408(address) -> None:
    began = time.monotonic()
    with connected(address) as connection:
        trickle(connection, b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 1000, 0.05)
        assert problem_in(all_of(connection)) == (408, "slow_header")
    assert time.monotonic() - began < 40.0


@HASTY
def test_who_says_nothing_is_hung_up_on(address) -> None:
    began = time.monotonic()
    with connected(address) as connection:
        assert all_of(connection) == b""
    assert time.monotonic() - began < 40.0


@pytest.mark.parametrize("seconds", [3.0])
def test_a_header_that_trickles_on_a_kept_connection_is_bounded_as_well(address) -> None:
    began = time.monotonic()
    with connected(address) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n" + HEAD + b"\r\n")
        assert one_answer(connection).startswith(b"HTTP/1.1 200")
        trickle(connection, b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 1000, 0.05)
        assert problem_in(all_of(connection)) == (408, "slow_header")
    assert time.monotonic() - began < 40.0


@pytest.mark.parametrize("seconds", [3.0])
def test_a_kept_connection_serves_on(address, seconds: float) -> None:
    with connected(address) as connection:
        for pause in (0.0, 0.2, 1.2 * seconds):  # between requests the time for a header does not run
            time.sleep(pause)
            connection.sendall(b"GET /healthz HTTP/1.1\r\n" + HEAD + b"\r\n")
            assert one_answer(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("piece", [b"X: " + b"y" * 100_000, b"X: y\r\n" * 20_000], ids=["one", "many"])
def test_a_header_too_large_is_431(address, piece: bytes) -> None:
    with connected(address) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"GET /healthz HTTP/1.1\r\n" + piece)
        received = all_of(connection)
    # Bytes that were not read can reset the connection before the answer is through.
    assert not received or problem_in(received) == (431, "headers_too_large")


def test_a_header_just_too_large_is_told(address) -> None:
    with connected(address) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX: " + b"y" * HEADER_BYTES)
        assert problem_in(all_of(connection)) == (431, "headers_too_large")


def test_an_address_too_long_is_431(address) -> None:
    with connected(address) as connection:
        connection.sendall(b"GET /" + b"x" * HEADER_BYTES)
        assert problem_in(all_of(connection)) == (431, "headers_too_large")


@pytest.mark.parametrize(
    "line",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nBad Header: x\r\n\r\n",
        b"\x00" * 100,
    ],
)
def test_what_is_no_http_is_400(address, line: bytes) -> None:
    with connected(address) as connection:
        connection.sendall(line)
        status, code = problem_in(all_of(connection))
    assert (status, code) in {(400, "bad_request"), (400, "invalid_json")}


@HASTY
def test_a_body_that_trickles_is_408(address) -> None:
    began = time.monotonic()
    with connected(address) as connection:
        connection.sendall(b"POST /probe/echo HTTP/1.1\r\n" + HEAD + b"Content-Length: 1000\r\n\r\n")
        trickle(connection, b" " * 1000, 0.05)
        assert problem_in(all_of(connection)) == (408, "slow_body")
    assert time.monotonic() - began < 40.0


def test_a_chunked_body_without_end_is_413(address) -> None:
    with connected(address) as connection:
        connection.sendall(b"POST /probe/echo HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        piece = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
        for _ in range(8):
            connection.sendall(piece)
        assert one_answer(connection).startswith(b"HTTP/1.1 413")


def test_the_answer_to_a_body_too_large_is_received_by_who_sends_it_all(address) -> None:
    with connected(address) as connection:
        connection.sendall(b"POST /probe/echo HTTP/1.1\r\n" + HEAD + b"Content-Length: 3000000\r\n\r\n")
        connection.sendall(b"x" * 3_000_000)
        assert one_answer(connection).startswith(b"HTTP/1.1 413")
        connection.sendall(b"GET /healthz HTTP/1.1\r\n" + HEAD + b"\r\n")
        assert b"HTTP/1.1 200" in one_answer(connection)


def test_who_is_told_to_go_on_does(address) -> None:
    with connected(address) as connection:
        head = b"POST /probe/echo HTTP/1.1\r\n" + HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        connection.sendall(head)
        assert one_answer(connection).startswith(b"HTTP/1.1 100")
        connection.sendall(b"{}")
        assert b"HTTP/1.1 200" in one_answer(connection)


def test_who_announces_too_much_is_not_told_to_go_on(address) -> None:
    with connected(address) as connection:
        head = (
            b"POST /probe/echo HTTP/1.1\r\n"
            + HEAD
            + b"Expect: 100-continue\r\nContent-Length: 999999\r\n\r\n"
        )
        connection.sendall(head)
        assert one_answer(connection).startswith(b"HTTP/1.1 413")


def test_garbage_behind_a_request_does_not_mix_into_its_answer(address) -> None:
    with connected(address) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n" + HEAD + b"\r\n" + b"\x00garbage\r\n\r\n")
        received = all_of(connection)
    assert received.count(b"HTTP/1.1") <= 1 or received.index(b'{"status":"ok"}') < received.rindex(
        b"HTTP/1.1"
    )


@pytest.mark.parametrize("seconds", [4.0])
def test_many_slow_clients_keep_nobody_waiting(address) -> None:
    slow = [connected(address) for _ in range(100)]
    for connection in slow:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
    with connected(address) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n" + HEAD + b"\r\n")
        assert one_answer(connection).startswith(b"HTTP/1.1 200")
    for connection in slow:
        assert problem_in(all_of(connection)) == (408, "slow_header")
        connection.close()
