"""The folders of jobs: nobody goes on with them past the service, and they go when the job is removed."""

import asyncio
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))

from job_harness import stand
from service_rig import Rig, opened_rig, rig

from skill_fleet.config.load import load
from skill_fleet.foundation.errors import DataError, NotFound, StateConflict
from skill_fleet.foundation.files import write_json
from skill_fleet.jobs.records import Job, NewJob
from skill_fleet.optimization.records.runs import JOB_MARK, RunFolder, find_run, unfinished
from skill_fleet.services import jobs
from skill_fleet.services.cache import cache_stats, clear_cache
from skill_fleet.services.context import Context
from skill_fleet.services.doctor import examine
from skill_fleet.services.job_folders import folder_of, keep_folders, mark, remove_folders, sweep_folders
from skill_fleet.services.optimization import prepare_resume
from skill_fleet.services.runs import list_all, show

__all__ = ["opened_rig", "rig"]

EMBEDDED = pytest.mark.parametrize("opened_rig", ["sqlite"], indirect=True)
ASKED = {"program": "SkillCreationProgram", "optimizer": "gepa", "metric": "default"}


def begun(rig: Rig, name: str, status: str, kind: Any = "optimization") -> tuple[Job, Path]:
    """A job that stands so, and its folder with a run in it that could be gone on with."""
    made = NewJob(f"20260101-000000-{name:0>10}", kind, {})
    job = rig.brought_to(rig.service.jobs.create(made)[0], status)
    folder = folder_of(rig.service.context.workspace, job.job_id, kind)
    mark(rig.service.context.workspace, job)
    write_json(folder / "request.json", ASKED)
    (folder / "folds" / "001").mkdir(parents=True)
    (folder / "folds" / "001" / "set_aside.json").write_text("[]")
    return job, folder


def of_terminal(context: Context, name: str = "20251231-000000-abcdef") -> Path:
    folder = context.workspace.runs / name
    write_json(folder / "request.json", ASKED)
    return folder


@pytest.mark.parametrize("status", ["queued", "paused", "stopped", "running"])
@EMBEDDED
def test_a_job_is_gone_on_with_by_the_service_alone(rig: Rig, status: str) -> None:
    context = rig.service.context
    job, _ = begun(rig, "a", status)
    for run_id in (job.job_id, "latest", job.job_id[:20]):
        with pytest.raises(StateConflict) as refused:
            prepare_resume(context, run_id, anyway=True)
        assert status in refused.value.message
    resumable = status in {"paused", "stopped"}
    command = f"skill-fleet jobs resume {job.job_id}"
    assert (command in refused.value.hint) == resumable
    with pytest.raises(NotFound):
        prepare_resume(context)
    (line,) = list_all(context)
    assert (line["status"], line["resume"]) == (status, command if resumable else None)
    assert show(context, job.job_id)["resume"] == line["resume"]
    assert cache_stats(context)["needed_by"] == [job.job_id]
    with pytest.raises(DataError):
        clear_cache(context, force=False)


@EMBEDDED
def test_a_cancelled_job_stays_so_and_needs_nothing(rig: Rig) -> None:
    context = rig.service.context
    job, folder = begun(rig, "a", "cancelled")
    write_json(
        folder / "result.json", {"status": "stopped", "resume": f"skill-fleet runs resume {job.job_id}"}
    )
    with pytest.raises(DataError, match="cancelled for good"):
        prepare_resume(context, job.job_id, anyway=True)
    (line,) = list_all(context)
    assert (line["status"], line["resume"]) == ("cancelled", None)
    assert (show(context, "latest")["status"], show(context, "latest")["resume"]) == ("cancelled", None)
    assert cache_stats(context)["needed_by"] == []
    assert clear_cache(context, force=False)["removed"] == 0


@EMBEDDED
def test_doctor_offers_no_job_for_resuming(rig: Rig) -> None:
    context = rig.service.context
    begun(rig, "a", "paused")
    (found,) = [check for check in examine(context.workspace.root) if check.name == "runs"]
    assert found.status == "ok"
    own = of_terminal(context)
    (found,) = [check for check in examine(context.workspace.root) if check.name == "runs"]
    assert own.name in found.hint


def test_where_the_service_cannot_be_asked_a_job_is_still_one(tmp_path: Path) -> None:
    context = Context(load(tmp_path, environ={}))
    folder = of_terminal(context, "20260101-000000-0123456789")
    write_json(folder / JOB_MARK, {})
    with pytest.raises(StateConflict) as refused:
        prepare_resume(context, "latest")
    assert f"skill-fleet jobs resume {folder.name}" in refused.value.hint
    assert cache_stats(context)["needed_by"] == [folder.name]


@pytest.mark.parametrize("kind", ["optimization", "creation"])
def test_what_is_removed_is_gone_from_the_disk_at_once(rig: Rig, kind: Any) -> None:
    context = rig.service.context
    job, folder = begun(rig, "a", "succeeded", kind)
    _, other = begun(rig, "b", "succeeded", kind)
    own = of_terminal(context)
    published = context.workspace.optimized / "x.json"
    write_json(published, {})
    assert asyncio.run(jobs.delete_job(rig.service, job.job_id, None)) == "removed"
    assert not folder.exists()
    assert (other / "folds").exists()
    assert own.exists()
    assert published.exists()
    if kind == "optimization":
        with pytest.raises(NotFound):
            find_run(context.workspace.runs, job.job_id)


def test_the_sweep_takes_what_was_removed_elsewhere_and_nothing_else(rig: Rig) -> None:
    store, workspace = rig.service.jobs, rig.service.context.workspace
    removed = [
        begun(rig, name, "succeeded", kind) for name, kind in (("a", "optimization"), ("b", "creation"))
    ]
    _, old_folder = begun(rig, "c", "failed")
    kept = [begun(rig, name, status)[1] for name, status in (("d", "succeeded"), ("e", "paused"))]
    for job, _ in removed:
        store.remove(job.job_id, None)
    unmarked = of_terminal(rig.service.context, "20260101-000000-000000000f")
    unknown = of_terminal(rig.service.context, "20260101-000000-00000other")
    write_json(unknown / JOB_MARK, {})
    gone, _ = begun(rig, "9", "succeeded")
    (workspace.runs / gone.job_id / JOB_MARK).unlink()
    store.remove(gone.job_id, None)
    assert sweep_folders(workspace, store) == 2
    assert not any(folder.exists() for _, folder in removed)
    assert all(
        folder.exists() for folder in (*kept, old_folder, unmarked, unknown, workspace.runs / gone.job_id)
    )
    store.expire(0)
    assert sweep_folders(workspace, store) >= 1, "what is kept no longer frees its disk"
    assert not old_folder.exists()
    assert kept[1].exists(), "a paused one is not over"
    assert sweep_folders(workspace, store) == 0


@EMBEDDED
def test_a_folder_in_use_stays_for_the_next_sweep(rig: Rig) -> None:
    workspace = rig.service.context.workspace
    job, folder = begun(rig, "a", "succeeded")
    with RunFolder(folder).locked():
        assert remove_folders(workspace, job.job_id) == 0
        assert (folder / "request.json").exists()
    assert remove_folders(workspace, job.job_id) == 1
    assert not folder.exists()


@EMBEDDED
def test_links_are_not_followed(rig: Rig, tmp_path: Path) -> None:
    workspace = rig.service.context.workspace
    job, folder = begun(rig, "a", "succeeded")
    elsewhere = tmp_path / "elsewhere"
    write_json(elsewhere / JOB_MARK, {})
    (folder / "link").symlink_to(elsewhere)
    (workspace.runs / "20260101-000000-00000alias").symlink_to(elsewhere)
    assert remove_folders(workspace, job.job_id) == 1
    for odd in ("..", "", ".", "../runs", "20260101-000000-00000alias"):
        assert remove_folders(workspace, odd) == 0
    assert (elsewhere / JOB_MARK).exists()


@EMBEDDED
def test_the_worker_sweeps_from_its_start_to_its_end(rig: Rig) -> None:
    job, folder = begun(rig, "a", "succeeded")
    rig.service.jobs.remove(job.job_id, None)

    class Worker:
        alive = True

    worker, gone = Worker(), threading.Event()
    thread = keep_folders(rig.service.context.workspace, rig.service.jobs, worker)
    for _ in range(1200):
        if not folder.exists():
            gone.set()
            break
        threading.Event().wait(0.05)
    worker.alive = False
    thread.join(60)
    assert gone.is_set()
    assert not thread.is_alive()


def test_the_process_of_a_job_marks_its_folder_before_anything_else(tmp_path: Path) -> None:
    with stand(tmp_path) as one:
        job = one.job("a", {"optimizer": "no such one"})
        one.run(job)
        assert one.now(job).status == "failed"
        folder = one.workspace("one") / ".skill-fleet" / "runs" / job.job_id
        assert RunFolder(folder).is_job
        assert unfinished(folder.parent) == []
