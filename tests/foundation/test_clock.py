"""Time as an argument."""

import time

from skill_fleet.foundation.clock import SYSTEM_CLOCK, iso


def test_the_system_clock_is_the_machines() -> None:
    assert abs(SYSTEM_CLOCK.now() - time.time()) < 1
    before = SYSTEM_CLOCK.monotonic()
    SYSTEM_CLOCK.sleep(0.01)
    assert SYSTEM_CLOCK.monotonic() - before >= 0.009


def test_a_time_for_people_is_utc_to_the_millisecond() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000+00:00"
    assert iso(1_800_000_000.1239) == "2027-01-15T08:00:00.123+00:00"
