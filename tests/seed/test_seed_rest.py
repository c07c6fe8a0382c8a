"""The seed document's five endpoints, called as it describes them, its body sent as printed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import httpx2
import pytest

from running_service import serving, small_trainset

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = REPOSITORY.parent / "shared" / "seed" / "dspy-optimization.md"
COPIES = Path(__file__).parent / "blocks"
ENDPOINTS = {
    "POST /api/v2/optimization/start",
    "GET /api/v2/optimization/status/{job_id}",
    "GET /api/v2/optimization/optimizers",
    "GET /api/v2/optimization/config",
    "DELETE /api/v2/optimization/jobs/{job_id}",
}


def printed():
    """The JSON blocks of the section on endpoints: a body to start with, and a status."""
    section = DOCUMENT.read_text(encoding="utf-8").partition("## API Endpoints")[2]
    return re.findall(r"^```json\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


def block(name):
    return (COPIES / f"{name}.json.txt").read_text(encoding="utf-8")


def shipped(root):
    """A workspace with the shipped library and configuration."""
    for part in ("skills", "config"):
        shutil.copytree(REPOSITORY / part, root / part, ignore=shutil.ignore_patterns("optimized"))
    return root


@pytest.fixture
def server(tmp_path):
    """A service of a workspace with the shipped library; nobody works on its jobs."""
    root = shipped(tmp_path / "workspace")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SKILL_FLEET_")}
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "skill_fleet", "serve", "--port", "0", "--no-worker", "--json"],
            cwd=root,
            env={**environ, "HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        try:
            with httpx2.Client(base_url=json.loads(process.stdout.readline())["url"], timeout=60) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            process.stdout.close()


def test_the_copies_are_the_document():
    if not DOCUMENT.exists():
        pytest.skip("shared corpus absent")
    assert printed() == [block("start"), block("status")]
    text = DOCUMENT.read_text(encoding="utf-8")
    assert set(re.findall(r"^### ((?:GET|POST|DELETE) /\S+)$", text, re.MULTILINE)) == ENDPOINTS


def test_the_endpoints_do_what_they_are_said_to(server):
    known = server.get("/openapi.json").json()["paths"]
    assert {f"{method.upper()} {path}" for path, item in known.items() for method in item} >= ENDPOINTS
    started = server.post(
        "/api/v2/optimization/start", content=block("start"), headers={"Content-Type": "application/json"}
    )
    assert started.status_code == 202, started.text
    job_id = started.json()["job_id"]
    status = server.get(f"/api/v2/optimization/status/{job_id}").json()
    for field, example in json.loads(block("status")).items():
        assert type(status[field]) in {type(example), int}, field
    assert (status["job_id"], status["status"], status["progress"]) == (job_id, "queued", 0)
    names = {
        one["name"]: one["parameters"]
        for one in server.get("/api/v2/optimization/optimizers").json()["optimizers"]
    }
    assert {"miprov2", "gepa"} <= names.keys()
    assert {"max_bootstrapped_demos", "max_labeled_demos"} <= {one["name"] for one in names["miprov2"]}
    assert server.get("/api/v2/optimization/config").json()["optimization"]["optimizer"] == "gepa"
    answers = [server.delete(f"/api/v2/optimization/jobs/{job_id}").status_code for _ in range(3)]
    assert answers == [202, 204, 204]


@pytest.mark.slow
@pytest.mark.timeout(300)  # a busy machine takes several times as long
def test_the_body_as_printed_ends_in_an_artifact(tmp_path):
    """Only the training set that validation and sealed test are borrowed from is smaller than shipped."""
    root = shipped(tmp_path / "workspace")
    (root / "config" / "training" / "trainset.json").write_text(json.dumps(small_trainset()))
    running = serving(root)
    seen = []
    try:
        with httpx2.Client(base_url=running.url, timeout=60) as client:
            json_body = {"Content-Type": "application/json"}
            started = client.post("/api/v2/optimization/start", content=block("start"), headers=json_body)
            assert started.status_code == 202, started.text
            until = time.monotonic() + 250
            while not seen or seen[-1]["status"] in {"queued", "running"}:
                assert time.monotonic() < until, seen[-1]
                seen.append(client.get(started.json()["links"]["self"]).json())
                time.sleep(0.1)
    finally:
        assert running.stop() == 0
    assert seen[-1]["status"] == "succeeded", seen[-1]
    artifact = root / "config" / "optimized" / "skill_creator_optimized.json"
    assert artifact.exists()
    assert seen[-1]["result"]["artifact"] == str(artifact.relative_to(root))
    assert seen[-1]["result"]["optimizer"] == json.loads(block("start"))["optimizer"]
    moving = [(one["progress"], one["message"]) for one in seen if one["status"] == "running"]
    assert len({progress for progress, _ in moving}) >= 3
    assert len({message for _, message in moving}) >= 3
    assert all(before["progress"] <= after["progress"] for before, after in pairwise(seen))
    assert seen[-1]["progress"] == 1
