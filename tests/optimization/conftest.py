import functools
import json
import os
import pickle
import shutil
import sys
import zlib
from pathlib import Path

import pytest
from filelock import FileLock

from skill_fleet.config.load import load
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.llm.calls.engine import Retry
from skill_fleet.llm.models import Connections, inner_of
from skill_fleet.optimization.planning.plan import make_plan, resumed_plan
from skill_fleet.optimization.records.request import OptimizationRequest
from skill_fleet.optimization.records.runs import find_run, new_run
from skill_fleet.optimization.run import run
from skill_fleet.optimization.session import always

PROGRAMS = Path(__file__).parent / "programs"
sys.path[:0] = [str(PROGRAMS), str(PROGRAMS.parent)]


class Place:
    """A workspace with the ticket program in it, and short ways to run and resume optimizations there."""

    def __init__(self, root: Path, environ: dict[str, str]) -> None:
        import triage

        self.root = root
        for file in PROGRAMS.glob("*.py"):
            shutil.copy(file, root)
        (root / "tickets.json").write_text(json.dumps(triage.tickets()))
        self.loaded = load(root, environ=environ)

    def request(self, optimizer="gepa", **options):
        defaults = {
            "program": "triage:TriageProgram",
            "metric": "triage:exact",
            "data": "tickets.json",
            "auto": None,
            "trials": 4,
            "rounds": 2,
            "num_threads": 4,
            "output": f"{optimizer}.json",
        }
        return OptimizationRequest(optimizer=optimizer, **{**defaults, **options})

    def optimize(self, request, *, wrap=None, listener=None, control=None, may_write=always):
        plan = make_plan(request, self.loaded)
        folder = new_run(self.loaded.workspace.runs, SYSTEM_CLOCK)
        return self._run(plan, folder, wrap, listener, control, may_write)

    def resume(self, run_id, request, *, wrap=None, listener=None):
        folder = find_run(self.loaded.workspace.runs, run_id)
        return self._run(resumed_plan(folder, self.loaded, request), folder, wrap, listener, None)

    def _run(self, plan, folder, wrap, listener, control, may_write=always):
        def factory(spec, environ):
            inner = inner_of(spec, environ)
            return inner if wrap is None else wrap(inner)

        return run(
            plan,
            folder,
            self.loaded,
            listener=listener,
            control=control,
            connections=Connections.of({}, factory),
            retry=Retry(attempts=3, base=0.0),
            may_write=may_write,
        )


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path, {})


@pytest.fixture
def places(tmp_path):
    """As many workspaces as a test wants, each with a journal of its own."""

    def make(name):
        root = tmp_path / name
        root.mkdir()
        return Place(root, {})

    return make


@pytest.fixture(scope="module")
def kept_place(tmp_path_factory):
    """A workspace by name that all tests of a module share, journal included."""
    return functools.cache(lambda name: Place(tmp_path_factory.mktemp(name), {}))


@pytest.fixture(scope="session")
def whole_of(tmp_path_factory):
    """The result of a run that nothing stopped, at one thread; made once for the tests of all workers."""
    mine = tmp_path_factory.getbasetemp()
    shared = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine

    @functools.cache
    def whole(optimizer, **options):
        kept = shared / f"whole-{optimizer}-{zlib.crc32(repr(options).encode())}.pickle"
        with FileLock(f"{kept}.lock"):
            if not kept.exists():
                place = Place(tmp_path_factory.mktemp("whole"), {})
                result = place.optimize(place.request(optimizer, num_threads=1, **options)).result
                kept.write_bytes(pickle.dumps(result))
            return pickle.loads(kept.read_bytes())  # noqa: S301 - our own, of this test run

    return whole
