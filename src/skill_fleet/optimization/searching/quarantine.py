"""Examples that fail for good in the middle of a search: set aside, and the round is searched again.

Inside a search a failure cannot be left out: DSPy's optimizers would make a score of it. What fails for good,
such as an answer that a content filter withholds, therefore stops the search; and gone on with it would stop
there again. So the example whose call it was is set aside, written down with the round, and the round is
searched again without it: answers that were paid for come from the journal, and a resumed run does the same
from the start. Where too many fail it is not the examples' fault, and the run stops.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import dspy

from skill_fleet.evaluation.course import most_of
from skill_fleet.evaluation.measurement import Measurement, identity_of
from skill_fleet.foundation.errors import DataError
from skill_fleet.foundation.files import read_json, write_json
from skill_fleet.llm.halt import Halt
from skill_fleet.optimization.ownership import require_own
from skill_fleet.optimization.searching.stages import Baseline
from skill_fleet.optimization.session import Session

_MOST = 0.2
"""Largest share of the examples of a search that may be set aside in it."""


@dataclass(frozen=True)
class SetAside:
    """One example that failed for good.

    Attributes:
        item_id: The example's id.
        round: The round in which it failed: it is in no search from that round on.
        reason: In a sentence.
    """

    item_id: str
    round: int
    reason: str


def remaining(session: Session, baseline: Baseline, number: int) -> Baseline:
    """What a round searches with: without what was set aside in it or before."""
    failed = {one.item_id for one in _known(session) if one.round <= number}
    session.excluded |= failed
    return baseline if not failed else _shrunk(baseline, failed)


def set_aside(session: Session, baseline: Baseline, number: int, halt: Halt | None) -> bool:
    """Whether the search was stopped by an example that fails for good, and can go on without it.

    Args:
        session: The run; the example is written down in its folder.
        baseline: What the search had.
        number: Of the round.
        halt: What stopped it.

    Raises:
        Halt: The run is not this process's any more, or nobody can say so: nothing is written down.
    """
    item = None if halt is None else halt.subject
    sets = [_ids(baseline.train), _ids(baseline.validation)]
    mine = next((one for one in sets if item in one), None)
    if halt is None or item is None or mine is None:
        return False
    require_own(session)
    known = _known(session)  # right now: what is in the file stays there
    if not _may_lose(session, item, mine, sets[0] | sets[1], {one.item_id for one in known}):
        return False
    entry = SetAside(item, number, halt.error.message)
    # A resumed run may meet an example in an earlier round than the process that noted it first.
    others = [one for one in known if one.item_id != item]
    write_json(session.folder.quarantine, [asdict(one) for one in (*others, entry)])
    session.excluded.add(item)
    session.emit("set_aside", round=number, example=item, reason=entry.reason)
    session.warn(
        "examples_excluded",
        f"The example {item} failed for good in round {number} and was set aside: {entry.reason}",
    )
    return True


def _may_lose(session: Session, item: str, mine: set[str], left: set[str], known: set[str]) -> bool:
    """Whether a search can do without one more example.

    Args:
        session: The run.
        item: The example.
        mine: What is left of its set; the other one does not make up for it.
        left: What is left of both.
        known: What was set aside in the search so far, in whatever round.
    """
    share = session.loaded.settings.calls.max_failed_share
    before = _ids(session.plan.examples("train")), _ids(session.plan.examples("validation"))
    whole = mine | next((ids & known for ids in before if item in ids), set())
    of_set = len(whole & known | {item})
    of_both = len(known | {item})
    return (
        of_both <= most_of(min(_MOST, share), len(left | known))
        and of_set <= most_of(share, len(whole))
        and of_set < len(whole)
    )


def _ids(examples: Sequence[dspy.Example]) -> set[str]:
    return {name for name, _ in map(identity_of, examples) if name is not None}


def without(found: Measurement, failed: set[str]) -> Measurement:
    """A measurement on the examples that are left."""
    return Measurement(tuple(one for one in found.outcomes if one.item_id not in failed))


def _shrunk(baseline: Baseline, failed: set[str]) -> Baseline:
    return replace(
        baseline,
        train=[example for example in baseline.train if identity_of(example)[0] not in failed],
        validation=[example for example in baseline.validation if identity_of(example)[0] not in failed],
        measured=without(baseline.measured, failed),
    )


def _known(session: Session) -> list[SetAside]:
    path = session.folder.quarantine
    if not path.exists():
        return []
    what = "list of examples set aside in a search"
    found = read_json(path, what=what)
    try:
        known = [SetAside(one["item_id"], one["round"], one["reason"]) for one in found]
        if all(type(one.round) is int and one.item_id and isinstance(one.item_id, str) for one in known):
            return known
    except (KeyError, TypeError):
        pass
    raise DataError(
        f"The {what} {path} is damaged: every entry needs item_id, round and reason.",
        hint="It is not to be edited. Without it a resumed search finds out again which examples fail.",
    )
