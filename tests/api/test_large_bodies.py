"""Large bodies: read and checked beside the event loop, and answered as small ones are."""

import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from rest_server import client, make_workspace, opened, serving

from skill_fleet.services.asking import Helper
from skill_fleet.services.service import Service

SERVE = """
import gc, os, signal, sys, threading, time
from pathlib import Path
from skill_fleet.server import serve
from skill_fleet.services.context import open_context

def look():
    while gc.get_freeze_count() < 10_000:
        time.sleep(0.01)
    print("frozen", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=look, daemon=True).start()
serve(open_context(Path(sys.argv[1])), "127.0.0.1", 0, worker=False)
print("left", gc.get_freeze_count())
"""
JSON = {"Content-Type": "application/json"}
ITEM = {"expected": {"taxonomy_path": "a/b", "name": "n", "sections": ["A", "B"]}, "group": "g"}
LARGEST = 4 * 2**20


class AgreeingHelper(Helper):
    """Finds nothing wrong with any request, without a process."""

    async def _exchanged(self, line: bytes) -> tuple[Mapping[str, Any], bytes]:
        assert line.endswith(b"\n")
        return {}, b'{"provider": "offline"}'


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with opened(make_workspace(tmp_path_factory.mktemp("large"))) as service:
        yield dataclasses.replace(service, helper=AgreeingHelper({}))


@pytest.fixture(scope="module")
def api(service: Service) -> Iterator[httpx2.Client]:
    with serving(service) as address, client(address) as made:
        yield made


def body(size: int = LARGEST, **more: Any) -> bytes:
    """A request with as many items as fit into a size."""
    item = {"task_description": "Write a skill. " + "x" * 100, **ITEM}
    number = (size - 1000) // (len(json.dumps(item)) + 2)
    return json.dumps({"trainset": [item] * number, "optimizer": "gepa", **more}).encode()


def loop_seconds() -> float:
    """What the thread of the server has computed so far, whatever else the machine does."""
    [server] = [one for one in threading.enumerate() if one.name.endswith("(run)")]
    assert server.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(server.ident))


def reading_once(given: bytes) -> float:
    begun = time.thread_time()
    json.loads(given)
    return time.thread_time() - begun


def test_the_event_loop_does_not_go_through_a_large_body(api: httpx2.Client, service: Service) -> None:
    given = body()
    headers = {**JSON, "Idempotency-Key": "large"}
    spent, once = [], []
    for _ in range(3):
        before = loop_seconds()
        answer = api.post("/optimization/start", content=given, headers=headers)
        spent.append(loop_seconds() - before)
        once.append(reading_once(given))
        assert answer.status_code == 202, answer.text
    # In all it takes about ten times as long as to read it once; to receive it takes one of these.
    assert min(spent) < 3 * min(once)
    kept = service.jobs.request_of(answer.json()["job_id"])
    assert kept["trainset"] == json.loads(given)["trainset"]


def test_what_is_there_when_it_serves_is_not_looked_through_again(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVE, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    assert done.stdout.splitlines()[1:] == ["frozen", "left 0"], done.stderr


@pytest.mark.parametrize("path", ["/optimization/start", "/optimization/estimate", "/skills"])
def test_what_is_wrong_with_a_large_body_is_said_as_of_a_small_one(api: httpx2.Client, path: str) -> None:
    def said(given: dict[str, Any]) -> dict[str, Any]:
        answer = api.post(path, content=json.dumps(given).encode(), headers=JSON)
        assert answer.status_code == 422
        return {name: answer.json()[name] for name in ("code", "detail", "hint", "errors")}

    wrong = {"optimzer": "gepa", "task": 7, "seed": "1", "metadata": {"a": "x"}}
    assert said(wrong) == said({**wrong, "metadata": {"a": "x" * 100_000}})


def test_what_is_left_out_of_a_large_body_stays_left_out(api: httpx2.Client, service: Service) -> None:
    answer = api.post("/optimization/start", content=body(100_000, seed=None), headers=JSON)
    kept = service.jobs.request_of(answer.json()["job_id"])
    assert sorted(kept) == ["budget", "optimizer", "trainset"]
    assert len(body(100_000)) > 1 << 16
