"""Real optimizations under blows, run by the commands people start: for `benchmarks/jobs.py --real`."""

import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "jobs"))

# Not as `jobs.…`: beside this file, that is the script.
from service_help import BLOWS, EXPIRY, Site, answered_twice, request, undisturbed
from workers_help import Fleet

from skill_fleet.jobs.records import Job

_NAMES = {"process": "process of the service", "child": "process of a job", "standstill": "standstill"}
_LONGEST = 120.0
_AT_MOST_IN_A_ROW = 2
_DEATHS_AT_MOST = 15


@dataclass
class Tally:
    """What was done, and how long it took until the jobs that were hit were taken up again."""

    done: Counter[str] = field(default_factory=Counter)
    taken_after: list[float] = field(default_factory=list)


def references(count: int) -> list[str]:
    """Hashes of the programs of the jobs of seeds 0, 1, …, when nothing happens to them."""
    # Processes and no threads: alembic, which makes the tables, is one in a process.
    with ProcessPoolExecutor(2) as pool:
        return list(pool.map(_reference, range(count)))


def _reference(seed: int) -> str:
    with tempfile.TemporaryDirectory(prefix="skill-fleet-whole-") as folder:
        return str(undisturbed(Path(folder), request(seed))["program_hash"])


def struck(fleet: Fleet, workers: int, blows: int, hashes: Sequence[str], rng: random.Random) -> int:
    """One job for each hash, and blows at random moments as long as they run.

    Returns:
        How many jobs are not as if nothing had happened.
    """
    began = time.monotonic()
    jobs = [fleet.job(**request(seed)) for seed in range(len(hashes))]
    site = Site(fleet, workers)
    tally = Tally()
    try:
        while tally.done.total() < blows and _strike(fleet, site, rng, tally):
            pass
        for job in jobs:
            fleet.wait(job, until=lambda now: now.over, within=_LONGEST + 10 * len(jobs))
    finally:
        site.close()
    took = time.monotonic() - began
    faults = {job: site.faults(job, whole) for job, whole in zip(jobs, hashes, strict=True)}
    wrong = {job: found for job, found in faults.items() if found}
    attempts = [site.attempts(job) for job in jobs]
    again = sum(fleet.store.get(job).fence > 1 for job in jobs)
    done = ", ".join(f"{number} {_NAMES[kind]}" for kind, number in sorted(tally.done.items()))
    print(
        f"{'SQLite' if fleet.url is None else 'PostgreSQL'}, {workers} worker{'s' * (workers > 1)}: "
        f"{len(jobs)} optimizations, {tally.done.total()} blows ({done or 'none'}), "
        f"{again} jobs taken up again after {median(tally.taken_after or [0]):.1f} s "
        f"(most {max(tally.taken_after, default=0):.1f}; heartbeat {EXPIRY:.0f}); {len(wrong)} wrong, "
        f"{sum(map(answered_twice, attempts))} answered twice, "
        f"{sum(state == 'lost' for made in attempts for _, state in made)} attempts lost of "
        f"{sum(map(len, attempts))}; {took:.0f} s",
        flush=True,
    )
    for job, found in wrong.items():
        print("  ", job, *found, sep="; ", flush=True)
    return len(wrong)


def _running(fleet: Fleet, site: Site) -> list[Job]:
    """Jobs in the hands of a process of the service that is there, which may be struck."""
    found = [fleet.store.get(job.job_id) for job in fleet.store.page(statuses=("running",), limit=99)]
    held = [job for job in found if not job.over and site.holder(job) is not None]
    # A job that is struck again and again without getting further has rightly failed.
    spared = {
        site.holder(job) for job in held if job.crashes >= _AT_MOST_IN_A_ROW or job.deaths >= _DEATHS_AT_MOST
    }
    return [job for job in held if site.holder(job) not in spared]


def _victim(fleet: Fleet, site: Site, rng: random.Random) -> int | None:
    """A process of the service that has jobs, at a random moment; None when all jobs are over."""
    while fleet.store.page(statuses=("queued", "running"), limit=1):
        time.sleep(rng.uniform(0.1, 3.0))
        if held := _running(fleet, site):
            return site.holder(rng.choice(held))
    return None


def _strike(fleet: Fleet, site: Site, rng: random.Random, tally: Tally) -> bool:
    """One blow; False when there is nothing to be struck any more."""
    number = _victim(fleet, site, rng)
    if number is None:
        return False
    mine = [job for job in _running(fleet, site) if site.holder(job) == number]
    at = time.monotonic()
    blow = site.strike(number, rng.choice(BLOWS), rng)
    tally.done[blow] += 1
    if blow == "process":
        for job in mine:
            if (seconds := _taken_after(fleet, job, at)) is not None:
                tally.taken_after.append(seconds)
        site.wait_ready(number)
    return True


def _taken_after(fleet: Fleet, job: Job, at: float) -> float | None:
    """Seconds from a moment to the next taking-up; None where the job was over."""
    again = fleet.wait(job.job_id, until=lambda now: now.fence > job.fence or now.over, within=60)
    return time.monotonic() - at if again.fence > job.fence else None
