"""How quick the service answers while it works: a real server with a running job, asked by another process.

    uv run python benchmarks/service.py [--seconds 4] [--connections 16] [--paths 3000] [--rounds 3]

Prints one table: requests a second of `GET status` of the running job beside those of a route that does
nothing (`/healthz`, same layers) in the same run, alternating; times of both at half of the greatest
load; times of `/healthz` while 3,000 skills are evaluated in one request; memory of the idle server
beside that of a process that only imports the same modules; seconds from its start until it is ready, beside
those of the imports. Nothing is asserted: a loaded machine is slow, which is no fault of the server.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
IMPORTS = (
    "import alembic.command, dbos, httptools, uvloop, skill_fleet.server, skill_fleet.jobs.migrate, "
    "skill_fleet.jobs.supervise, skill_fleet.jobs.worker, skill_fleet.jobs.workflow, "
    "skill_fleet.services.service, skill_fleet.services.working"
)
SERVE = (
    "from pathlib import Path; from skill_fleet.server import serve; "
    "from skill_fleet.services.context import open_context; "
    "serve(open_context(Path('.')), '127.0.0.1', 0, as_json=True)"
)
JOB = {"optimizer": "miprov2", "auto": "heavy", "rounds": 20, "num_threads": 1, "save_path": "benchmark.json"}


class Server:
    """A server under way."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url
        self.host, _, self.port = url.removeprefix("http://").rpartition(":")

    def ask(self, path: str, body: Any = None, timeout: float = 120.0) -> Any:
        """The answer to GET, or to POST where there is a body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - our own server
            self.url + path, data, {"Content-Type": "application/json"} if data else {}
        )
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
            return json.loads(response.read())

    def load(
        self, path: str, *, seconds: float, connections: int, rate: float | None = None
    ) -> dict[str, Any]:
        """What `load.py` measured."""
        words = [sys.executable, str(HERE / "load.py"), self.host, self.port, path]
        words += ["--seconds", str(seconds), "--connections", str(connections)]
        words += ["--rate", str(rate)] if rate else []
        return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


@contextlib.contextmanager
def serving(workspace: Path) -> Iterator[tuple[Server, float, float]]:
    """A server with a worker, the seconds until it answered, and until it was ready."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        cwd=workspace,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        server = Server(process, json.loads(process.stdout.readline())["url"])
        server.ask("/healthz")
        answered = time.perf_counter() - began
        while not _is_ready(server):
            time.sleep(0.02)
        yield server, answered, time.perf_counter() - began
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def _is_ready(server: Server) -> bool:
    try:
        return bool(server.ask("/readyz")["status"] == "ok")
    except urllib.error.HTTPError as error:
        error.close()
        return False


def imports_alone() -> tuple[float, float]:
    """Seconds and MiB of a process that imports what the server imports, and does nothing."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", f"{IMPORTS}; print(1, flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    seconds, memory = time.perf_counter() - began, resident(process.pid)
    process.communicate("\n")
    return seconds, memory


def resident(pid: int) -> float:
    """MiB of memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def library(workspace: Path, count: int) -> list[str]:
    """Taxonomy paths of as many skills, written into the workspace."""
    texts = [path.read_text() for path in sorted((HERE.parent / "skills").rglob("SKILL.md"))]
    paths = []
    for number in range(count):
        lines = texts[number % len(texts)].splitlines()
        name = f"skill-{number}"
        text = "\n".join(f"name: {name}" if line.startswith("name: ") else line for line in lines)
        path = f"technical_skills/programming/generated/{name}"
        folder = workspace / "skills" / path
        folder.mkdir(parents=True)
        (folder / "SKILL.md").write_text(text + "\n")
        paths.append(path)
    return paths


def while_evaluating(server: Server, paths: list[str], connections: int) -> tuple[dict[str, Any], float]:
    """Times of `/healthz` while a batch is evaluated, and how long the batch took."""
    took: list[float] = []

    def evaluate() -> None:
        began = time.perf_counter()
        server.ask("/api/v2/evaluation/evaluate-batch", {"paths": paths})
        took.append(time.perf_counter() - began)

    server.ask("/api/v2/evaluation/evaluate-batch", {"paths": paths[:1]})  # its process is there now
    batch = threading.Thread(target=evaluate)
    batch.start()
    measured = []
    while batch.is_alive():
        measured.append(server.load("/healthz", seconds=1.0, connections=connections, rate=100))
    batch.join()
    worst = max(measured, key=lambda one: one["p99"])
    return worst, took[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3, help="of empty route and status, by turns")
    parser.add_argument("--paths", type=int, default=3000)
    asked = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("| what | figure | aim |")
    print("|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        paths = library(workspace, asked.paths)
        with serving(workspace):
            pass  # the tables are made, the bytecode is written
        alone = [imports_alone() for _ in range(3)]
        imports, memory = statistics.median(one[0] for one in alone), min(one[1] for one in alone)
        with serving(workspace) as (server, answered, ready):
            row("imports alone", f"{imports:.2f} s, {memory:.0f} MiB", "")
            row("until the first answer", f"{answered:.2f} s", "")
            row("until ready, the worker too", f"{ready:.2f} s", f"<= {imports + 1.5:.2f} s")
            time.sleep(2.0)
            idle = resident(server.process.pid)
            row("memory, idle", f"{idle:.0f} MiB, {idle / memory:.2f} x the imports", "<= 1.5 x")
            answers(server, asked)
            worst, took = while_evaluating(server, paths, 4)
            row(
                f"/healthz while {len(paths)} skills are evaluated ({took:.1f} s)",
                f"p50 {worst['p50']} ms, p99 {worst['p99']} ms, worst {worst['worst']} ms",
                "p99 < 50 ms",
            )


def answers(server: Server, asked: argparse.Namespace) -> None:
    """The rows of `GET status`, beside those of a route that does nothing."""
    job = server.ask("/api/v2/optimization/start", JOB)["job_id"]
    status = f"/api/v2/optimization/status/{job}"
    while server.ask(status)["status"] == "queued":
        time.sleep(0.1)
    options = {"seconds": asked.seconds / 2, "connections": asked.connections}
    nothing, shown = [], []
    for _ in range(asked.rounds):
        nothing.append(server.load("/healthz", **options))
        shown.append(server.load(status, **options))
    most = statistics.mean(one["rate"] for one in shown)
    empty = statistics.mean(one["rate"] for one in nothing)
    row(
        "a route that does nothing",
        f"{empty:.0f}/s, p50 {nothing[-1]['p50']} ms, p99 {nothing[-1]['p99']} ms",
        "",
    )
    row(
        "GET status of a running job",
        f"{most:.0f}/s, p50 {shown[-1]['p50']} ms, p99 {shown[-1]['p99']} ms",
        "",
    )
    ratios = sorted(one["rate"] / other["rate"] for one, other in zip(shown, nothing, strict=True))
    row("one to the other, each turn", ", ".join(f"{ratio:.0%}" for ratio in ratios), ">= 50 %")
    for name, path, aim in (("the empty route", "/healthz", ""), ("GET status", status, "p99 < 25 ms")):
        half = server.load(path, seconds=asked.seconds, connections=asked.connections, rate=most / 2)
        times = f"p50 {half['p50']} ms, p99 {half['p99']} ms, worst {half['worst']} ms"
        row(f"{name} at half load ({most / 2:.0f}/s)", times, aim)
    row("the job meanwhile", server.ask(status)["status"], "running")
    server.ask(f"/api/v2/optimization/jobs/{job}/cancel", {})


def row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
