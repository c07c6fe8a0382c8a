"""Shared by all tests: no network, a workspace, a clock that does not wait, a metered scripted model."""

import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

sys.path.append(str(Path(__file__).parent))

from clocks import FakeClock
from postgres import NoPostgres, Postgres, running_postgres

# Hundreds of processes are started here. Where none may keep what it has compiled, each compiles all that it
# imports, which takes twice as long as the rest of its start. It is kept apart from sources and workspaces;
# and not by this process: tests write a module twice in a second, which bytecode does not notice.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(__file__).parents[1] / ".pytest_cache" / "bytecode"))
sys.dont_write_bytecode = True

# Who is started in the background of a script is deaf to interrupts, and so is all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A loaded machine is slow, which is no failure. Where a check gates a change, it must say the same twice.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("gate", deadline=None, derandomize=True)
hypothesis.settings.load_profile("gate" if os.environ.get("CI") else "default")


def _is_loopback(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a Unix socket's path
    host = str(address[0])
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture
def silent_dspy() -> Iterator[None]:
    """Nothing from DSPy's logger during a test; by the setter, which clears the logger's cache."""
    logger = logging.getLogger("dspy")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test that reaches for anything but this machine, also where the error is swallowed."""
    tried: list[str] = []

    def guarded(original: Callable[..., Any], place: int) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            target = args[place] if len(args) > place else options.get("host")
            address = target if place else (target or "localhost", 0)
            if not _is_loopback(address):
                tried.append(str(target))
                raise OSError(f"Tests may not reach {target}.")
            return original(*args, **options)

        return call

    monkeypatch.setattr(socket.socket, "connect", guarded(socket.socket.connect, 1))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex, 1))
    monkeypatch.setattr(socket, "getaddrinfo", guarded(socket.getaddrinfo, 0))
    yield
    assert not tried, f"The test reached for the network: {tried}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests of a process, started by the first that asks for it."""
    try:
        with running_postgres() as server:
            yield server
    except NoPostgres as error:
        if os.environ.get("CI"):
            raise  # there it must be tested
        pytest.skip(str(error))


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The address of an empty database; it goes with the test, and its sessions with it."""
    url = postgres.new_database()
    yield url
    postgres.drop(url)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An empty workspace's directory."""
    root = tmp_path / "workspace"
    (root / "config").mkdir(parents=True)
    return root


@dataclass
class Rig:
    """A metered model and all that is behind it."""

    lm: Any
    engine: Any
    model: Any
    line: Any
    gate: Any
    journal: Any
    clock: Any

    @property
    def account(self) -> Any:
        return self.gate.account

    @property
    def spent(self) -> Any:
        return self.journal.spent(self.line.run)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Any]:
    """A fresh journal in files of its own."""
    from skill_fleet.llm.journal.journal import Journal

    opened = Journal(tmp_path / "state" / "ledger.sqlite", tmp_path / "cache" / "responses.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def rig(journal: Any, clock: FakeClock) -> Callable[..., Rig]:
    """Makes a scripted model behind the real call path; calls share the journal unless told otherwise."""
    from skill_fleet.config.settings import Calls, ModelSpec
    from skill_fleet.foundation.clock import SYSTEM_CLOCK
    from skill_fleet.llm.budget import Account, Gate, Limits
    from skill_fleet.llm.calls.engine import Line, MeteredEngine, Retry
    from skill_fleet.llm.fleet_lm import FleetLM
    from skill_fleet.llm.limits.limiters import Limiters
    from skill_fleet.llm.pricing import price_of
    from skill_fleet.llm.testing import ScriptedModel

    limiters = Limiters()

    def make(
        model: Any = None,
        *,
        limits: Limits | None = None,
        spec: ModelSpec | None = None,
        retry: Retry | None = None,
        on_failure: Any = "halt",
        run: str = "run",
        line: Any = None,
        gate: Any = None,
        phase: Any = "evaluation",
        store: Any = None,
        limiter: Any = None,
    ) -> Rig:
        model = model or ScriptedModel()
        spec = spec or ModelSpec(model="offline/scripted", temperature=0.7)
        line = line or Line(store or journal, run, clock, retry or Retry())
        gate = gate or Gate(Account(limits or Limits(), clock))
        if limiter is None and spec.at_once is not None:
            limiter = limiters.of(spec, None, SYSTEM_CLOCK, Calls())
        engine = MeteredEngine(model, spec, line, gate, price_of(spec), on_failure, limiter=limiter)
        lm = FleetLM(engine, phase=phase, temperature=spec.temperature, max_tokens=spec.max_tokens)
        return Rig(lm, engine, model, line, gate, line.journal, clock)

    return make
