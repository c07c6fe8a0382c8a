"""Time as an argument."""

import re
import time

from clocks import FakeClock
from skill_fleet.foundation.clock import SYSTEM_CLOCK, iso, timed_name


def test_the_system_clock_is_the_machines() -> None:
    assert abs(SYSTEM_CLOCK.now() - time.time()) < 30
    before = SYSTEM_CLOCK.monotonic()
    SYSTEM_CLOCK.sleep(0.01)
    assert SYSTEM_CLOCK.monotonic() - before >= 0.009


def test_a_time_for_people_is_utc_to_the_millisecond() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000+00:00"
    assert iso(1_800_000_000.1239) == "2027-01-15T08:00:00.123+00:00"


def test_a_timed_name_sorts_by_the_millisecond_it_was_made_in() -> None:
    clock = FakeClock(1_800_000_000.9)
    names = []
    for _ in range(300):
        names.append(timed_name(clock, 6))
        clock.sleep(0.002)
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"20270115-08000\d-[0-9a-f]{6}", name) for name in names)
