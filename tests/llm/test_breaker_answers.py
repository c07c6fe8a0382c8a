"""What of a failed call speaks of the provider: a spoiled answer does, a trouble in here says nothing."""

import random

import pytest
from dspy.utils.exceptions import (
    ContextWindowExceededError,
    LMError,
    LMInvalidRequestError,
    LMLockTimeoutError,
    LMNotConfiguredError,
    LMProviderError,
    LMServerError,
    LMStreamAssemblyError,
    LMUnsupportedFeatureError,
)

from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.failures import UnusableAnswer, understand
from skill_fleet.llm.limits.admission import Admission
from skill_fleet.llm.limits.breaker import IN_A_ROW
from skill_fleet.llm.limits.callers import Call, Place, Quota

DOWN = ProviderError("It is down.")
MANY = 4 * IN_A_ROW
SPOILED = [
    *(UnusableAnswer("x", code=code) for code in ("truncated", "empty", "broken_off", "content_filter")),
    LMProviderError(message="no JSON", status=200),
    LMProviderError(message="no text", code="malformed", status=200),
    LMStreamAssemblyError(message="no event"),
    ContextWindowExceededError(message="too long", status=400),
    LMInvalidRequestError(message="no", status=400),
]
LOCAL = [
    LMLockTimeoutError(message="busy"),
    LMNotConfiguredError(message="no key"),
    LMUnsupportedFeatureError(message="no"),
]


class Asking:
    """An account and its callers, without threads."""

    def __init__(self) -> None:
        self.core = Admission(60.0, 120.0, random.Random(0))

    def call(self, now: float) -> Call:
        place = Place(Quota("m"), 1, lambda: None)
        self.core.enter(place, now)
        assert place.call is not None
        return place.call

    def fails(self, call: Call, error: LMError, now: float) -> None:
        self.core.failed(call, understand(error), DOWN, now)

    def probe(self) -> Call:
        """Of a provider that went away."""
        for number, call in enumerate([self.call(100.0) for _ in range(MANY)]):
            self.fails(call, LMServerError(message="down", status=500), 103.0 + number)
        assert self.core.breaker.state == "open"
        found = self.call(200.0)
        assert found.probe
        return found


@pytest.mark.parametrize("error", SPOILED, ids=lambda error: error.code)
def test_an_answer_that_cannot_be_used_is_an_answer_of_a_provider_that_is_there(error: LMError) -> None:
    made = Asking()
    for number, call in enumerate([made.call(0.0) for _ in range(MANY)]):
        made.fails(call, error, 3.0 + number)
    assert made.core.breaker.state == "closed"
    made.fails(made.probe(), error, 200.5)
    assert made.core.breaker.state == "closed"


@pytest.mark.parametrize("error", LOCAL, ids=lambda error: error.code)
def test_what_fails_in_here_says_nothing_of_the_provider(error: LMError) -> None:
    made = Asking()
    for number, call in enumerate([made.call(0.0) for _ in range(MANY)]):
        made.fails(call, error, 3.0 + number)
    assert made.core.breaker.state == "closed", "it is no outage"
    made.fails(made.probe(), error, 200.5)
    assert made.core.breaker.state == "open", "nor a reason to trust it"
    assert made.call(200.6).probe, "another may look at once"
