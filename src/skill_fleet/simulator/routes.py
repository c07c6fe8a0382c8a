"""What the simulated provider serves: chat completions, models, and its own totals, records and settings."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from skill_fleet.foundation.addresses import is_loopback_address
from skill_fleet.foundation.clock import Clock
from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.simulator.bodies import ApiError, unknown_model
from skill_fleet.simulator.changing import changed, shown
from skill_fleet.simulator.deciding import JSON, Decider
from skill_fleet.simulator.delivering import deliver
from skill_fleet.simulator.wire import Connection, HttpRequest

_PAGE = 1000


class Routes:
    """Answers every request of every connection.

    Args:
        decider: What becomes of requests for completions.
        clock: For `created` of the models.
        after_each: Called when a request for a completion has ended.
    """

    def __init__(self, decider: Decider, clock: Clock, after_each: Callable[[], None]) -> None:
        self._decider = decider
        self._began = int(clock.now())
        self._after_each = after_each

    async def handle(self, request: HttpRequest, connection: Connection) -> None:
        """Answer one request."""
        path = _path(request)
        if path == "/v1/chat/completions" and request.method == "POST":
            await self._complete(request, connection)
            return
        try:
            if path is None:
                raise ApiError.bad("The request's target is no address.")
            if request.refusal is not None:
                raise request.refusal
            status, value = 200, self._plain(request, path)
        except ApiError as error:
            await connection.respond(error.status, [JSON], error.body())
        except SkillFleetError as error:
            said = ApiError.bad(" ".join(part for part in (error.message, error.hint) if part))
            await connection.respond(said.status, [JSON], said.body())
        else:
            await connection.respond(status, [JSON], orjson.dumps(value) + b"\n")

    async def _complete(self, request: HttpRequest, connection: Connection) -> None:
        decision = self._decider.decide(request)
        delivered = False
        try:
            delivered = await deliver(decision, connection, self._decider.settings.faults)
        finally:
            self._decider.ended(decision, delivered=delivered)
            self._after_each()

    def _plain(self, request: HttpRequest, path: str) -> Any:
        if path.startswith("/v1/"):
            self._decider.check_key(request)
        # What answers GET answers HEAD: the connection leaves the body out.
        match "GET" if request.method == "HEAD" else request.method, path:
            case "GET", "/v1/models":
                return {
                    "object": "list",
                    "data": [self._model(name) for name in self._decider.settings.models],
                }
            case "GET", _ if path.startswith("/v1/models/"):
                name = path.removeprefix("/v1/models/")
                if name not in self._decider.settings.models:
                    raise unknown_model(name)
                return self._model(name)
            case "GET", "/simulator/totals":
                _from_here(request)
                return self._decider.ledger.totals().to_json()
            case "GET", "/simulator/records":
                _from_here(request)
                return self._records(request)
            case "POST", "/simulator/settings":
                _from_here(request)
                self._decider.change(changed(self._decider.settings, _object(request.body)))
                return shown(self._decider.settings)
            case "GET", "/simulator/settings":
                _from_here(request)
                return shown(self._decider.settings)
            case _:
                raise ApiError(
                    404,
                    f"There is no {request.method} {path} here: this is a simulated provider, which serves "
                    "POST /v1/chat/completions and GET /v1/models.",
                    "invalid_request_error",
                    code="unknown_url",
                )

    def _model(self, name: str) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": self._began,
            "owned_by": "skill-fleet simulate-provider",
            "simulated": True,
        }

    def _records(self, request: HttpRequest) -> dict[str, Any]:
        asked = parse_qs(urlsplit(request.target).query).get("after", ["0"])[0]
        if not (asked.isascii() and asked.isdigit()) or len(asked) > 15:
            raise ApiError.bad("after is not a whole number.", "after")
        found, following = self._decider.ledger.page(int(asked), _PAGE)
        return {"records": [record.to_json() for record in found], "next": following}


def _path(request: HttpRequest) -> str | None:
    """What is asked for; None where nobody can tell."""
    try:
        return urlsplit(request.target).path.rstrip("/") or "/"
    except ValueError:
        return None


def _from_here(request: HttpRequest) -> None:
    """What steers the simulator is for this machine, and for no page in its browser."""
    if not is_loopback_address(request.peer) or "origin" in request.headers:
        raise ApiError(403, "Only programs on the simulator's own machine may ask for this.", "forbidden")


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError.bad(f"The body is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ApiError.bad("The body is not a JSON object.")
    return value
