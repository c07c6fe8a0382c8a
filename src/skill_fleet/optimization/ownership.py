"""Whose a run is, asked right before a list of its search or its program is written.

Another process may have taken the run up while a call was out. It goes by what is in the run's folder and at
its output, and what it wrote there must not be lost.
"""

from skill_fleet.foundation.errors import LeaseLost, StorageError
from skill_fleet.llm.halt import Halt
from skill_fleet.optimization.session import Session


def require_own(session: Session) -> None:
    """Nothing, as long as the run is this process's.

    Raises:
        Halt: It is another's, or nobody can say so.
    """
    try:
        session.may_write()
    except LeaseLost as lost:
        raise Halt("lease", lost) from None
    except StorageError as error:
        raise Halt("storage", error) from None
