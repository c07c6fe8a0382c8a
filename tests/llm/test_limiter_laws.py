"""Laws of the limiter, in simulated time: every kind of server, up to 256 clients, told or not."""

import bisect
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limiter_simulation import (
    Crowded,
    Endless,
    FixedWindow,
    Noise,
    Outcome,
    Server,
    Simulation,
    SlidingWindow,
    TokenBucket,
)
from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.failures import Failure
from skill_fleet.llm.limits.admission import Admission
from skill_fleet.llm.limits.callers import Place, Quota
from skill_fleet.llm.limits.pace import LATE, TokenWindow
from skill_fleet.llm.limits.rate_headers import Left

ANY = Quota("m")
SLOW = ProviderError("Slow down.")
SERVERS = {"fixed": FixedWindow, "sliding": SlidingWindow, "bucket": TokenBucket}
SAID = [("exact", True), ("exact", False), ("whole", True), ("whole", False), ("none", True), ("none", False)]


class Anything:
    """A server without limits."""

    def asks(self, now: float, tokens: int) -> float | None:
        return None

    def left(self, now: float) -> Left:
        return Left(10**9, 0.0)


def most_within(times: list[float], seconds: float) -> int:
    """Most of the times in any half-open span of so many seconds."""
    ordered = sorted(times)
    return max((bisect.bisect_left(ordered, at + seconds) - i for i, at in enumerate(ordered)), default=0)


def steadily(rng: random.Random) -> float:
    return rng.lognormvariate(-1.6, 0.5)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("rate", [2, 10, 50])
@pytest.mark.parametrize("clients", [1, 16, 64, 256])
def test_nothing_is_learned_too_late_or_too_low(server: str, rate: int, clients: int) -> None:
    items = max(150 if rate == 2 else 300, 30 * rate if clients in {16, 64} else 0, 2 * clients)
    for retry_after, headers in SAID if clients in {16, 64} else SAID[1::2]:
        found = Simulation(
            SERVERS[server](rate), clients=clients, items=items, retry_after=retry_after, headers=headers
        ).run()
        assert len(found.answered) == items
        # 16 clients at 0.23 s a call are asked for 69 calls a second at most; one client for 4.
        own = items * 0.24 / clients
        assert found.wall <= 1.12 * max(items / rate, own), (retry_after, headers)
        assert found.rejected_share() <= 0.02, (retry_after, headers)
        last_to_go = max(found.waits)
        assert last_to_go <= 2.5 * clients / rate + 5, (retry_after, headers)


@pytest.mark.parametrize("clients", [1, 16, 64])
def test_a_limit_of_tokens_is_kept_to_as_well(clients: int) -> None:
    server = TokenBucket(1_000, by_tokens=True)
    found = Simulation(server, clients=clients, items=300, tokens=100, retry_after="exact").run()
    assert found.wall <= 1.12 * max(30, 300 * 0.24 / clients)
    assert found.rejected_share() <= 0.02


def test_a_limit_by_the_minute_is_not_taken_for_one_by_the_second() -> None:
    found = Simulation(FixedWindow(10, 60.0), clients=64, items=1_800, retry_after="exact").run()
    assert found.wall <= 1.12 * 180
    assert len(found.rejections) <= 64 + 0.02 * 1_800


def test_calls_at_once_are_told_from_a_rate() -> None:
    server = Crowded(4)
    made = Simulation(
        server, clients=32, items=400, retry_after="none", latency=lambda rng: rng.uniform(4, 6)
    )
    found = made.run()
    assert made.core.rate.crowd.most is not None
    assert 3 <= made.core.rate.crowd.most <= 6
    assert found.wall <= 1.25 * 400 * 5 / 4
    assert found.rejected_share(60.0) <= 0.04


def test_the_limit_of_a_rate_is_not_taken_for_calls_at_once() -> None:
    made = Simulation(SlidingWindow(10), clients=64, items=3_000, retry_after="whole", latency=steadily)
    made.run()
    assert made.core.rate.crowd.most is None


@settings(max_examples=60, deadline=None)
@given(
    rpm=st.integers(1, 3_000),
    clients=st.integers(1, 64),
    items=st.integers(1, 200),
    in_flight=st.none() | st.integers(1, 8),
    seed=st.integers(0, 999),
)
def test_no_window_holds_more_than_was_configured(
    rpm: int, clients: int, items: int, in_flight: int | None, seed: int
) -> None:
    quota = Quota("m", rpm=rpm, in_flight=in_flight)
    made = Simulation(Anything(), clients=clients, items=items, quota=quota, seed=seed)
    gone = admissions(made)
    made.run()
    assert len(gone) == items
    assert most_within(gone, 60.0) <= rpm
    for seconds in (0.1, 1.0, 10.0):
        assert most_within(gone, seconds) <= math.ceil((seconds + LATE) * rpm / 60) + 1
    if in_flight is None:
        assert max(gone) - min(gone) <= 1.05 * (items - 1) * 60.1 / rpm + items * steady_bound(clients)


def steady_bound(clients: int) -> float:
    return 0.7 / clients


def admissions(made: Simulation) -> list[float]:
    """The times at which calls are let go, as they come."""
    gone: list[float] = []
    take = made.core.rate.learned.take

    def noted(call: object) -> None:
        gone.append(call.at)
        take(call)

    made.core.rate.learned.take = noted
    return gone


@settings(max_examples=40, deadline=None)
@given(st.integers(200, 5_000), st.lists(st.integers(1, 400), min_size=1, max_size=80), st.integers(1, 20))
def test_no_minute_holds_more_tokens_than_were_configured(tpm: int, sizes: list[int], clients: int) -> None:
    core, now, gone = Admission(60.0, 120.0, random.Random(0)), 0.0, []
    pending = list(sizes)
    waiting: list[Place] = []
    while pending or waiting:
        while pending and len(waiting) < clients:
            place = Place(Quota("m", tpm=tpm), pending.pop(), lambda: None)
            waiting.append(place)
            core.enter(place, now)
        for place in [one for one in waiting if one.call is not None]:
            waiting.remove(place)
            gone.append((place.call.at, place.tokens))
            core.answered(place.call, place.tokens, now)
        if waiting and not any(place.call for place in waiting):
            now = min(place.due for place in waiting)
            core.serve(now)
    for at, tokens in gone:
        within = sum(size for when, size in gone if at <= when < at + 60.0)
        assert within <= max(tpm, tokens)


def test_tokens_are_corrected_when_they_are_known() -> None:
    window = TokenWindow()
    first = window.take(0.0, 900)
    assert window.wait(1.0, 200, 1_000) == 59.0
    window.correct(first, 100)
    assert window.wait(1.0, 200, 1_000) == 0.0
    assert window.wait(60.0, 1_000, 1_000) == 0.0
    window.correct(first, 10_000)
    assert window.wait(61.0, 1_000, 1_000) == 0.0


def test_a_call_larger_than_the_limit_goes_alone() -> None:
    window = TokenWindow()
    assert window.wait(0.0, 5_000, 1_000) == 0.0
    window.take(0.0, 5_000)
    assert window.wait(1.0, 1, 1_000) == 59.0


def test_two_runs_share_what_there_is() -> None:
    made = Simulation(SlidingWindow(10), clients=32, items=600, retry_after="exact")
    found = made.run()
    halves = [sum(found.by_client[client] for client in range(start, 32, 2)) for start in (0, 1)]
    assert abs(halves[0] - halves[1]) <= 0.1 * 300


def test_a_run_of_one_thread_waits_no_longer_than_the_queue_is() -> None:
    made = Simulation(SlidingWindow(10), clients=65, items=650, retry_after="exact")
    found: Outcome = made.run()
    assert found.by_client[64] >= 7


def test_after_a_pause_calls_go_one_by_one() -> None:
    core = Admission(60.0, 120.0, random.Random(0))
    first = [asked(core, 0.0) for _ in range(20)]
    for place in first[10:]:
        core.failed(place.call, Failure("rate_limit", "retry", sent=False, retry_after=1.0), SLOW, 0.05)
    for place in first[:10]:
        core.answered(place.call, 1, 0.3)
    waiting = [asked(core, 0.5) for _ in range(20)]
    assert not any(place.call for place in waiting)
    core.serve(core.rate.paused_until)
    assert sum(place.call is not None for place in waiting) == 1


def test_tickets_that_are_dropped_leave_no_trace() -> None:
    core = Admission(60.0, 120.0, random.Random(0))
    quota = Quota("m", in_flight=2)
    waiting = [asked(core, 0.0, quota) for _ in range(50)]
    for number in range(50):
        core.dropped(waiting[number].call, 0.0)
    assert core.in_flight == core.waiting == 0


def test_a_caller_who_leaves_makes_room_for_the_next() -> None:
    core = Admission(60.0, 120.0, random.Random(0))
    under_way, second, third = (asked(core, 0.0, Quota("m", in_flight=1)) for _ in range(3))
    core.leave(second, 0.0)
    core.answered(under_way.call, 1, 0.1)
    assert (second.call, third.call is not None) == (None, True)


def test_who_came_first_goes_first_whatever_the_models() -> None:
    core = Admission(60.0, 120.0, random.Random(0))
    first = asked(core, 0.0, Quota("b"))
    asked(core, 0.0, Quota("a"))  # so that either model comes first in the books
    core.failed(first.call, Failure("rate_limit", "retry", sent=False, retry_after=5.0), SLOW, 0.0)
    waiting = [asked(core, 1.0 + number / 10, Quota("ab"[number % 2])) for number in range(4)]
    gone: list[Place] = []
    while len(gone) < 4:
        core.serve(min(place.due for place in waiting if place not in gone))
        gone += [place for place in waiting if place.call is not None and place not in gone]
    assert gone == waiting


def test_a_model_at_its_limit_does_not_hold_another() -> None:
    core = Admission(60.0, 120.0, random.Random(0))
    asked(core, 0.0, Quota("slow", rpm=1))
    held = asked(core, 0.0, Quota("slow", rpm=1))
    assert held.call is None
    assert asked(core, 0.0, Quota("fast")).call is not None


def asked(core: Admission, now: float, quota: Quota = ANY) -> Place:
    place = Place(quota, 1, lambda: None)
    core.enter(place, now)
    return place


def test_servers_of_the_simulation_are_what_they_are_called() -> None:
    servers: list[Server] = [FixedWindow(10), SlidingWindow(10), TokenBucket(10)]
    for server in servers:
        assert sum(server.asks(0.5, 1) is None for _ in range(30)) == 10
    assert servers[0].asks(1.0, 1) is None
    assert servers[1].asks(1.4, 1) == pytest.approx(0.1)
    assert servers[2].asks(0.6, 1) is None


@pytest.mark.parametrize("says", [("whole", True), ("none", False)])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.25])
@pytest.mark.parametrize(("server", "cap"), [(Endless, None), (lambda: TokenBucket(60), 60)])
def test_refusals_that_have_nothing_to_do_with_the_pace_do_not_set_it(
    server: Callable[[], Server], cap: int | None, share: float, says: tuple[str, bool]
) -> None:
    made = struck(server(), Noise(share), says)
    best = struck(Endless(), Noise(share), says, limited=False).wall
    possible = max(best, 0.0 if cap is None else 1_500 / (cap * (1 - share)))
    assert made.wall <= possible / 0.6 + 15.0  # to find it out takes seconds


@pytest.mark.parametrize("share", [0.05, 0.1, 0.25])
def test_errors_of_the_server_at_random_cost_what_they_cost(share: float) -> None:
    noise = Noise(share, "server")
    slow = {"clients": 64, "latency": lambda rng: rng.uniform(1.0, 3.0)}  # errors come sooner than answers
    made, best = (
        struck(Endless(), noise, ("none", False), limited=limited, **slow) for limited in (True, False)
    )
    assert made.wall <= best.wall / 0.8 + 5.0


def struck(
    server: Server, noise: Noise, says: tuple[str, bool], *, limited: bool = True, **more: Any
) -> Outcome:
    retry_after, headers = says
    return Simulation(
        server,
        clients=more.pop("clients", 16),
        items=1_500,
        retry_after=retry_after,
        headers=headers,
        noise=noise,
        limited=limited,
        **more,
    ).run()


def test_one_retry_after_of_a_second_is_one_second() -> None:
    core = Admission(60.0, 120.0, random.Random(0))
    under_way = [asked(core, 0.0) for _ in range(8)]
    for place in under_way[1:]:
        core.answered(place.call, 1, 0.1)
    core.failed(under_way[0].call, Failure("rate_limit", "retry", sent=False, retry_after=1.0), SLOW, 0.2)
    assert core.rate.paused_until <= 1.31


def test_a_refusal_that_says_that_there_is_room_holds_nobody_up() -> None:
    core = Admission(60.0, 120.0, random.Random(0))
    place = asked(core, 0.0)
    core.announced("m", {"requests": Left(59, 1.0)}, place.call, 0.1)
    alone = core.failed(place.call, Failure("rate_limit", "retry", sent=False, retry_after=1.0), SLOW, 0.1)
    assert alone
    assert core.rate.learned.rate is None
    assert asked(core, 0.1).call is not None


def test_a_window_that_still_holds_the_first_herd_says_nothing_of_the_pace() -> None:
    """The first call goes alone, the others when it is answered: its place is free long before theirs."""
    core = Admission(60.0, 120.0, random.Random(0))
    core.answered(asked(core, 0.0).call, 1, 0.26)
    herd = [asked(core, 0.26) for _ in range(16)]
    for place in herd[9:]:
        core.failed(place.call, Failure("rate_limit", "retry", sent=False, retry_after=0.74), SLOW, 0.28)
    waiting = [asked(core, 0.3) for _ in range(2)]
    for place in waiting:
        core.serve(place.due)
    rate = core.rate.learned.rate
    second = waiting[1].call
    core.failed(second, Failure("rate_limit", "retry", sent=False, retry_after=0.03), SLOW, second.at + 0.01)
    assert core.rate.learned.rate == rate
    assert core.rate.paused_until >= second.at + 0.03


@pytest.mark.parametrize("clients", [16, 64])
def test_what_a_bucket_had_saved_up_is_not_taken_for_a_rate(clients: int) -> None:
    for seed in range(3):
        server = TokenBucket(10, 100)
        found = Simulation(server, clients=clients, items=900, retry_after="exact", seed=seed).run()
        assert found.wall <= 1.12 * 80
        assert len(found.rejections) <= 50
