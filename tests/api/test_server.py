"""A real server in a process of its own: how it begins, what it loads, how it ends."""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raw_http import received_until
from skill_fleet.foundation.errors import ConfigError, UsageError
from skill_fleet.jobs.records import NewJob
from skill_fleet.server import serve
from skill_fleet.services.context import Context, open_context
from skill_fleet.services.service import open_service

AT_ONCE = 30.0
"""Seconds that a busy machine may take for an end of three to five; streams last for minutes."""
SERVE = """
import json, sys
from pathlib import Path
from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.server import serve
from skill_fleet.services.context import open_context
workspace, host, port, worker = sys.argv[1:]
try:
    serve(open_context(Path(workspace)), host, int(port), worker=worker == "worker", as_json=True)
except SkillFleetError as error:
    sys.stderr.write(f"error: {error.message} {error.hint}\\n")
    sys.exit(error.exit_code)
heavy = {"dspy", "numpy", "optuna", "gepa", "litellm", "typer", "rich"}
print(json.dumps({"heavy": sorted(heavy & {name.partition(".")[0] for name in sys.modules})}))
"""


class Serving:
    """A server under way."""

    def __init__(self, process: subprocess.Popen[str], first: str) -> None:
        self.process = process
        self.url = json.loads(first)["url"]
        host, port = self.url.removeprefix("http://").rsplit(":", 1)
        self.address = (host, int(port))

    def get(self, path: str) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=60) as response:  # noqa: S310
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def post(self, path: str, body: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            return json.loads(response.read())

    def stream(self, path: str) -> socket.socket:
        """A connection that reads a stream which has begun."""
        connection = socket.create_connection(self.address, timeout=60)
        head = f"GET {path} HTTP/1.1\r\nHost: {self.address[0]}\r\nAccept: text/event-stream\r\n\r\n"
        connection.sendall(head.encode())
        assert b"200 OK" in received_until(connection, b"\r\n\r\n")
        return connection

    def stop(self, number: int) -> tuple[int, float, str]:
        """Exit code, seconds it took, and what it printed last."""
        began = time.monotonic()
        self.process.send_signal(number)
        printed, _ = self.process.communicate(timeout=60)
        return self.process.returncode, time.monotonic() - began, printed


def start(workspace: Path, *words: str, **environ: str) -> subprocess.Popen[str]:
    named = {key: value for key, value in os.environ.items() if not key.startswith("SKILL_FLEET_")}
    return subprocess.Popen(
        [sys.executable, "-c", SERVE, str(workspace), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**named, **environ},
    )


@contextlib.contextmanager
def serving(workspace: Path, *words: str, **environ: str) -> Iterator[Serving]:
    process = start(workspace, *(words or ("127.0.0.1", "0", "alone")), **environ)
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, process.communicate()
        yield Serving(process, first)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Context]:
    """A context for a server in this process; the levels of loggers are put back."""
    loggers = [logging.getLogger(name) for name in ("skill_fleet", "uvicorn.error")]
    levels = [logger.level for logger in loggers]
    yield open_context(tmp_path, environ={})
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def test_it_serves_with_a_stream_open_and_is_gone_at_once_when_told(tmp_path: Path) -> None:
    service = open_service(open_context(tmp_path, environ={}))
    service.jobs.create(NewJob("20260101-000000-0123456789", "optimization", {}))
    service.close()
    with serving(tmp_path) as server:
        assert server.get("/healthz") == (200, {"status": "ok"})
        assert server.get("/readyz")[0] == 200
        streams = [
            server.stream("/api/v2/optimization/jobs/20260101-000000-0123456789/events") for _ in range(3)
        ]
        idle = socket.create_connection(server.address)
        code, seconds, printed = server.stop(signal.SIGTERM)
        for connection in (*streams, idle):
            connection.close()
    assert code == 0, printed
    assert seconds < AT_ONCE
    assert json.loads(printed) == {"heavy": []}, "the server's process loads neither programs nor optimizers"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]", " ", "192.0.2.1"])  # noqa: S104 - refused
def test_where_others_could_reach_it_a_key_is_needed_first(here: Context, host: str) -> None:
    with pytest.raises(ConfigError) as error:
        serve(here, host, 0, worker=False)
    assert error.value.exit_code == 2
    assert error.value.message == f"Other machines could reach the host '{host}', and there is no key yet."


def test_a_name_that_stands_for_another_machine_needs_a_key(
    here: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_o: elsewhere)
    with pytest.raises(ConfigError, match="there is no key yet"):
        serve(here, "localhost", 0, worker=False)


def test_with_a_key_it_may_listen_everywhere(tmp_path: Path) -> None:
    service = open_service(open_context(tmp_path, environ={}))
    service.keys.create("somebody", ["read"])
    service.close()
    with serving(tmp_path, "0.0.0.0", "0", "alone") as server:  # noqa: S104
        assert server.address[0] == "0.0.0.0"  # noqa: S104
        server.url = f"http://127.0.0.1:{server.address[1]}"
        assert server.get("/healthz")[0] == 200
        assert server.get("/api/v2/optimization/jobs")[0] == 401
        code, seconds, _ = server.stop(signal.SIGINT)
    assert code == 0
    assert seconds < AT_ONCE


def test_an_address_that_is_taken_is_one_sentence(here: Context) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError) as error:
            serve(here, "127.0.0.1", port, worker=False)
    assert error.value.message == f"The server cannot listen at 127.0.0.1:{port}: Address already in use."


@pytest.mark.parametrize("port", [-1, 65536, 70000])
def test_a_port_that_is_none_is_one_sentence(here: Context, port: int) -> None:
    with pytest.raises(UsageError, match="from 0 to 65535"):
        serve(here, "127.0.0.1", port, worker=False)


def test_an_address_of_another_machine_is_one_sentence(
    here: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_o: elsewhere)
    service = open_service(here)
    service.keys.create("somebody", ["read"])
    service.close()
    with pytest.raises(UsageError, match=r"cannot listen at 192\.0\.2\.1:0: Cannot assign"):
        serve(here, "192.0.2.1", 0, worker=False)


def waited_for(condition: Callable[[], bool], seconds: float = 100.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.slow
def test_a_server_with_a_worker_hands_its_job_back_and_the_next_one_goes_on_with_it(tmp_path: Path) -> None:
    body = {"optimizer": "miprov2", "auto": "light", "rounds": 1, "save_path": "made.json"}
    with serving(tmp_path, "127.0.0.1", "0", "worker") as server:
        waited_for(lambda: server.get("/readyz")[0] == 200)
        code, second, _ = _second_server(tmp_path)
        assert (code, second.count("\n")) == (1, 1), second
        assert f"already being worked on by process {server.process.pid}" in second
        job = server.post("/api/v2/optimization/start", body)["job_id"]
        status = f"/api/v2/optimization/status/{job}"
        waited_for(lambda: server.get(status)[1]["cost"]["calls"] > 20)
        stream = server.stream(f"/api/v2/optimization/jobs/{job}/events")
        code, seconds, printed = server.stop(signal.SIGTERM)
        stream.close()
    assert (code, json.loads(printed)) == (0, {"heavy": []})
    assert seconds < AT_ONCE
    service = open_service(open_context(tmp_path, environ={}))
    left = service.jobs.get(job)
    service.close()
    assert left.status == "queued"
    with serving(tmp_path, "127.0.0.1", "0", "worker") as server:
        waited_for(lambda: server.get(status)[1]["cost"]["calls"] > left.calls)
        assert server.get(status)[1]["attempt"] == 1
        assert server.stop(signal.SIGTERM)[0] == 0


def _second_server(workspace: Path) -> tuple[int, str, str]:
    process = start(workspace, "127.0.0.1", "0", "worker")
    try:
        printed, said = process.communicate(timeout=100)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    return process.returncode, said, printed


def test_who_cannot_be_the_worker_does_not_say_that_it_serves(tmp_path: Path) -> None:
    with serving(tmp_path, "127.0.0.1", "0", "worker") as server:  # not a moment later
        code, said, printed = _second_server(tmp_path)
        assert (code, printed) == (1, "")
        assert f"already being worked on by process {server.process.pid}" in said
        assert server.stop(signal.SIGTERM)[0] == 0
    with serving(tmp_path, "127.0.0.1", "0", "worker") as server:
        waited_for(lambda: server.get("/readyz")[0] == 200)


def test_junk_at_the_port_is_one_line_in_the_log(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        for _ in range(20):
            with socket.create_connection(server.address, timeout=60) as connection:
                connection.sendall(b"\x16\x03\x01\0\xff junk\r\n\r\n")
                assert b" 400 " in received_until(connection, b"\r\n")
        assert server.get("/healthz")[0] == 200
        server.process.send_signal(signal.SIGTERM)
        _, said = server.process.communicate(timeout=60)
    assert said.count("\n") == 1
    assert "WARNING uvicorn.error: What came was not HTTP: 1 " in said
