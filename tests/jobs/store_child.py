"""A process of its own that does one thing with the stores, at the moment when it is told to."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skill_fleet.config.paths import Workspace
from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.jobs.database import Database, open_database, prepare_database
from skill_fleet.jobs.records import Lease, NewJob
from skill_fleet.jobs.store import Idempotency, JobStore
from skill_fleet.jobs.worker_store import WorkerStore


def main() -> None:
    for line in sys.stdin:
        task = json.loads(line)
        database = open_database(Workspace.at(Path(task["workspace"]), {}), task["url"])
        database.read(lambda db: db.exec_driver_sql("select 1"))
        tell("ready")
        sys.stdin.readline()
        try:
            answer = TASKS[task["do"]](database, task)
        except SkillFleetError as error:
            answer = {"error": error.code}
        database.close()
        tell(json.dumps(answer))


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def create(database: Database, task: dict[str, Any]) -> Any:
    """Eight threads' worth of creates with one key; the names of the jobs they got."""
    store = JobStore(database)
    names = (f"{task['name']}-{number}" for number in range(8))
    made = [store.create(NewJob(name, "creation", {}), idempotency=Idempotency("key", "d")) for name in names]
    return [[job.job_id, new] for job, new in made]


def want(database: Database, task: dict[str, Any]) -> Any:
    job = JobStore(database).want(task["job"], task["wanted"], None)
    return {"status": job.status, "wanted": job.wanted}


def claim(database: Database, task: dict[str, Any]) -> Any:
    taken = JobStore(database).claim(task["job"], 1, task["worker"])
    return {"fence": taken.fence} if isinstance(taken, Lease) else {"status": taken.status}


def append(database: Database, task: dict[str, Any]) -> Any:
    lease = Lease(task["job"], task["fence"], task["worker"])
    return [JobStore(database).append(lease, [("line", {"of": task["worker"]})] * 3) for _ in range(10)]


def prepare(database: Database, task: dict[str, Any]) -> Any:
    """As four processes at once: those of a fork need not load everything again."""
    database.close()
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            prepare_database(open_database(Workspace.at(Path(task["workspace"]), {}), task["url"]))
            os._exit(0)
        children.append(child)
    return [os.waitpid(child, 0)[1] for child in children]


def declare(database: Database, _: dict[str, Any]) -> Any:
    return WorkerStore(database).declare_dead(10.0)


TASKS: dict[str, Callable[[Database, dict[str, Any]], Any]] = {
    "create": create,
    "want": want,
    "claim": claim,
    "append": append,
    "prepare": prepare,
    "declare": declare,
}

if __name__ == "__main__":
    main()
