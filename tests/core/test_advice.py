"""Advice after an attempt: what of its question must not depend on threads."""

import inspect
import threading
import time

from skill_fleet.core.dspy import advice


def test_code_is_read_by_one_thread_at_a_time_and_once(monkeypatch):
    """Python reads source through a cache that threads may not share: one once found half an entry.

    A prompt differed then, or an example failed, in one of many threads.
    """
    inside, most, reads = [0], [0], []

    def slow(of):
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        reads.append(of)
        time.sleep(0.01)
        inside[0] -= 1
        return "def code(): ..."

    monkeypatch.setattr(inspect, "getsource", slow)

    def code() -> None: ...

    seen = []
    threads = [threading.Thread(target=lambda: seen.append(advice._source(code))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["def code(): ..."] * 8
    assert (most[0], reads) == (1, [code])


def test_what_fails_once_is_read_again(monkeypatch):
    tries = []

    def half_an_entry_at_first(of):
        tries.append(of)
        if len(tries) < 3:
            raise KeyError("half an entry")
        return "def code(): ..."

    monkeypatch.setattr(inspect, "getsource", half_an_entry_at_first)

    def code() -> None: ...

    assert advice._source(code) == "def code(): ..."
    assert tries == [code] * 3


def test_what_has_no_code_is_told_by_its_name():
    assert advice._source(len) == "len"
