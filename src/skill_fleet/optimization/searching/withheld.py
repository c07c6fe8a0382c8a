"""Proposals that are withheld for good in a search: it goes on without them, and says so.

An optimizer's own call, to write an instruction, may fail for good as that of an example does: a filter
withholds what a model wrote, or what it was shown is too long for it. No example is to blame. DSPy's
optimizers know what to do without a proposal, or the round ends there. Each is written down, so that a
resumed run goes the same way and asks nobody; where too many are withheld the run stops, and what was written
down of that round is forgotten: whoever resumes it has done something about it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from skill_fleet.evaluation.course import most_of
from skill_fleet.foundation.errors import DataError, ProviderError, SkillFleetError
from skill_fleet.foundation.files import read_json, write_json
from skill_fleet.llm.calls.proposals import Proposals
from skill_fleet.llm.halt import Halt
from skill_fleet.optimization.estimates.estimate import sizes_of
from skill_fleet.optimization.estimates.run_size import RunSize
from skill_fleet.optimization.interval import NOTHING, exactly
from skill_fleet.optimization.ownership import require_own
from skill_fleet.optimization.searching.stages import Baseline
from skill_fleet.optimization.session import Session

_WHAT = "list of proposals withheld in a search"
_FEWEST = 10
"""So many may always be withheld in a round, unless none may: a short round asks for few."""
_HINT = (
    "Give another model for proposals (--optimization-model), or resume the run when this one answers them, "
    "or with a higher calls.max_failed_share."
)


@dataclass(frozen=True)
class _Entry:
    """One proposal that was withheld.

    Attributes:
        key: Of its call.
        round: In which it was asked for first.
        code: Why, in a word.
        reason: In a sentence.
        hint: What to do about it.
    """

    key: str
    round: int
    code: str
    reason: str
    hint: str

    @property
    def error(self) -> ProviderError:
        """As it was told."""
        return ProviderError(self.reason, hint=self.hint, code=self.code)


class RoundProposals:
    """The proposals of one search of a round.

    Args:
        session: The run; what is withheld is written down in its folder.
        baseline: What the search has.
        number: Of the round.

    Attributes:
        proposals: For the models of the search.
    """

    def __init__(self, session: Session, baseline: Baseline, number: int) -> None:
        self._session = session
        self._number = number
        self._share = session.loaded.settings.calls.max_failed_share
        self._borne = _borne(session, baseline, self._share)
        self._too_many: list[ProviderError] = []
        known = {one.key: one.error for one in _known(session)}
        self.proposals = Proposals(known, self._can_do_without)

    @property
    def withheld(self) -> Mapping[str, ProviderError]:
        """What was withheld, in the order in which it was met."""
        return self.proposals.withheld

    def _can_do_without(self, key: str, error: ProviderError, met: int, answered: int) -> bool:
        if met > self._borne and met > most_of(self._share, met + answered):
            self._too_many.append(error)
            return False
        self._session.may_write()
        entry = _Entry(key, self._number, error.code, error.message, error.hint)
        _write(self._session, [*_known(self._session), entry])
        self._session.emit("withheld", round=self._number, proposals=met, reason=error.message)
        return True

    def told(self, halt: Halt | None) -> Halt | None:
        """What stopped the search, in words of proposals where it was they.

        Raises:
            Halt: As for `nothing_proposed`.
        """
        if halt is None or not any(halt.error is one for one in self._too_many):
            return halt
        _forget(self._session, self._number)
        what = f"{len(self.withheld)} calls for proposals of round {self._number} were withheld"
        return _stopped(f"{what}, more than calls.max_failed_share allows", halt.error)

    def warn(self, *, cut: bool) -> None:
        """Say in the result what the round had to do without.

        Args:
            cut: Whether it ended there.
        """
        errors = list(self.withheld.values())
        if not errors:
            return
        what = "1 call for a proposal was" if len(errors) == 1 else f"{len(errors)} calls for proposals were"
        then = "it ended there, with the best program it had found" if cut else "it went on without"
        self._session.warn(
            "proposals_withheld",
            f"In round {self._number}, {what} withheld for good, and {then}: {errors[0].message}",
        )


def nothing_proposed(session: Session, rounds: list[RoundProposals]) -> Halt | None:
    """Why a search that gained nothing stops the run: each proposal was withheld; None where one was not.

    Raises:
        Halt: The run is not this process's any more, or nobody can say so: what was written down stays.
    """
    errors = [error for one in rounds for error in one.withheld.values()]
    if not errors or any(one.proposals.answered for one in rounds):
        return None
    _forget(session, 1)
    calls = "The only call" if len(errors) == 1 else f"All {len(errors)} calls"
    were = "was" if len(errors) == 1 else "were"
    return _stopped(f"{calls} for proposals {were} withheld, and the search found nothing better", errors[-1])


def _stopped(what: str, last: SkillFleetError) -> Halt:
    reason = last.message.rstrip(".")
    return Halt("provider", ProviderError(f"{what}; the last: {reason}.", hint=_HINT, code=last.code))


def _borne(session: Session, baseline: Baseline, share: float) -> int:
    """How many may be withheld in a round in any case: a share of those that it is likely to ask for.

    The first ones say little of the share in the end, and in many threads they come in any order.
    """
    if share == 0:
        return 0
    sizes = sizes_of(session.plan, RunSize(exactly(baseline.pace.calls_per_run), 0, 0))
    asked = session.plan.optimizer.estimate_calls(sizes).get("optimization", NOTHING)
    return max(_FEWEST, int(share * asked.high))


def _forget(session: Session, number: int) -> None:
    """Forget what was withheld from a round on."""
    require_own(session)
    if session.folder.withheld.exists():
        _write(session, [one for one in _known(session) if one.round < number])


def _write(session: Session, entries: list[_Entry]) -> None:
    write_json(session.folder.withheld, [asdict(one) for one in entries])


def _known(session: Session) -> list[_Entry]:
    path = session.folder.withheld
    if not path.exists():
        return []
    found = read_json(path, what=_WHAT)
    try:
        known = [_Entry(**one) for one in found]
        if all(
            type(value) is int if name == "round" else isinstance(value, str)
            for one in known
            for name, value in asdict(one).items()
        ):
            return known
    except TypeError:
        pass
    raise DataError(
        f"The {_WHAT} {path} is damaged: every entry needs key, round, code, reason and hint.",
        hint="It is not to be edited. Without it a resumed search asks for them once more.",
    )
