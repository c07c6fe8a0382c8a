"""What was asked, what came of it, and what was billed: a record for each request, and exact totals."""

import json
import threading
from collections import deque
from dataclasses import asdict, dataclass, field
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Any

from skill_fleet.foundation.errors import StorageError
from skill_fleet.simulator.settings import Price

KEPT = 100_000
"""Records that are kept in memory; the oldest are dropped first. The totals count all."""


@dataclass(slots=True)
class Record:
    """One request.

    Attributes:
        offset: Seconds since the simulator began.
        id: As in the header `x-request-id` of the answer.
        model: As asked for, or empty where the request could not be read.
        prompt: Hash of the prompt, or empty.
        seed: The request's `seed` field.
        attempt: How often this request was asked for before; None where it was turned away unread.
        fault: Name of the fault it met; `limit` where it was over the limits, `died` after `die_after`,
            `bug` where the simulator itself broke at it; None where all went well or the request was wrong.
        status: HTTP status, or None where none was sent.
        prompt_tokens: Of the work done.
        completion_tokens: Of the work done.
        billed_prompt_tokens: Of the bill.
        billed_completion_tokens: Of the bill.
        usd: Of the bill; None without a price.
        delivered: Whether the client was there until the last byte of what was meant for it, and it was a
            whole answer; None while it is under way.
    """

    offset: float
    id: str
    model: str = ""
    prompt: str = ""
    seed: int | None = None
    attempt: int | None = None
    fault: str | None = None
    status: int | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    billed_prompt_tokens: int = 0
    billed_completion_tokens: int = 0
    usd: float | None = None
    delivered: bool | None = None

    @property
    def billed(self) -> bool:
        """Whether any of it was billed."""
        return self.billed_prompt_tokens + self.billed_completion_tokens > 0

    @property
    def refused(self) -> bool:
        """Whether the client was told that it gets no answer."""
        return self.status is not None and self.status >= 400

    def to_json(self) -> dict[str, Any]:
        """As a line of the ledger."""
        return asdict(self)


@dataclass(frozen=True)
class Totals:
    """All requests so far.

    Attributes:
        requests: Requests for an answer, whatever came of them.
        answered: Those that got a whole, usable answer, or are about to.
        rejected: Those turned away by the limits; drawn faults are in `by_fault`.
        by_fault: Fault -> requests that met it; `limit`, `died` and `bug` among them.
        prompt_tokens: Of all work done.
        completion_tokens: Of all work done.
        billed_prompt_tokens: Of the bill.
        billed_completion_tokens: Of the bill.
        billed_usd: Of the bill; None without a price.
        billed_without_answer: Requests that were billed though the client got no answer it can read: the
            connection hung or broke, the body was cut off or broken, the client had left, or it was an error.
        most_in_flight: Most requests under way at once.
    """

    requests: int = 0
    answered: int = 0
    rejected: int = 0
    by_fault: dict[str, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    billed_prompt_tokens: int = 0
    billed_completion_tokens: int = 0
    billed_usd: float | None = None
    billed_without_answer: int = 0
    most_in_flight: int = 0

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A request that has not ended, and what was counted of it: see `Ledger.open`."""

    record: Record
    answered: bool
    lost: bool


class Ledger:
    """The records and their sum. Written by the server's thread, read by any.

    A request is counted and billed when it is decided what becomes of it, before the first byte of an answer:
    a client that has an answer, or has given up waiting, finds it in the totals.

    Args:
        price: For the dollars.
        path: Where to write a line for each request as it ends, or None.
        keep: Records kept in memory.

    Raises:
        StorageError: The file cannot be written.
    """

    def __init__(self, price: Price | None, path: Path | None = None, keep: int = KEPT) -> None:
        self._price = price
        self._lock = threading.Lock()
        self._records: deque[Record] = deque(maxlen=keep)
        self._open: dict[str, _UnderWay] = {}
        self._counts: dict[str, int] = dict.fromkeys(_COUNTED, 0)
        self._by_fault: dict[str, int] = {}
        self._path = path
        self._file = None if path is None else _opened(path)

    @property
    def requests(self) -> int:
        """Requests so far."""
        return self._counts["requests"]

    @property
    def under_way(self) -> int:
        """Requests that have not ended."""
        return len(self._open)

    def open(self, record: Record, *, answered: bool, lost: bool = False) -> None:
        """A request of which it is known what becomes of it.

        Args:
            record: Not changed by anybody from now on.
            answered: Whether a whole, usable answer is under way.
            lost: Whether it is known already that the client will have nothing to read.
        """
        if self._price is not None:
            usd = self._price.of(record.billed_prompt_tokens, record.billed_completion_tokens)
            record.usd = round(usd, 15)  # without the dust of binary fractions
        with self._lock:
            self._records.append(record)
            self._open[record.id] = _UnderWay(record, answered, lost)
            counts = self._counts
            counts["requests"] += 1
            counts["answered"] += answered
            counts["rejected"] += record.fault == "limit"
            counts["billed_without_answer"] += record.billed and (lost or record.refused)
            for name in _TOKENS:
                counts[name] += getattr(record, name)
            if record.fault is not None:
                self._by_fault[record.fault] = self._by_fault.get(record.fault, 0) + 1
            counts["most_in_flight"] = max(counts["most_in_flight"], len(self._open))

    def close_record(self, record: Record, *, delivered: bool) -> None:
        """A request has ended.

        Args:
            record: As opened.
            delivered: Whether the client was there to the last byte.
        """
        with self._lock:
            ended = self._open.pop(record.id, None)
            if ended is not None:
                self._count_end(ended, delivered=delivered)
                self._write(record)

    def _count_end(self, ended: "_UnderWay", *, delivered: bool) -> None:
        record = ended.record
        record.delivered = delivered and not ended.lost
        if ended.answered and not delivered:
            self._counts["answered"] -= 1
        if not delivered and record.billed and not (ended.lost or record.refused):
            self._counts["billed_without_answer"] += 1

    def _write(self, record: Record) -> None:
        if self._file is None or self._path is None:
            return
        line = json.dumps(record.to_json(), ensure_ascii=True).encode() + b"\n"
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def totals(self) -> Totals:
        """The sum of all requests so far."""
        with self._lock:
            counts = dict(self._counts)
            by_fault = dict(sorted(self._by_fault.items()))
        usd = None
        if self._price is not None:
            tokens = counts["billed_prompt_tokens"], counts["billed_completion_tokens"]
            usd = round(self._price.of(*tokens), 15)
        return Totals(**counts, by_fault=by_fault, billed_usd=usd)

    def page(self, first: int, size: int) -> tuple[list[Record], int]:
        """Records that are kept, oldest first, and where the next page begins.

        Args:
            first: How many of all requests to pass over.
            size: Most records.
        """
        with self._lock:
            dropped = self._counts["requests"] - len(self._records)
            start = max(first, dropped)
            found = list(islice(self._records, start - dropped, start - dropped + size))
        return found, start + len(found)

    def records(self) -> list[Record]:
        """The records that are kept, oldest first."""
        with self._lock:
            return list(self._records)

    def close(self) -> None:
        """Close the file; what is under way has ended, and was not delivered."""
        with self._lock:
            left = list(self._open.values())
            self._open.clear()
            for each in left:
                self._count_end(each, delivered=False)
            try:
                for each in left:
                    self._write(each.record)
            finally:
                if self._file is not None:
                    self._file.close()
                    self._file = None


_TOKENS = ("prompt_tokens", "completion_tokens", "billed_prompt_tokens", "billed_completion_tokens")
_COUNTED = ("requests", "answered", "rejected", *_TOKENS, "billed_without_answer", "most_in_flight")


def _opened(path: Path) -> FileIO:
    if not path.parent.is_dir():
        raise StorageError(
            f"The ledger {path} cannot be written: there is no folder {path.parent}.",
            hint="Make it, or name another --ledger.",
        )
    try:
        return path.open("wb", buffering=0)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"The ledger {path} cannot be written: {error.strerror}.", hint="Name another --ledger."
    )
