"""How a simulated provider behaves: what is asked for on the command line, in Python, or while it runs."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from skill_fleet.foundation.errors import UnknownName, UsageError
from skill_fleet.simulator.faults import CATALOGUE
from skill_fleet.simulator.script import Rule

OFFLINE = "offline/rules-v1"
MAX_BODY_BYTES = 16 * 1024 * 1024
_OFFLINE_NAME = re.compile(r"offline/rules-v1(?:-s\d{1,9})?")
_SIMULATED_NAME = re.compile(r"simulated/[\w.:@/-]{1,200}")


@dataclass(frozen=True)
class Faults:
    """What goes wrong, and how often.

    Attributes:
        rates: Name of a fault -> share of requests that meet it; together at most 1.
        in_a_row: Most faults that one request meets one after another, but for those that are permanent.
        hang_seconds: When a request that hangs is dropped, should the client wait for so long.
        slow_seconds: How late a slow first byte is, and how long an answer drips.

    Raises:
        UnknownName: There is no such fault.
        UsageError: A rate is none, or together they are more than 1.
    """

    rates: Mapping[str, float] = field(default_factory=dict)
    in_a_row: int = 4
    hang_seconds: float = 600.0
    slow_seconds: float = 1.0

    def __post_init__(self) -> None:
        for name, rate in self.rates.items():
            if name not in CATALOGUE:
                raise UnknownName("fault", name, CATALOGUE)
            if not 0 <= rate <= 1:
                raise UsageError(f"The rate of the fault {name} is {rate:g}.", hint="Rates are from 0 to 1.")
        if sum(self.rates.values()) > 1 + 1e-9:
            raise UsageError(
                f"The rates of the faults are {sum(self.rates.values()):g} together.",
                hint="A request meets one fault at most: together they may be 1.",
            )
        _at_least("in_a_row", self.in_a_row, 0)
        _above("hang_seconds", self.hang_seconds)
        _above("slow_seconds", self.slow_seconds)


@dataclass(frozen=True)
class Limits:
    """How much the provider takes before it answers 429; None is no limit.

    Attributes:
        rps: Requests a second.
        rpm: Requests a minute; instead of `rps`.
        burst: Requests that may come at once after a rest; None is one second's worth, at least 1.
        window: Seconds of a sliding window, instead of the bucket with a burst; a longer one where so many
            seconds hold no whole number of requests.
        tpm: Tokens a minute, of prompts and answers.
        max_in_flight: Requests under way at once.
        retry_after: Seconds that a 429 or 503 asks to wait; None is when there is room again.
        retry_header: Whether a 429 or 503 says at all how long to wait.
        rate_headers: Whether answers carry `x-ratelimit-*`.

    Raises:
        UsageError: A limit is not above 0, or two exclude each other.
    """

    rps: float | None = None
    rpm: float | None = None
    burst: int | None = None
    window: float | None = None
    tpm: int | None = None
    max_in_flight: int | None = None
    retry_after: float | None = None
    retry_header: bool = True
    rate_headers: bool = True

    def __post_init__(self) -> None:
        for name in ("rps", "rpm", "burst", "window", "tpm", "max_in_flight"):
            value = getattr(self, name)
            if value is not None:
                _above(name, value)
        if self.retry_after is not None:
            _at_least("retry_after", self.retry_after, 0)
        for one, other in (("rps", "rpm"), ("burst", "window")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise UsageError(f"{one} and {other} exclude each other.", hint="Give one of them.")
        for name in ("burst", "window"):
            if getattr(self, name) is not None and self.rate is None:
                raise UsageError(f"{name} says nothing without a rate.", hint="Give rps or rpm too.")

    @property
    def rate(self) -> float | None:
        """Requests a second."""
        return self.rpm / 60 if self.rpm is not None else self.rps

    @property
    def most_at_once(self) -> int:
        """The size of the bucket of requests."""
        return self.burst or max(1, math.ceil(self.rate or 0))


@dataclass(frozen=True)
class Price:
    """Dollars for a million tokens of prompt and of answer."""

    prompt: float
    completion: float

    def __post_init__(self) -> None:
        _at_least("price", self.prompt, 0)
        _at_least("price", self.completion, 0)

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Dollars for so many tokens."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


@dataclass(frozen=True)
class SimulatorSettings:
    """Everything about a simulated provider.

    Attributes:
        host: Address to listen at.
        port: Port to listen at; 0 takes a free one.
        seed: Decides which requests meet faults and how long each takes.
        models: Names served: `offline/rules-v1`, `offline/rules-v1-s7`, or `simulated/` and any name.
        script: Answers and faults by prompt, tried first, in order.
        faults: What goes wrong.
        limits: How much it takes.
        latency: Median seconds until an answer.
        latency_sigma: Its spread: standard deviation of its logarithm.
        die_after: After so many requests, every further one is reset, until this is changed; None is never.
        price: Without one it bills tokens and no dollars.
        bill_errors: Whether refusals and errors are billed too, for the tokens of the prompt.
        api_key: What clients must send as their key; None takes any, or none.
        ledger: File to which a line of JSON is written for each request.
        max_requests: Ends after so many requests; None is never.
        max_seconds: Ends after so many seconds; None is never.

    Raises:
        UsageError: A value is out of range, or a name is not one that a simulator may have.
    """

    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 0
    models: tuple[str, ...] = (OFFLINE,)
    script: tuple[Rule, ...] = ()
    faults: Faults = field(default_factory=Faults)
    limits: Limits = field(default_factory=Limits)
    latency: float = 0.0
    latency_sigma: float = 0.5
    die_after: int | None = None
    price: Price | None = None
    bill_errors: bool = False
    api_key: str | None = field(default=None, repr=False)
    ledger: Path | None = None
    max_requests: int | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if not self.models:
            raise UsageError("A simulated provider serves at least one model.", hint=f"Name {OFFLINE}.")
        for name in self.models:
            if not (_OFFLINE_NAME.fullmatch(name) or _SIMULATED_NAME.fullmatch(name)):
                raise UsageError(
                    f"A simulated provider cannot serve a model named '{name}'.",
                    hint=f"Use {OFFLINE}, {OFFLINE}-s1, or a name that begins with simulated/.",
                )
        _at_least("latency", self.latency, 0)
        _at_least("latency_sigma", self.latency_sigma, 0)
        if self.die_after is not None:
            _at_least("die_after", self.die_after, 0)
        if self.max_requests is not None:
            _above("max_requests", self.max_requests)
        if self.max_seconds is not None:
            _above("max_seconds", self.max_seconds)


def _above(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise UsageError(f"{name} is {value:g}.", hint="It is a number above 0.")


def _at_least(name: str, value: float, least: int) -> None:
    if not least <= value < math.inf:
        raise UsageError(f"{name} is {value:g}.", hint=f"It is a number from {least}.")
