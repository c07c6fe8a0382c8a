"""Junk at the port is told of, not repeated."""

import logging

from api_frame import HandClock

from skill_fleet.api.junk import EVERY_SECONDS, JunkFilter


def written(clock: HandClock, said: list[str]) -> logging.Logger:
    class Keeps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger = logging.getLogger("junk.test")
    logger.handlers, logger.filters = [], []
    logger.addFilter(JunkFilter(clock))
    logger.addHandler(Keeps())
    return logger


def test_one_line_a_minute_counts_them_and_everything_else_comes_through(hand_clock: HandClock) -> None:
    said: list[str] = []
    logger = written(hand_clock, said)
    for _ in range(1000):
        logger.warning("Invalid HTTP request received.")
    logger.warning("Something else: %s", "this")
    hand_clock.sleep(EVERY_SECONDS)
    logger.warning("Invalid HTTP request received.")
    assert said == [
        "What came was not HTTP: 1 since this was last said.",
        "Something else: this",
        "What came was not HTTP: 1000 since this was last said.",
    ]
