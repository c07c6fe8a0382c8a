"""`benchmarks/throttle.py` says so when a call is lost, too many are turned away, or nothing is limited."""

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "throttle.py"


@pytest.fixture(scope="module")
def throttle() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("throttle_benchmark", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize(
    ("changed", "law"),
    [
        ({"lost": 1}, "1 examples are lost"),
        ({"after": 0.02}, "2.0% turned away after the first second"),
        ({"wall": 33.1}, "33.1 s, where 30.0 are enough"),
        ({"wall": 26.0}, "26.0 s, faster than the limit lets anybody through"),
    ],
)
def test_each_law_can_break(throttle: Any, changed: dict[str, float], law: str) -> None:
    good = throttle.Row(0, 307, 0.35, 0.003, 30.4, 30.0, 1.0)
    assert good.broken_laws() == []
    assert replace(good, wall=26.2).broken_laws() == [], "the first second's worth may come at once"
    assert replace(good, **changed).broken_laws() == [law]


@pytest.mark.parametrize(("rate", "more", "unlimited"), [(20, (), False), (5, ("--rps", "100000"), True)])
def test_a_server_without_its_limit_is_noticed(
    throttle: Any,
    rate: int,
    more: tuple[str, ...],
    unlimited: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(throttle.SAYS, "headers", (*throttle.SAYS["headers"], *more))
    words = f"--threads 16 --rps {rate} --items 60 --latency 0.01 --says headers --no-stock".split()
    code = throttle.main(words)
    said = capsys.readouterr().err
    assert ("faster than the limit" in said) is unlimited, "however busy the machine: it only makes it slower"
    assert "are lost" not in said
    assert code == int("* headers, 16 threads: " in said)
