"""The events of a job as they happen, over any number of connections: none lost, none twice."""

import json
from collections.abc import Callable, Iterator

import httpx2

from skill_fleet.client.calls import Calls, Unready
from skill_fleet.client.problems import no_answer
from skill_fleet.client.records import Event
from skill_fleet.foundation.clock import Clock
from skill_fleet.foundation.errors import ProviderError, SkillFleetError

SILENCE_SECONDS = 45.0
"""The server says something every 15; after this it is taken to be away."""
_END = "end"
_LARGEST_EVENT = 64 * 1024 * 1024

OnTrouble = Callable[[SkillFleetError], None]


def follow(
    calls: Calls, path: str, *, after: int, patience: float, on_trouble: OnTrouble | None = None
) -> Iterator[Event]:
    """Events in order, until the job is over.

    Args:
        calls: The server.
        path: Of the job's events.
        after: Only events after this number.
        patience: Seconds for which a server may be away before it is given up.
        on_trouble: Told once each time the server goes away; it is tried again all the same.

    Raises:
        ProviderError: The server was away for too long.
        SkillFleetError: It refuses.
    """
    attempt, last = 0, after
    away = _Away(calls.clock, patience, on_trouble)
    while True:
        try:
            headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last)}
            with calls.stream(path, headers, silence=SILENCE_SECONDS) as response:
                attempt = 0
                away.ended()
                for event in _read(response):
                    if event is None:
                        return
                    if event.number > last:
                        last = event.number
                        yield event
        except httpx2.TransportError as error:
            away.seen(no_answer(calls.url, error))
        except Unready as unready:
            away.seen(unready.error)
        calls.clock.sleep(calls.pause(attempt))
        attempt += 1


class _Away:
    """For how long a server has been away."""

    def __init__(self, clock: Clock, patience: float, on_trouble: OnTrouble | None) -> None:
        self._clock = clock
        self._patience = patience
        self._on_trouble = on_trouble
        self._since: float | None = None

    def ended(self) -> None:
        """It is there again."""
        self._since = None

    def seen(self, trouble: SkillFleetError) -> None:
        """It is away; raised once that has lasted for too long."""
        if self._since is None:
            self._since = self._clock.monotonic()
            if self._on_trouble is not None:
                self._on_trouble(trouble)
        elif self._clock.monotonic() - self._since > self._patience:
            raise trouble from None


def _read(response: httpx2.Response) -> Iterator[Event | None]:
    """The events of one connection; None where the server says that there will be no more."""
    try:
        for sent in httpx2.EventSource(response, _LARGEST_EVENT):
            if sent.event == _END:
                yield None
            elif sent.data:
                yield Event.of(json.loads(sent.data))
    except (httpx2.SSEError, ValueError):
        raise ProviderError(
            "The server's stream of events cannot be read.",
            hint="Is it a skill-fleet server?",
            code="unreadable_answer",
        ) from None
