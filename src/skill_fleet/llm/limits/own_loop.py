"""A sync call in the thread of an event loop: the loop stands still until it is over.

So do the loop's tasks, and with them the calls they have under way. Whoever waits in that thread until one of
these ends waits for ever.
"""

import asyncio

from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.limits.admission import Admission
from skill_fleet.llm.limits.callers import Place

STREAM_SECONDS = 10.0
"""For so long a stream is waited for: one that its reader has left alone gives its leave back before."""


def loop_of_this_thread() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs here, and would stand still; None where there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def stands_still(core: Admission, place: Place, loop: object, *, streams: bool) -> bool:
    """Whether nobody but tasks of a loop can end what a caller waits for.

    Args:
        core: The account.
        place: The caller, in the thread of the loop.
        loop: Which.
        streams: Whether calls whose answer has begun to come count, too.
    """
    own = [call for call in core.under_way if call.loop is loop and (streams or not call.begun)]
    if core.breaker.state == "half_open" and any(call.probe for call in own):
        return True
    crowd, quota = core.rate.crowd.most, place.quota
    if crowd is not None and len(own) == core.in_flight >= crowd:
        return True
    return quota.in_flight is not None and sum(call.model == quota.model for call in own) >= quota.in_flight


def refusal(model: str) -> ProviderError:
    """Why such a call is not made."""
    return ProviderError(
        f"A call to {model} would wait for ever: it blocks the event loop of the calls that it waits for.",
        hint="Await it (`acall`), or make it in a thread of its own (`asyncio.to_thread`).",
        code="blocked_loop",
    )
