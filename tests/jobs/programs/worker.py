"""A worker as tests want it: `worker.py SETTINGS`, a JSON object; it stops on a signal, or goes on for ever.

`runner` is `child` (see child.py), `real`, or `nothing`, for `seconds`. It says `ready NAME`.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from jobs.workers_help import NothingRunner
from skill_fleet.config.paths import Workspace
from skill_fleet.jobs.database import open_database
from skill_fleet.jobs.queue import JOBS_VERSION
from skill_fleet.jobs.store import JobStore
from skill_fleet.jobs.supervise import ChildRunner
from skill_fleet.jobs.worker import RunningWorker, WorkerSettings

JOB_COMMAND = (sys.executable, "-m", "skill_fleet.services.job_process")


def say(*words: object) -> None:
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")
    sys.stdout.flush()


def main() -> None:
    given = json.loads(sys.argv[1])
    runner, seconds = given.pop("runner", "child"), given.pop("seconds", 0.0)
    version = given.pop("version", JOBS_VERSION)
    settings = WorkerSettings(**given)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    workspace = Workspace.at(Path.cwd(), {})
    database = open_database(workspace, os.environ.get("SKILL_FLEET_DATABASE_URL"))
    if runner != "nothing":
        child = (sys.executable, str(Path(__file__).with_name("child.py")))
        command = child if runner == "child" else JOB_COMMAND
        chosen = ChildRunner(command, dict(os.environ), Path.cwd(), settings.grace_seconds)
    else:
        chosen = NothingRunner(JobStore(database), seconds)
    worker = RunningWorker.start(database, settings, chosen, version=version)
    say("ready", worker.worker_id)
    while worker.alive and not stop.wait(0.1):
        pass
    worker.stop()
    say("stopped", worker.failed, *sorted(m for m in ("dspy", "numpy", "optuna") if m in sys.modules))


if __name__ == "__main__":
    main()
