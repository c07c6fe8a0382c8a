"""The rollout, as the `seed` of a request.

DSPy keeps `rollout_id` to itself. A server that takes a seed can give different rollouts different answers,
and the same one again; the number is a function of what the call is part of, and of nothing else.
"""

import hashlib
from dataclasses import replace

from dspy.lm15 import Request

from skill_fleet.llm.call_context import current_call


def rollout_seed(rollout: int | None, candidate: int) -> int | None:
    """A seed from 0 to 2**31 - 1; None for the first candidate of a call that is no rollout."""
    if rollout is None and candidate == 0:
        return None
    drawn = hashlib.sha256(f"{rollout}/{candidate}".encode()).digest()
    return int.from_bytes(drawn[:4]) & 0x7FFFFFFF


def seeded(request: Request) -> Request:
    """The request of the current call, with its seed; one that has a seed of its own keeps it."""
    call = current_call()
    seed = rollout_seed(call.rollout, call.candidate)
    if seed is None or request.config.seed is not None:
        return request
    return replace(request, config=replace(request.config, seed=seed))
