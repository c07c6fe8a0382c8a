"""The process of a job whose model takes its time, and notes in a file when it was asked: for tests."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skill_fleet.config.settings import ModelSpec
from skill_fleet.jobs.child_ears import die_with_parent
from skill_fleet.jobs.records import Lease
from skill_fleet.llm.models import inner_of
from skill_fleet.services.context import open_context
from skill_fleet.services.job_process import leave, work


class Slow:
    """The built-in offline model, slowly."""

    def __init__(self, spec: ModelSpec, environ: Mapping[str, str]) -> None:
        self._inner: Any = inner_of(spec, environ)
        self._seconds = float(environ["TEST_LATENCY"])
        self._log = Path(environ["TEST_LOG"])

    def complete(self, request: Any) -> Any:
        with self._log.open("a") as stream:
            stream.write(f"{time.time()}\n")
        time.sleep(self._seconds)
        return self._inner.complete(request)

    async def acomplete(self, request: Any) -> Any:
        return self.complete(request)


if __name__ == "__main__":
    die_with_parent()
    job, fence, worker = sys.argv[1:]
    leave(work(open_context(models=Slow), Lease(job, int(fence), worker)))
