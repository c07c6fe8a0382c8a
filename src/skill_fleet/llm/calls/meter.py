"""A model of one stage and all that its calls are made with: journal, budget, limiter, price.

What the engine, the payment of a call and its stream have in common: how a call is keyed, and how an answer
of the journal is given.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import orjson
from dspy.lm15 import Request, Response

from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.errors import LeaseLost, ProviderError, SkillFleetError, StorageError
from skill_fleet.llm.budget import Gate
from skill_fleet.llm.call_context import CallContext, current_call, current_subject
from skill_fleet.llm.calls.line import Line
from skill_fleet.llm.calls.proposals import Proposals, Withheld
from skill_fleet.llm.commands.known import identity_of
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.limits.limiter import Limiter, Quota
from skill_fleet.llm.lm15_json import request_to_dict, response_from_dict
from skill_fleet.llm.pricing import Price
from skill_fleet.llm.providers.routes import address_of

OnFailure = Literal["halt", "raise"]


class Inner(Protocol):
    """What makes one attempt: a provider or the offline model."""

    def complete(self, request: Request) -> Response:
        """One attempt."""
        ...

    async def acomplete(self, request: Request) -> Response:
        """One attempt, awaited."""
        ...


class Place(Protocol):
    """What bounds the attempts of some engines together, threads and tasks."""

    def acquire(self) -> None:
        """Wait for a place, and take it."""
        ...

    async def aacquire(self) -> None:
        """The same, awaited."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...


class Meter:
    """A model of one stage, metered.

    Args:
        inner: Makes the attempts.
        spec: The model.
        line: Shared by all engines of a run.
        gate: The stage's door to the budget.
        price: Per token, or None when unknown.
        on_failure: `halt` stops everything when a call fails for good (inside a search, where a failure
            would become a score); `raise` gives the DSPy error to the caller (our own measurements).
        limiter: Of the provider's account, shared by all runs of the process; None bounds nothing.
        place: Taken by each attempt before anything else; None bounds nothing.
        proposals: Where its calls are proposals of a search that can do without one; else None.
    """

    def __init__(  # noqa: PLR0913 - one value for each thing a call is made with
        self,
        inner: Inner,
        spec: ModelSpec,
        line: Line,
        gate: Gate,
        price: Price | None,
        on_failure: OnFailure = "halt",
        *,
        limiter: Limiter | None = None,
        place: Place | None = None,
        proposals: Proposals | None = None,
    ) -> None:
        self.inner = inner
        self.spec = spec
        self.line = line
        self.gate = gate
        self.price = price
        self.on_failure = on_failure
        self.limiter = limiter
        self.place = place
        self.proposals = proposals
        self.quota = Quota(spec.model, spec.rpm, spec.tpm, spec.at_once)
        self.model = line.acquaintance(spec)
        command = identity_of(spec)
        self._address = address_of(spec)
        self._command = () if command is None else (command,)

    def keyed(self, request: Request) -> tuple[bytes, str, CallContext]:
        """A request as JSON, its key, and what it is part of."""
        context = current_call()
        document = orjson.dumps(request_to_dict(request), option=orjson.OPT_SORT_KEYS)
        place = [self.spec.model, self._address, context.rollout, context.candidate, *self._command]
        return document, digest([document.decode(), place]), context

    def confirm(self, answers: Sequence[tuple[str, str]]) -> bool:
        """Whether the journal would give just these answers now; counted as given when it does.

        Raises:
            Halt: As for any call: the gate is closed, or the journal cannot be read.
        """
        self._require_open()
        if any(self._recalled(key) is not None or self._looked_up(key) != body for key, body in answers):
            return False
        self.line.traffic.count("from_journal", len(answers))
        self.model.answered = True
        for key, _ in answers:
            self._note_answered(key)
        return True

    def _looked_up(self, key: str) -> str | None:
        try:
            return self.line.journal.lookup(key)
        except StorageError as error:
            raise self.storage_halt(error) from error

    def stored(self, key: str, context: CallContext) -> Response | None:
        """The answer that the journal has.

        Raises:
            Halt: The gate is closed, or the journal cannot be read.
            Withheld: The search was told that there is none. That holds also where the journal has got one
                from another run since, so that a resumed search goes the way it went.
        """
        self._require_open()
        self._require_not_withheld(key)
        body = self._looked_up(key)
        return None if body is None else self._from_journal(body, key, context)

    def landed(self, key: str, context: CallContext) -> Response | None:
        """What came of an equal call between the look-up and the claim: the journal remembers an answer.

        Raises:
            Withheld: It was withheld.
        """
        self._require_not_withheld(key)
        body = self.line.journal.recall(key)
        return None if body is None else self._from_journal(body, key, context)

    def _require_open(self) -> None:
        if self.gate.closed is not None:
            raise self.gate.closed.again()

    def _require_not_withheld(self, key: str) -> None:
        withheld = self._recalled(key)
        if withheld is not None:
            raise withheld

    def _recalled(self, key: str) -> Withheld | None:
        """What a proposal that was withheld before comes to; None for all other calls."""
        proposals = self.proposing
        return None if proposals is None else proposals.recalled(key)

    @property
    def proposing(self) -> Proposals | None:
        """The proposals of the search, where the call under way is one; None where it is for an example."""
        return self.proposals if current_subject() is None else None

    def _from_journal(self, body: str, key: str, context: CallContext) -> Response:
        self.line.traffic.count("from_journal")
        self.model.answered = True
        return self.parsed(body, key, context)

    def parsed(self, body: str, key: str, context: CallContext) -> Response:
        """A stored answer, given to the caller."""
        try:
            response = response_from_dict(orjson.loads(body))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            damaged = StorageError(
                f"The stored answer {key[:12]} in {self.line.journal.place} cannot be read.",
                hint="Clear the cache: the ledger of what was paid stays.",
            )
            raise self.storage_halt(damaged) from error
        return self.given(response, body, key, context)

    def given(self, response: Response, body: str, key: str, context: CallContext) -> Response:
        """An answer, noted with the call that it is part of."""
        context.candidate += 1
        context.answers.append((key, body))
        self._note_answered(key)
        return response

    def _note_answered(self, key: str) -> None:
        proposals = self.proposing
        if proposals is not None:
            proposals.answers(key)

    def without_it(self, key: str, error: ProviderError) -> BaseException | None:
        """What a call that failed for good comes to where it is a proposal of a search, to be raised.

        Returns:
            `Withheld`, or a `Halt` where that cannot be noted, or may not; None where the search cannot do
            without it.
        """
        proposals = self.proposing
        if proposals is None:
            return None
        try:
            return proposals.withholds(key, error)
        except LeaseLost as lost:
            halt = Halt("lease", lost)
        except SkillFleetError as failed:
            halt = Halt("storage", failed)
        return self.gate.close(halt).again()

    def storage_halt(self, error: StorageError) -> Halt:
        """Close the gate, since the journal cannot be used; to be raised."""
        return self.gate.close(Halt("storage", error)).again()
