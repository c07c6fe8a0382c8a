"""The service on a real database, with a queue that remembers and answers that are given."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from skill_fleet.foundation.errors import StorageError
from skill_fleet.jobs.records import ApiKey, Job, Lease, Spending, Status
from skill_fleet.services.context import open_context
from skill_fleet.services.service import Service, open_service


class RememberingQueue:
    """Keeps what it is told; can be away."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.away = False

    def enqueue(self, job: Job) -> None:
        self._tell("enqueue", job)

    def cancel(self, job: Job) -> None:
        self._tell("cancel", job)

    def close(self) -> None:
        pass

    def _tell(self, what: str, job: Job) -> None:
        if self.away:
            raise StorageError("The queue is away.")
        self.told.append((what, job.workflow_id))


class GivenAnswers:
    """Answers what it was given for a question, or raises it."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {
            "check_optimization": {"provider": "offline", "optimizer": "gepa", "simulated": True},
            "check_creation": {"provider": "offline", "simulated": True},
        }
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    async def ask(self, question: str, payload: Mapping[str, Any], *, timeout: float = 30.0) -> Any:  # noqa: ASYNC109
        self.asked.append((question, payload))
        answer = self.answers[question]
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclasses.dataclass
class Rig:
    service: Service
    queue: RememberingQueue
    helper: GivenAnswers

    def key(self, *scopes: str, **caps: Any) -> ApiKey:
        key, _ = self.service.keys.create("somebody", scopes or ("run",), **caps)
        return key

    def taken(self, job: Job) -> Lease:
        lease = self.service.jobs.claim(job.job_id, job.attempt, "w1")
        assert isinstance(lease, Lease)
        return lease

    def brought_to(self, job: Job, status: str, *, usd: float = 0.0, calls: int = 0) -> Job:
        """The job after a worker brought it there."""
        store = self.service.jobs
        if status == "queued":
            return job
        if status == "paused":
            return store.want(job.job_id, "paused", None)
        lease = self.taken(job)
        if status == "running":
            store.progress(lease, progress=0.1, spending=Spending(calls, usd, 0))
            return store.get(job.job_id)
        ended: Status = status  # type: ignore[assignment]
        result = {"status": status, "simulated": True}
        return store.conclude(
            lease, ended, result=result, error=None, message="", spending=Spending(calls, usd, 0)
        )


@pytest.fixture(params=["sqlite", "postgresql"])
def opened_rig(request: pytest.FixtureRequest, workspace: Path) -> Iterator[Callable[[], Rig]]:
    """Opens the service as another process would; on both databases."""
    environ = {}
    if request.param == "postgresql":
        environ["SKILL_FLEET_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    services = []

    def opened() -> Rig:
        queue, helper = RememberingQueue(), GivenAnswers()
        service = open_service(open_context(workspace, environ=environ))
        services.append(service)
        return Rig(dataclasses.replace(service, queue=queue, helper=helper), queue, helper)

    yield opened
    for service in services:
        service.close()


@pytest.fixture
def rig(opened_rig: Callable[[], Rig]) -> Rig:
    return opened_rig()
