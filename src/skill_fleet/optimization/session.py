"""What the stages of one run share: journal, account, models, events, and the result as it grows."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from skill_fleet.config.load import Loaded
from skill_fleet.config.settings import Phase
from skill_fleet.foundation.clock import Clock
from skill_fleet.foundation.errors import SkillFleetError, StorageError
from skill_fleet.llm.budget import Account, Gate, Limits
from skill_fleet.llm.calls.engine import Line, OnFailure, Retry
from skill_fleet.llm.calls.patience import Rarely, Waiting
from skill_fleet.llm.calls.proposals import Proposals
from skill_fleet.llm.fleet_lm import FleetLM
from skill_fleet.llm.journal.journals import open_journal
from skill_fleet.llm.journal.store import Held
from skill_fleet.llm.models import Connections, build_lms
from skill_fleet.optimization.planning.plan import Plan
from skill_fleet.optimization.records.events import EventLog, read_events
from skill_fleet.optimization.records.result import RunResult
from skill_fleet.optimization.records.runs import RunFolder

_DRAIN_SECONDS = 130.0
_NOTED_EVERY = 10.0

MayWrite = Callable[[], None]
"""Asked right before a reading is counted and the output is written; no is `LeaseLost` or `StorageError`."""


def always() -> None:
    """Yes: nobody else can have the run."""


class Control:
    """The user's hand on a run: `interrupt` lets no further call through.

    Attributes:
        on_wait: Told about once a second that calls wait for a provider, in the thread of one; for work that
            has no events.
    """

    def __init__(self, on_wait: Callable[[Waiting], None] | None = None) -> None:
        self.on_wait = on_wait
        self._gates: list[Gate] = []
        self.interrupted = False

    def watch(self, gate: Gate) -> Gate:
        """A gate that an interrupt closes; closed at once where one came before."""
        self._gates.append(gate)
        if self.interrupted:
            gate.interrupt()
        return gate

    def interrupt(self) -> None:
        """No new model call from now on; those under way end and are booked."""
        self.interrupted = True
        for gate in self._gates:
            gate.interrupt()


@dataclass
class Session:
    """One run in one process.

    Attributes:
        plan: What to do.
        folder: Where its files are.
        loaded: Settings and workspace.
        line: Journal, calls under way, traffic.
        account: Spent and reserved.
        connections: To the providers.
        events: What happened.
        clock: Time.
        control: The user's hand.
        result: As far as it is known.
        excluded: Ids of examples that are in no mean, since they failed.
        about: What all events of a part of the run say of it.
        may_write: Whether a reading of the test may be counted, and the output written.
        lease: The right to it, where it is a job of the service.
        output_found: Digest of the program file at the output when it was looked at; None: there was none.
        said_to_wait: When that calls wait is noted again.
    """

    plan: Plan
    folder: RunFolder
    loaded: Loaded
    line: Line
    account: Account
    connections: Connections
    events: EventLog
    clock: Clock
    control: Control
    result: RunResult
    excluded: set[str] = field(default_factory=set)
    about: Mapping[str, object] = field(default_factory=dict)
    may_write: MayWrite = always
    lease: Held | None = None
    output_found: str | None = None
    said_to_wait: Rarely = field(default_factory=lambda: Rarely(_NOTED_EVERY))

    def view(self, plan: Plan, folder: RunFolder, about: Mapping[str, object]) -> "Session":
        """A part of the run with a plan, files and a result of its own; journal, budget and hand are shared.

        Args:
            plan: What to do in it.
            folder: Where its files are.
            about: Put into every event of it, to tell it from others.
        """
        result = new_result(plan, self.result.run_id, self.loaded)
        return replace(self, plan=plan, folder=folder, result=result, excluded=set(), about=about)

    def gate(self, hold: Limits | None = None) -> Gate:
        """A door to the budget for one stage.

        Args:
            hold: What later stages were promised.
        """
        return self.control.watch(Gate(self.account, hold or Limits()))

    def lms(
        self, gate: Gate, on_failure: OnFailure, proposals: Proposals | None = None
    ) -> Mapping[Phase, FleetLM]:
        """One LM a phase for one stage; `proposals`: of a search, which can do without some."""
        return build_lms(self.plan.models, self.line, gate, self.connections, on_failure, proposals)

    def emit(self, kind: str, **data: object) -> None:
        """Something that is kept, with the time the run has been running."""
        self.events.emit(kind, **data, **self.about, elapsed=round(self.account.elapsed(), 3))

    def progress(self, **data: object) -> None:
        """Show how far it is."""
        traffic = self.line.traffic
        self.events.progress(
            calls=traffic.made,
            from_journal=traffic.from_journal,
            seconds=self.account.elapsed(),
            **data,
            **self.about,
        )

    def waits(self, waiting: Waiting) -> None:
        """Calls wait for a provider: that is shown, and kept now and then."""
        told = waiting.to_json()
        if self.said_to_wait.due(self.clock.monotonic()):
            with contextlib.suppress(StorageError):  # whether it can be noted is not what the call depends on
                self.emit("waiting", **told)
        else:
            self.events.show("waiting", {**told, **self.about})

    def warn(self, code: str, message: str) -> None:
        """Something the reader of the result should know."""
        known = len(self.result.warnings)
        self.result.warn(code, message)
        if len(self.result.warnings) > known:
            self.emit("warning", code=code, message=message)

    def drain(self) -> None:
        """Wait until no call is under way: what a stopped optimizer left running ends and is booked."""
        deadline = self.clock.monotonic() + _DRAIN_SECONDS
        while self.line.flights and self.clock.monotonic() < deadline:
            self.clock.sleep(0.005)


def open_session(  # noqa: PLR0913 - one value for each thing a run depends on
    plan: Plan,
    folder: RunFolder,
    loaded: Loaded,
    events: EventLog,
    *,
    clock: Clock,
    control: Control,
    connections: Connections,
    retry: Retry,
    lease: Held | None = None,
    may_write: MayWrite = always,
) -> Session:
    """The session of a run, with what earlier processes of it have spent.

    Raises:
        StorageError: The journal cannot be used.
        LeaseLost: Another process has taken the job up.
    """
    journal = open_journal(loaded, clock, lease)
    try:
        journal.reconcile(folder.run_id)
        spent = journal.spent(folder.run_id)
    except SkillFleetError:
        journal.close()
        raise
    account = Account(
        plan.request.limits,
        clock,
        calls=spent.calls,
        tokens=spent.bound_tokens,
        usd=spent.bound_usd,
        seconds=_seconds_before(folder),
    )
    result = new_result(plan, folder.run_id, loaded)
    line = Line(journal, folder.run_id, clock, retry)
    session = Session(plan, folder, loaded, line, account, connections, events, clock, control, result)
    session.may_write, session.lease = may_write, lease
    line.patience.listener = session.waits
    return session


def new_result(plan: Plan, run_id: str, loaded: Loaded) -> RunResult:
    """The result of a run of which nothing is known yet."""
    result = RunResult(
        run_id=run_id,
        program=plan.entry.name,
        optimizer=plan.optimizer.info.name,
        model=plan.models.names["evaluation"],
        simulated=plan.models.simulated,
        seed=plan.request.seed,
        examples=plan.sizes,
        recommendation=plan.request.recommendation,
    )
    result.accuracy["target"] = loaded.settings.evaluation.targets.accuracy
    return result


@contextlib.contextmanager
def quiet(folder: RunFolder) -> Iterator[None]:
    """What optimizers print goes to a file of the run: stdout is for data."""
    with (
        folder.optimizer_log.open("a", encoding="utf-8", errors="replace") as stream,
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
    ):
        yield


def throttled(show: Callable[[], None], every: float = 0.1) -> Callable[[], None]:
    """A function that may be called often, and shows at most so many seconds apart."""
    last = [0.0]

    def call() -> None:
        now = time.monotonic()
        if now - last[0] >= every:
            last[0] = now
            show()

    return call


def _seconds_before(folder: RunFolder) -> float:
    """How long earlier processes of the run ran, by the elapsed time in its events."""
    return max((float(event.get("elapsed", 0.0)) for event in read_events(folder.events)), default=0.0)
