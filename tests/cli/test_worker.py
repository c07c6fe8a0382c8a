"""`worker`: runs jobs of a server beside it, is the only one on files, and hands back what it has."""

import json

import pytest

from running_service import serving, small_trainset, spawned
from skill_fleet.client import Client

SMALL = {"optimizer": "labeled_few_shot", "rounds": 1, "num_threads": 2}


def begun(process) -> dict:
    line = process.stdout.readline()
    assert line
    return json.loads(line)


def ended(process) -> int:
    process.terminate()
    process.communicate(timeout=60)  # five seconds at most on a machine that is not busy
    return process.returncode


def test_a_worker_beside_a_server_does_its_jobs_and_is_the_only_one(tmp_path, cli):
    running = serving(tmp_path, "--no-worker")
    process = spawned(tmp_path, "worker", "--json", "--jobs-at-once", "1")
    try:
        assert begun(process)["jobs_at_once"] == 1
        second = cli("--workspace", tmp_path, "worker", "--json")
        assert second.code == 1
        assert "worker" in second.json["error"]["message"]
        with Client(running.url) as client:
            job_id = client.start(**SMALL, trainset=small_trainset()).job_id
            assert client.wait(job_id).status == "succeeded"
        modules = (tmp_path / "stderr.txt").read_text()
        assert "Traceback" not in modules
    finally:
        code = ended(process)
        running.stop()
    assert code == 0


def test_a_worker_holds_neither_dspy_nor_the_web(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from skill_fleet.cli.main import main\n"
        "main(['worker'])\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = process.stdout.readline()
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    loaded = {name.partition(".")[0] for name in err.splitlines()[-1].split()}
    assert "dbos" in loaded
    assert not loaded & {"dspy", "numpy", "optuna", "fastapi", "uvicorn", "starlette"}
    assert said.startswith("Worker ")


@pytest.mark.parametrize("words", [("--jobs-at-once", "0"), ("--database-url", "mysql://a:hunter2@b/c")])
def test_what_it_cannot_work_with_is_one_sentence(cli, words):
    refused = cli("worker", *words)
    assert refused.code == 2
    assert "hunter2" not in refused.err


def test_two_workers_and_a_server_on_one_postgresql(tmp_path, postgres_url):
    places = [tmp_path / name for name in ("server", "one", "two")]
    for place in places:
        place.mkdir()
    environ = {"SKILL_FLEET_DATABASE_URL": postgres_url}
    running = serving(places[0], "--no-worker", **environ)
    workers = [spawned(place, "worker", "--json", "--jobs-at-once", "1", **environ) for place in places[1:]]
    try:
        names = {begun(process)["worker"] for process in workers}
        assert len(names) == 2
        with Client(running.url) as client:
            jobs = [client.start(**SMALL, seed=seed, trainset=small_trainset()).job_id for seed in (1, 2)]
            done = [client.wait(job) for job in jobs]
            taken = {
                event.data["worker"]
                for job in jobs
                for event in client.events_so_far(job)
                if event.kind == "taken_up"
            }
        assert [job.status for job in done] == ["succeeded", "succeeded"]
        assert taken <= names
    finally:
        codes = [ended(process) for process in workers]
        running.stop()
    assert codes == [0, 0]
    for place in places:
        assert "hunter2" not in (place / "stderr.txt").read_text()
