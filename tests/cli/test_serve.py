"""`serve`: one line, what it refuses, and that it is gone when it is told to."""

import signal
import socket
import urllib.request

import pytest

from running_service import serving, spawned


def answered(url: str) -> int:
    with urllib.request.urlopen(f"{url}/healthz", timeout=60) as response:  # noqa: S310 - our own
        return int(response.status)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(tmp_path, number):
    running = serving(tmp_path, "--no-worker")
    assert answered(running.url) == 200
    running.process.send_signal(number)
    out, _ = running.process.communicate(timeout=60)  # five seconds at most on a machine that is not busy
    assert running.process.returncode == 0
    assert out == ""
    assert (tmp_path / "stderr.txt").read_text() == ""


def test_its_line_for_people(tmp_path):
    process = spawned(tmp_path, "serve", "--port", "0", "--no-worker")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Serving at http://127.0.0.1:")
    process.terminate()
    process.communicate(timeout=60)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - refused
def test_an_address_that_others_reach_asks_for_a_key(cli, host):
    ended = cli("serve", "--host", host, "--port", "0")
    assert ended.code == 2
    assert "there is no key yet" in ended.err
    assert "skill-fleet keys create" in ended.err


def test_a_port_that_is_taken_is_one_sentence(cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = cli("serve", "--port", taken.getsockname()[1], "--json")
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert ended.json["error"]["code"] == "usage"


@pytest.mark.parametrize(
    "words", [("--port", "65536"), ("--port", "-1"), ("--jobs-at-once", "0"), ("--host", "")]
)
def test_options_out_of_range(cli, words):
    ended = cli("serve", *words)
    assert ended.code == 2
    assert ended.err.startswith("error: ")


def test_a_password_in_an_address_is_never_shown(cli):
    ended = cli("serve", "--port", "0", "--database-url", "postgresql://fleet:hunter2@127.0.0.1:1/fleet")
    assert ended.code == 1
    assert "is safer" in ended.err
    assert "hunter2" not in ended.err
