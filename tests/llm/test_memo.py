"""What a process remembers stays within its bounds and is never another's."""

import random
import threading

from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.llm.journal.memo import Memo


def test_the_least_recently_used_goes_first() -> None:
    memo: Memo[str, int] = Memo(entries=2, size=100)
    memo.put("a", 1, 1)
    memo.put("b", 2, 1)
    assert memo.get("a") == 1
    memo.put("c", 3, 1)
    assert [memo.get(key) for key in "abc"] == [1, None, 3]


def test_bytes_are_bounded_and_given_back() -> None:
    memo: Memo[str, int] = Memo(entries=100, size=10)
    memo.put("a", 1, 6)
    memo.put("b", 2, 6)
    assert [memo.get(key) for key in "ab"] == [None, 2]
    memo.put("huge", 3, 11)
    assert len(memo) == 0, "what does not fit is not kept"
    memo.put("b", 2, 10)
    memo.put("b", 4, 10)
    assert memo.get("b") == 4, "the same key again takes no second room"
    memo.forget("b")
    memo.forget("b")
    memo.put("c", 5, 10)
    assert memo.get("c") == 5
    memo.clear()
    assert memo.get("c") is None
    memo.put("c", 6, 10)
    assert memo.get("c") == 6


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 40)), max_size=80), st.integers(1, 6))
def test_never_more_than_its_bounds_and_never_another_value(puts: list[tuple[int, int]], most: int) -> None:
    memo: Memo[int, tuple[int, int]] = Memo(entries=most, size=60)
    last: dict[int, tuple[int, int]] = {}
    for key, size in puts:
        memo.put(key, (key, size), size)
        last[key] = (key, size)
        kept = [found for key in last if (found := memo.get(key)) is not None]
        assert len(memo) == len(kept) <= most
        assert sum(size for _, size in kept) <= 60
        assert all(found == last[found[0]] for found in kept)


def test_threads_do_not_break_it() -> None:
    memo: Memo[int, int] = Memo(entries=20, size=10**6)
    wrong: list[int] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(2000):
            key = chance.randrange(40)
            found = memo.get(key)
            if found not in {None, key * 7}:
                wrong.append(key)
            memo.put(key, key * 7, 1)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(memo) == 20
