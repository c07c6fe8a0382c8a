"""Large bodies: read and checked beside the event loop, and answered as small ones are."""

import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel
from rest_server import client, make_workspace, opened, serving

from skill_fleet.api import limits
from skill_fleet.api.json_body import strict_json
from skill_fleet.api.problems import Refused
from skill_fleet.services.asking import Helper
from skill_fleet.services.job_requests import Body
from skill_fleet.services.service import Service

SERVE = """
import gc, os, signal, sys, threading, time
from pathlib import Path
from skill_fleet.server import serve
from skill_fleet.services.context import open_context

freeze, frozen, enough = gc.freeze, [], 1 + (sys.argv[2] == "worker")

def counted():
    freeze()
    frozen.append(gc.get_freeze_count())

def look():
    end = time.monotonic() + 60
    while len(frozen) < enough and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)

gc.freeze = counted
threading.Thread(target=look, daemon=True).start()
serve(open_context(Path(sys.argv[1])), "127.0.0.1", 0, worker=enough == 2)
print(frozen, gc.get_freeze_count())
"""
JSON = {"Content-Type": "application/json"}
ITEM = {"expected": {"taxonomy_path": "a/b", "name": "n", "sections": ["A", "B"]}, "group": "g"}
LARGEST = 4 * 2**20
AT_ONCE = 2


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
    ident = server_thread().ident
    assert ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(ident))


@dataclasses.dataclass
class Inside:
    """Which threads go through bodies, and how many of them at once.

    Attributes:
        most: How many there were at once.
        lingers: Whether each waits a moment for others.
    """

    lingers: bool = False
    threads: dict[str, set[int]] = dataclasses.field(default_factory=dict)
    most: int = 0
    _now: int = 0
    _changed: threading.Condition = dataclasses.field(default_factory=threading.Condition)

    def recorded(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """A function that tells where it is called, and is there for a while."""

        def called(*values: Any, **options: Any) -> Any:
            with self._changed:
                self._now += 1
                self.most = max(self.most, self._now)
                self.threads.setdefault(name, set()).add(threading.get_ident())
                self._changed.notify_all()
                if self.lingers:
                    self._changed.wait_for(lambda: self.most > AT_ONCE, timeout=0.2)
            try:
                return work(*values, **options)
            finally:
                with self._changed:
                    self._now -= 1

        return called


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Inside:
    """Everything that goes through the whole of a body."""
    inside = Inside()
    monkeypatch.setattr(limits, "strict_json", inside.recorded("read", limits.strict_json))
    for name in ("model_validate", "model_dump"):
        work = getattr(BaseModel, name)
        plain = getattr(work, "__func__", work)
        recorded = inside.recorded(name, plain)
        monkeypatch.setattr(Body, name, classmethod(recorded) if plain is not work else recorded)
    return inside


def server_thread() -> threading.Thread:
    [server] = [one for one in threading.enumerate() if one.name.endswith("(run)")]
    return server


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


METADATA = {"metadata": {"a": "x" * 100_000}}
ROUTES = {
    "/optimization/start": ({"optimizer": "gepa", **METADATA}, 422, True),
    "/optimization/estimate": ({"optimizer": "gepa", **METADATA}, 422, True),
    "/optimization/recommend": ({"optimizer": "gepa", **METADATA}, 422, True),
    "/skills": ({"task": "Write a skill.", **METADATA}, 422, True),
    "/skills/validate": ({"content": "x" * 100_000}, 200, False),
    "/evaluation/evaluate": ({"path": "x" * 100_000}, 422, False),
    "/evaluation/evaluate-content": ({"content": "x" * 100_000}, 200, False),
    "/evaluation/evaluate-batch": ({"paths": ["x" * 100_000]}, 422, False),
}
"""Every route that takes a body of a size: a large one, the status of its answer, whether it is copied."""


@pytest.mark.parametrize("path", ROUTES)
def test_no_route_goes_through_a_large_body_on_the_event_loop(
    api: httpx2.Client, inside: Inside, path: str
) -> None:
    given, status, copied = ROUTES[path]
    answer = api.post(path, json=given)
    assert answer.status_code == status, answer.text
    assert inside.threads.keys() == {"read", "model_validate"} | ({"model_dump"} if copied else set())
    assert server_thread().ident not in set().union(*inside.threads.values())


def test_every_route_with_a_body_is_asked_with_a_large_one(api: httpx2.Client) -> None:
    described = httpx2.get(f"{str(api.base_url).removesuffix('/api/v2/')}/openapi.json").json()
    with_body = {path for path, item in described["paths"].items() if "requestBody" in item.get("post", {})}
    no_size = "/optimization/jobs/{job_id}/resume"
    assert with_body == {f"/api/v2{path}" for path in (*ROUTES, no_size)}


def test_few_large_bodies_are_gone_through_at_once(api: httpx2.Client, inside: Inside) -> None:
    inside.lingers = True
    with ThreadPoolExecutor(6) as pool:
        answers = pool.map(lambda _: api.post("/skills/validate", json={"content": "x" * 100_000}), range(6))
        assert [answer.status_code for answer in answers] == [200] * 6
    assert inside.most == AT_ONCE


MANY_KEYS = {f"k{number}": 1 for number in range(350_000)}


@pytest.mark.parametrize(
    ("path", "given", "field"),
    [
        ("/optimization/start", {"models": MANY_KEYS}, "body.models"),
        ("/optimization/estimate", {"budget": MANY_KEYS}, "body.budget"),
        ("/optimization/recommend", MANY_KEYS, "body"),
        ("/skills", MANY_KEYS, "body"),
        ("/evaluation/evaluate", MANY_KEYS, "body"),
    ],
)
def test_of_an_object_with_too_many_keys_no_key_is_checked(
    api: httpx2.Client, path: str, given: dict[str, Any], field: str
) -> None:
    answer = api.post(path, json=given)
    assert answer.status_code == 422
    # Of more errors it would say how many.
    assert answer.json()["detail"] == f"{field}: it has 350000 keys, and 100 are the most."


@pytest.mark.parametrize("items", [1_000, 19_000])
def test_a_training_set_is_checked_up_to_its_first_wrong_item(api: httpx2.Client, items: int) -> None:
    answer = api.post("/optimization/start", json={"trainset": [ITEM, *range(items)]})
    assert answer.json()["detail"] == "body.trainset.1: Input should be a valid dictionary."


def test_a_name_as_long_as_a_body_is_not_compared_with_others(api: httpx2.Client) -> None:
    before = loop_seconds()
    answer = api.post("/optimization/start", json={"optimzer" + "x" * (LARGEST - 100): 1})
    spent = loop_seconds() - before
    assert answer.json()["hint"].startswith("Known: budget, ")
    assert spent < 0.2


def test_a_key_that_stands_there_twice_is_found_in_one_pass() -> None:
    keys = [*(f'"k{number}": 1' for number in range(20_000)), '"k19999": 2']
    before = time.thread_time()
    with pytest.raises(Refused, match='the key "k19999" stands there twice'):
        strict_json(f"{{{', '.join(keys)}}}".encode())
    assert time.thread_time() - before < 1


@pytest.mark.parametrize("worker", ["worker", "none"])
def test_what_is_there_when_it_serves_is_not_looked_through_again(tmp_path: Path, worker: str) -> None:
    with opened(tmp_path):  # its tables: who makes them imports the queue before it serves
        pass
    command = [sys.executable, "-c", SERVE, str(tmp_path), worker]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    said, _, left = done.stdout.splitlines()[-1].rpartition(" ")
    first, *further = json.loads(said)
    assert first > 10_000, done.stderr
    # The worker imports its queue after the server has begun to answer.
    assert [number > first + 10_000 for number in further] == [True] * (worker == "worker")
    assert left == "0", "at the end it is all looked through"


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
