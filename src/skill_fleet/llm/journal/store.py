"""What every journal promises, and what it may ask for: the files keep it, and the database."""

from collections.abc import Collection
from typing import Protocol

from skill_fleet.llm.journal.spent import Spent, Usage

KEPT = "what is stored is kept, and only calls that were under way are paid again"
"""What becomes of the calls where a store fails: an answer in hand that it did not take is gone."""


class Held(Protocol):
    """The right to work on a job, as the service gave it to this process."""

    @property
    def job_id(self) -> str:
        """The job."""
        ...

    @property
    def fence(self) -> int:
        """Rises with every taking-up: whoever holds a lower number has lost the job."""
        ...


class JournalStore(Protocol):
    """Every answer that was paid for, once, and a ledger line for every attempt. For many threads at once.

    A line is written before its call (`open_attempt`) and closed after it (`settle`, `fail`); what a process
    that died left open, `reconcile` closes as lost. Whatever is returned is committed. Every method raises
    `StorageError` where the store cannot be used.
    """

    @property
    def place(self) -> str:
        """Where the answers are, in words."""
        ...

    def lookup(self, key: str) -> str | None:
        """The stored answer of a key as JSON, or None."""
        ...

    def recall(self, key: str) -> str | None:
        """The answer of a key if this process stored or read it lately, without a look at the store."""
        ...

    def open_attempt(
        self,
        run: str,
        key: str,
        phase: str,
        model: str,
        *,
        reserved_tokens: int | None = None,
        reserved_usd: float | None = None,
    ) -> str:
        """Write down that a call is about to be made, and return the attempt's id.

        Raises:
            LeaseLost: Another process has taken the job up: the call may not be made, and nothing is noted.
        """
        ...

    def settle(self, attempt: str, key: str, model: str, body: str, usage: Usage) -> str:
        """Store an answer and close its attempt, whoever has the job now.

        Returns:
            The stored answer: the first one, where two processes paid for the same call.
        """
        ...

    def fail(self, attempt: str, reason: str, *, usage: Usage | None = None, billed: bool = False) -> None:
        """Close an attempt that gave no usable answer; a settled one stays settled."""
        ...

    def reconcile(self, run: str) -> int:
        """Close the attempts that an ended process of this run left open; returns how many were lost.

        Raises:
            LeaseLost: Another process has taken the job up.
        """
        ...

    def spent(self, run: str) -> Spent:
        """What a run has spent so far."""
        ...

    def reused(self, run: str) -> int:
        """How many different answers were given here that had been paid for, and not by this run."""
        ...

    def stats(self) -> dict[str, int]:
        """`responses` and `attempts` there are, and the `bytes` of the responses."""
        ...

    def paid_only_by(self, runs: Collection[str]) -> dict[str, int]:
        """`responses`, and their `bytes`, that only these runs made calls for."""
        ...

    def clear_responses(self, only_by: Collection[str] | None = None) -> int:
        """Forget every stored answer, or those of `paid_only_by`; the ledger stays. Returns how many."""
        ...

    def close(self) -> None:
        """Give back what is held. No call may be under way."""
        ...
