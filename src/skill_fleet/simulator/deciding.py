"""What becomes of a request: decided at once, counted and billed, before anything is sent."""

import hmac
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from skill_fleet.foundation.clock import Clock
from skill_fleet.simulator.answering import answers, scripted
from skill_fleet.simulator.asking import Asked, read_asked
from skill_fleet.simulator.bodies import (
    BAD_GATEWAY,
    ApiError,
    Choice,
    Completion,
    bug,
    error_of,
    over_limit,
    unknown_model,
    wrong_key,
)
from skill_fleet.simulator.faults import CATALOGUE, Attempts, Fault, latency
from skill_fleet.simulator.ledger import Ledger, Record
from skill_fleet.simulator.limits import Throttle
from skill_fleet.simulator.script import Rule, Script
from skill_fleet.simulator.settings import SimulatorSettings
from skill_fleet.simulator.wire import Headers, HttpRequest

LOG = logging.getLogger("skill_fleet.simulator")
Manner = Literal["whole", "late", "drip", "cut", "hang", "reset"]
_MANNERS: dict[str, Manner] = {
    "hang": "hang",
    "reset": "reset",
    "truncated": "cut",
    "slow_first_byte": "late",
    "drip": "drip",
}
JSON = ("content-type", "application/json")
EVENTS = ("content-type", "text/event-stream; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a client is sent, and how.

    Attributes:
        record: Counted already; ended by whoever delivers it.
        manner: How it is sent.
        status: HTTP status.
        headers: Without length.
        parts: The body; several parts are events of a stream.
        stream: Whether the body has no length.
        latency: Seconds before anything is sent.
        answered: Whether it is a whole, usable answer.
        lost: Whether the client will have nothing to read.
    """

    record: Record
    manner: Manner
    status: int
    headers: Headers
    parts: tuple[bytes, ...]
    stream: bool = False
    latency: float = 0.0
    answered: bool = False
    lost: bool = False


class Decider:
    """The provider's mind. For one thread.

    Args:
        settings: How it behaves; `settings` may be replaced while it works.
        ledger: Where requests are counted.
        clock: For limits, offsets and the time in answers.
    """

    def __init__(self, settings: SimulatorSettings, ledger: Ledger, clock: Clock) -> None:
        self.ledger = ledger
        self._clock = clock
        self._began = clock.monotonic()
        self._attempts = Attempts()
        self._let: set[str] = set()
        self.settings = settings
        self._throttle = Throttle(settings.limits, self._began)
        self._script = Script(settings.script)

    def change(self, settings: SimulatorSettings) -> None:
        """Behave otherwise from now on. Changed limits and scripts begin afresh; attempts are remembered."""
        before, self.settings = self.settings, settings
        if before.limits != settings.limits:
            in_flight = self._throttle.in_flight
            self._throttle = Throttle(settings.limits, self._clock.monotonic())
            self._throttle.in_flight = in_flight
        if before.script != settings.script:
            self._script = Script(settings.script)

    def decide(self, request: HttpRequest) -> Decision:
        """What becomes of a request for a chat completion. Ends with `ended`."""
        number = self.ledger.requests
        record = Record(offset=round(self._clock.monotonic() - self._began, 6), id=f"sim-{number + 1}")
        ends = [each for each in (self.settings.die_after, self.settings.max_requests) if each is not None]
        died = bool(ends) and number >= min(ends)
        try:
            asked = _read(request)
            record.model, record.prompt, record.seed = asked.model[:200], asked.prompt_hash, asked.seed
            if not died:
                self._let_in(request, asked)
        except ApiError as error:
            return self._died(record) if died else self._refused(record, error)
        if died:
            return self._died(record)
        refused = self._throttle.admit(asked.prompt_tokens, self._clock.monotonic())
        if refused is not None:
            record.fault = "limit"
            too_many = over_limit(refused.by, asked.model, refused.seconds)
            return self._refused(record, too_many, self._retry(refused.seconds), asked)
        self._let.add(record.id)
        try:
            return self._taken(record, asked)
        except Exception as error:  # noqa: BLE001 - what it was asked for and broke at is counted, too
            told = bug(error)
            LOG.error(told.message)  # noqa: TRY400 - one line
            return self._refused(_at_a_bug(record), told)

    def ended(self, decision: Decision, *, delivered: bool) -> None:
        """A decision was carried out, or its client left."""
        if decision.record.id in self._let:
            self._let.remove(decision.record.id)
            self._throttle.in_flight -= 1
        self.ledger.close_record(decision.record, delivered=delivered)

    def check_key(self, request: HttpRequest) -> None:
        """Whether a request may come in.

        Raises:
            ApiError: 401: it has another key than is asked for.
        """
        key = self.settings.api_key
        sent = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if key is not None and not hmac.compare_digest(sent.encode(), key.encode()):
            raise wrong_key()

    def _let_in(self, request: HttpRequest, asked: Asked) -> None:
        self.check_key(request)
        if asked.model not in self.settings.models:
            raise unknown_model(asked.model)

    def _died(self, record: Record) -> Decision:
        record.fault = "died"
        return self._counted(Decision(record, "reset", 0, [], (), lost=True))

    def _taken(self, record: Record, asked: Asked) -> Decision:
        """A request that was let in and meets its fate."""
        settings, faults = self.settings, self.settings.faults
        rule = self._script.step(asked.prompt)
        rates = {} if rule is not None else faults.rates
        attempt, fault = self._attempts.next(rates, faults.in_a_row, settings.seed, asked.key)
        if rule is not None and rule.fault is not None:
            fault = CATALOGUE[rule.fault]
        record.attempt, record.fault = attempt, None if fault is None else fault.name
        if fault is not None and not fault.worked:
            return self._failed(record, asked, fault)
        return self._worked(record, asked, _mangled(_choices(asked, rule), fault), fault)

    def _worked(
        self, record: Record, asked: Asked, choices: Sequence[Choice], fault: Fault | None
    ) -> Decision:
        """A request for which the work was done, whatever its client gets to see of it."""
        settings, name = self.settings, None if fault is None else fault.name
        attempt = record.attempt or 0
        spent = sum(choice.tokens for choice in choices)
        shown = () if name == "empty" else choices
        created = int(self._clock.now())
        id_ = f"{asked.key[:16]}-{attempt}"
        completion = Completion(id_, asked.model, created, shown, asked.prompt_tokens, spent)
        record.status = None if name in {"hang", "reset"} else 200
        record.prompt_tokens = record.billed_prompt_tokens = asked.prompt_tokens
        record.completion_tokens = record.billed_completion_tokens = spent
        self._throttle.answered(spent, self._clock.monotonic())
        decision = Decision(
            record,
            _MANNERS.get(name or "", "whole"),
            200,
            [EVENTS if asked.stream else JSON, *self._usual(record)],
            _parts(completion, asked, fault),
            stream=asked.stream,
            latency=latency(settings.latency, settings.latency_sigma, settings.seed, asked.key, attempt),
            answered=fault is None or fault.outcome == "usable",
            lost=fault is not None and fault.outcome == "lost",
        )
        return self._counted(decision)

    def _failed(self, record: Record, asked: Asked, fault: Fault) -> Decision:
        if fault.name == "bad_gateway":
            record.status = 502
            self._bill_error(record, asked)
            headers = [("content-type", "text/html"), *self._usual(record)]
            return self._counted(Decision(record, "whole", 502, headers, (BAD_GATEWAY,)))
        error = error_of(fault, asked.model, asked.prompt_tokens)
        again = self._retry(1.0) if fault.name in {"rate_limit", "unavailable"} else []
        return self._refused(record, error, again, asked)

    def _refused(
        self, record: Record, error: ApiError, headers: Headers | None = None, asked: Asked | None = None
    ) -> Decision:
        record.status = error.status
        if asked is not None:
            self._bill_error(record, asked)
        sent = [JSON, *self._usual(record), *(headers or [])]
        return self._counted(Decision(record, "whole", error.status, sent, (error.body(),)))

    def _bill_error(self, record: Record, asked: Asked) -> None:
        if self.settings.bill_errors:
            record.billed_prompt_tokens = asked.prompt_tokens

    def _counted(self, decision: Decision) -> Decision:
        self.ledger.open(decision.record, answered=decision.answered, lost=decision.lost)
        return decision

    def _usual(self, record: Record) -> Headers:
        return [("x-request-id", record.id), *self._throttle.headers(self._clock.monotonic())]

    def _retry(self, seconds: float | None) -> Headers:
        """How long to wait, in HTTP's whole seconds and OpenAI's milliseconds; a configured wait as it is."""
        limits = self.settings.limits
        wait = seconds if limits.retry_after is None else limits.retry_after
        if wait is None or not limits.retry_header:
            return []
        if limits.retry_after is not None:
            return [("retry-after", f"{wait:g}"), ("retry-after-ms", f"{wait * 1000:.0f}")]
        milliseconds = math.ceil(wait * 1000 - 1e-6)  # who comes sooner comes in vain
        return [("retry-after", f"{math.ceil(milliseconds / 1000)}"), ("retry-after-ms", f"{milliseconds}")]


def _at_a_bug(record: Record) -> Record:
    """The record of a request that the simulator broke at: no work was done, whatever was noted by then."""
    return Record(
        record.offset, record.id, record.model, record.prompt, record.seed, record.attempt, fault="bug"
    )


def _read(request: HttpRequest) -> Asked:
    if request.refusal is not None:
        raise request.refusal
    return read_asked(request.body)


def _choices(asked: Asked, rule: Rule | None) -> list[Choice]:
    if rule is not None and rule.answer is not None:
        return scripted(rule.answer, asked)
    return answers(asked)


def _mangled(choices: list[Choice], fault: Fault | None) -> list[Choice]:
    """The answers as a fault leaves them; the work done, and its tokens, stay."""
    match None if fault is None else fault.name:
        case "blank":
            return [Choice("", "stop", each.tokens) for each in choices]
        case "content_filter":
            return [Choice("", "content_filter", each.tokens) for each in choices]
        case "length":
            halves = [each.text[: len(each.text) // 2] for each in choices]
            return [Choice(half, "length", -(-len(half) // 4)) for half in halves]
        case _:
            return choices


def _parts(completion: Completion, asked: Asked, fault: Fault | None) -> tuple[bytes, ...]:
    usage = fault is None or fault.name != "no_usage"
    broken = fault is not None and fault.name == "malformed"
    if not asked.stream:
        body = completion.body(usage=usage)
        return (body[: len(body) // 2],) if broken else (body,)
    events = tuple(completion.events(usage=usage and asked.usage_in_stream))
    if broken:
        half = len(events) // 2
        return (*events[:half], events[half][: len(events[half]) // 2] + b"\n\n")
    return events
