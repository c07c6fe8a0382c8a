"""The turnstile of a search: so many places, first come, first served, and nobody waits for himself."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from skill_fleet.optimization.prefetch import turnstile
from skill_fleet.optimization.prefetch.turnstile import Turnstile


def of(threads: int) -> tuple[Turnstile, list[int]]:
    paid: list[int] = []
    return Turnstile(threads, lambda: paid.append(threading.get_ident())), paid


def test_a_sync_call_does_not_wait_for_ever_for_tasks_of_the_loop_it_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turnstile, "_LOOP_SECONDS", 0.05)
    places, paid = of(1)

    async def blocked() -> None:
        await places.aacquire()
        places.acquire()
        assert len(paid) == 2

    asyncio.run(asyncio.wait_for(blocked(), 30.0))
    assert places.free == -1
    places.release()
    assert places.free == 0, "it went without a place: the next one has to wait for both"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(places.acquire)
        assert not waiting.done()
        places.release()
        waiting.result(30.0)
    assert (places.free, len(paid)) == (0, 3)


def test_in_a_loop_it_gets_the_place_that_another_thread_gives_back() -> None:
    places, paid = of(1)
    places.acquire()

    async def waits() -> None:
        later = threading.Timer(0.1, places.release)
        later.start()
        places.acquire()
        later.join()

    asyncio.run(asyncio.wait_for(waits(), 30.0))
    assert (places.free, len(paid)) == (0, 2)


def test_a_thread_without_a_loop_waits_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "_LOOP_SECONDS", 0.01)
    places, paid = of(1)
    places.acquire()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(places.acquire)
        with pytest.raises(TimeoutError):
            waiting.result(0.3)
        places.release()
        waiting.result(30.0)
    assert (places.free, len(paid)) == (0, 2)
