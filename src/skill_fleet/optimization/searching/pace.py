"""What a run of the program and one call take, as the baseline found it: decided once, and written down.

What a search must leave for the sealed test is reckoned from it. A resumed run gets its answers from the
journal, where nothing fails any more, and its ledger holds the search as well: reckoned anew the reserve
would be another, and the search would end elsewhere, in another program.
"""

import math
from dataclasses import asdict, dataclass, fields

from skill_fleet.foundation.errors import DataError
from skill_fleet.foundation.files import read_json, write_json
from skill_fleet.optimization.session import Session

_WHAT = "record of what the baseline took"


@dataclass(frozen=True)
class Pace:
    """What the baseline took.

    Attributes:
        calls_per_run: Attempts at model calls that one run of the program took with its scoring, on average
            over the examples; those that failed are among them.
        tokens_per_call: Known tokens of a stored answer, sent and received.
        usd_per_call: Known dollars of one.
        minutes_per_call: Minutes of the run for each attempt.
    """

    calls_per_run: float
    tokens_per_call: float
    usd_per_call: float
    minutes_per_call: float


class Watch:
    """Reckons the pace of a measurement that begins now.

    Args:
        session: The run.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._before = self._answers()

    def pace(self, runs: int) -> Pace:
        """Of so many runs of the program since.

        Answers are counted here, wherever they come from; how many attempts one takes is the ledger's to
        say, which knows of all processes of the run: stopped in its middle, a baseline comes to the same.
        """
        spent = self._session.line.journal.spent(self._session.folder.run_id)
        answers = max(1, spent.settled)
        attempts = max(1.0, spent.calls / spent.settled) if spent.settled else 1.0
        return Pace(
            (self._answers() - self._before) * attempts / max(1, runs),
            (spent.input_tokens + spent.output_tokens) / answers,
            spent.usd / answers,
            self._session.account.elapsed() / 60 / max(1, spent.calls),
        )

    def _answers(self) -> int:
        """Calls of this process that came to an answer, paid or from the journal."""
        traffic = self._session.line.traffic
        failed = self._session.line.journal.spent(self._session.folder.run_id).failed
        return traffic.made + traffic.from_journal - failed


def known_pace(session: Session) -> Pace | None:
    """What an earlier process of the run has written down; None where none did.

    Raises:
        DataError: It was edited.
    """
    path = session.folder.baseline
    if not path.exists():
        return None
    found = read_json(path, what=_WHAT)
    names = {field.name for field in fields(Pace)}
    if isinstance(found, dict) and found.keys() == names and all(map(_is_number, found.values())):
        return Pace(**found)
    raise DataError(
        f"The {_WHAT} {path} is damaged: it needs {', '.join(sorted(names))}, as numbers from 0.",
        hint="It is not to be edited. Without it a resumed run reckons anew what the sealed test needs.",
    )


def note_pace(session: Session, pace: Pace) -> None:
    """Write it down.

    Raises:
        StorageError: It cannot be written.
    """
    write_json(session.folder.baseline, asdict(pace))


def _is_number(value: object) -> bool:
    return type(value) in {int, float} and math.isfinite(value) and value >= 0  # type: ignore[arg-type, operator]
