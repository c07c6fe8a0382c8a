"""One text for one value."""

import json
import subprocess
import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.foundation.canonical import canonical_json, digest

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def turned(value: Any) -> Any:
    """The same value, its keys in another order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(list(value))}
    return [turned(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=40, deadline=None)
@given(values)
def test_the_order_of_keys_is_nothing(value: Any) -> None:
    assert canonical_json(value) == canonical_json(turned(value))
    assert digest(value) == digest(turned(value))


@settings(max_examples=40, deadline=None)
@given(values, values)
def test_other_values_have_other_texts(one: Any, other: Any) -> None:
    if json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True):
        assert canonical_json(one) != canonical_json(other)
        assert digest(one) != digest(other)


def test_the_text_is_as_it_was_when_journals_were_written() -> None:
    assert canonical_json({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert len(digest("half \ud83d")) == 64


def test_a_digest_does_not_hang_on_the_process() -> None:
    code = (
        "from skill_fleet.foundation.canonical import digest\n"
        "print(digest({'a': ['x', 1.5], 'b': {'c': None}}))"
    )
    done = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    assert set(done) == {digest({"b": {"c": None}, "a": ["x", 1.5]})}
