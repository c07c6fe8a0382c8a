"""A decision carried out: the bytes of an answer, whole, late, by drops, cut off, or none at all."""

from skill_fleet.simulator.deciding import Decision
from skill_fleet.simulator.settings import Faults
from skill_fleet.simulator.wire import Connection

_DROPS = 20
"""In how many pieces an answer drips."""


async def deliver(decision: Decision, to: Connection, faults: Faults) -> bool:
    """Send a decision to its client.

    Args:
        decision: What, and how.
        to: The client's connection.
        faults: How long a hang and a slow answer take.

    Returns:
        Whether the client was there to the last byte of a whole HTTP answer. Otherwise the connection ends
        with it: by itself, where it was not reset.
    """
    if not await to.pause(decision.latency):
        return False
    match decision.manner:
        case "reset":
            to.reset()
        case "hang":
            await to.pause(faults.hang_seconds)
        case "cut":
            await _half(decision, to)
        case "drip":
            return await _dripped(decision, to, faults.slow_seconds)
        case "late":
            return await to.pause(faults.slow_seconds) and await _whole(decision, to)
        case "whole":
            return await _whole(decision, to)
    return False


async def _whole(decision: Decision, to: Connection) -> bool:
    _begin(decision, to)
    return await to.send(decision.parts) and await to.finish()


async def _half(decision: Decision, to: Connection) -> None:
    """The head, which promises all of it, and half of the body: the end of the connection follows."""
    _begin(decision, to)
    body = b"".join(decision.parts)
    await to.send([body[: len(body) // 2]])


async def _dripped(decision: Decision, to: Connection, seconds: float) -> bool:
    _begin(decision, to)
    body = b"".join(decision.parts)
    size = max(1, -(-len(body) // _DROPS))
    for start in range(0, len(body), size):
        if not (await to.send([body[start : start + size]]) and await to.pause(seconds / _DROPS)):
            return False
    return await to.finish()


def _begin(decision: Decision, to: Connection) -> None:
    headers = list(decision.headers)
    if decision.stream:
        headers.append(("cache-control", "no-cache"))
    else:
        headers.append(("content-length", str(sum(map(len, decision.parts)))))
    to.begin(decision.status, headers)
