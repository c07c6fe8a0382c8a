"""A job's process as tests want it: steps that are kept in the store, and a death of the kind asked for.

The request: `steps`, `seconds` for each, `first_seconds` for those of the job's first process but the
first, so that it is never done before something happens to it; `deaf` to signals, `hang` at which, and
`crash`: `how` (`exit`, `kill`, `interrupted` by nobody of ours), `at` which.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from skill_fleet.config.paths import Workspace
from skill_fleet.foundation.errors import LeaseLost, StorageError
from skill_fleet.jobs.child import CONCLUDED, INTERRUPTED, LOST
from skill_fleet.jobs.database import open_database
from skill_fleet.jobs.records import Lease
from skill_fleet.jobs.store import JobStore


def end_with_worker() -> None:
    while os.read(0, 64):
        pass
    os._exit(INTERRUPTED)


def crash(how: str) -> None:
    sys.stderr.write(f"last words of {os.environ.get('SKILL_FLEET_DATABASE_URL', 'nobody')}")
    sys.stderr.flush()
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(INTERRUPTED if how == "interrupted" else 3)


def work(store: JobStore, lease: Lease, stop: threading.Event) -> int:
    request = store.request_of(lease.job_id)
    steps = request.get("steps", 1)
    events = store.events(lease.job_id, 0, 10_000)
    done = max((event.data["step"] for event in events if event.kind == "step"), default=0)
    seconds = request.get("seconds", 0.1)
    late = request.get("first_seconds", seconds) if lease.fence == 1 else seconds
    for step in range(done + 1, steps + 1):
        if request.get("crash", {}).get("at") == step:
            crash(request["crash"]["how"])
        if request.get("hang") == step:
            time.sleep(3600)
        if stop.wait(seconds if step == 1 else late):
            return INTERRUPTED
        store.append(lease, [("step", {"step": step, "pid": os.getpid()})])
        store.progress(lease, progress=step / steps, message=f"step {step}")
    store.conclude(lease, "succeeded", result={"steps": steps})
    return CONCLUDED


def main() -> int:
    job_id, fence, worker = sys.argv[1:4]
    threading.Thread(target=end_with_worker, daemon=True).start()
    stop = threading.Event()
    workspace = Workspace.at(Path.cwd(), {})
    store = JobStore(
        open_database(workspace, os.environ.get("SKILL_FLEET_DATABASE_URL"), patience_seconds=60)
    )
    deaf = store.request_of(job_id).get("deaf", False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, (lambda *_: None) if deaf else (lambda *_: stop.set()))
    try:
        return work(store, Lease(job_id, int(fence), worker), stop)
    except LeaseLost:
        return LOST
    except StorageError as error:
        sys.stderr.write(str(error))
        time.sleep(0.5)
        return 1


if __name__ == "__main__":
    os._exit(main())
