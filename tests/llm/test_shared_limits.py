"""All runs of a process that use one account share its limiter; two keys are two accounts."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from skill_fleet.config.settings import PHASES, Calls, ModelSpec
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.llm.budget import Account, Gate, Limits
from skill_fleet.llm.calls.engine import Line, Retry
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.journal import Journal
from skill_fleet.llm.limits import breaker
from skill_fleet.llm.limits.limiters import Limiters
from skill_fleet.llm.models import Connections, PhaseModels, build_lms
from skill_fleet.simulator import Faults, SimulatorSettings, running
from skill_fleet.simulator import Limits as ServerLimits

AT_ONCE = 3
# Seconds for eight calls; they take one.
_LONGEST = 20.0


@pytest.fixture
def limiters() -> Limiters:
    return Limiters()


def ask_all(
    place: Path, url: str, limiters: Limiters, keys: tuple[str, ...], **quota: Any
) -> list[dict[Any, Any]]:
    """A run for each key, at the same time: 12 calls of each, by all phases."""
    spec = ModelSpec(
        model="openai/offline/rules-v1", api_base=url, api_key_env="K", max_tokens=400, timeout=20.0, **quota
    )
    runs = []
    for number, key in enumerate(keys):
        journal = Journal(place / f"l{number}", place / f"r{number}")
        calls = Calls(first_pause=0.05)
        connections = Connections.of({"K": key}, calls=calls, limiters=limiters)
        line = Line(journal, "run", SYSTEM_CLOCK, Retry.of(calls))
        models = PhaseModels(dict.fromkeys(PHASES, "m"), dict.fromkeys(PHASES, spec))
        runs.append(build_lms(models, line, Gate(Account(Limits(), SYSTEM_CLOCK)), connections))
    with ThreadPoolExecutor(24) as pool:
        list(
            pool.map(
                lambda number: runs[number % len(runs)][PHASES[number % 4]](f"Say {number}."),
                range(12 * len(runs)),
            )
        )
    for lms in runs:
        lms["judge"].engine.line.journal.close()
    return runs


@pytest.mark.parametrize(("keys", "most"), [(("one", "one"), AT_ONCE), (("one", "two"), 2 * AT_ONCE)])
def test_what_is_allowed_at_once_is_shared_by_all_phases_and_runs_of_a_key(
    tmp_path: Path, limiters: Limiters, keys: tuple[str, ...], most: int
) -> None:
    with running(SimulatorSettings(latency=0.2, latency_sigma=0.0)) as server:
        ask_all(tmp_path, server.url, limiters, keys, in_flight=AT_ONCE)
        totals = server.totals()
    assert totals.answered == 24
    assert most - AT_ONCE < totals.most_in_flight <= most


def test_one_that_is_turned_away_holds_back_the_other_run_too(tmp_path: Path, limiters: Limiters) -> None:
    """Two runs against a bound that neither knows: found once, kept by both, nothing lost."""
    with running(SimulatorSettings(limits=ServerLimits(rps=20, burst=4), latency=0.01)) as server:
        runs = ask_all(tmp_path, server.url, limiters, ("one", "one"))
        totals = server.totals()
    assert totals.answered == 24
    first, second = (lms["judge"].engine.limiter for lms in runs)
    assert first is second
    state = first.state()
    assert state.rejected == totals.rejected
    assert state.admitted == totals.requests
    assert totals.rejected <= 2 * 24, (
        "at worst those that were under way, not each run for itself again and again"
    )


def test_accounts_are_told_apart_by_address_and_key_and_no_key_is_kept(limiters: Limiters) -> None:
    def limiter(key: str, **changes: Any) -> Any:
        spec = ModelSpec(model="openai/m", api_key_env="K", **changes)
        return Connections.of({"K": key}, limiters=limiters).limiter(spec)

    assert limiter("secret-one") is limiter("secret-one", max_tokens=5)
    assert limiter("secret-one") is not limiter("secret-two")
    assert limiter("secret-one") is not limiter("secret-one", api_base="http://127.0.0.1:9/v1")
    assert "secret" not in repr(vars(limiters))
    offline = Connections.of({}, limiters=limiters)
    assert offline.limiter(ModelSpec(model="offline/rules-v1")) is None
    assert offline.limiter(ModelSpec(model="offline/rules-v1", in_flight=2)) is not None


def test_two_models_of_one_command_s_login_are_one_account() -> None:
    connections = Connections.of({}, limiters=Limiters())

    def limiter(model: str, command: tuple[str, ...] | None = None) -> Any:
        return connections.limiter(ModelSpec(model=model, command=command))

    assert limiter("command/claude/opus") is limiter("command/claude/haiku")
    assert limiter("command/claude/opus") is not limiter("command/codex")
    assert limiter("command/one", ("ask", "a")) is limiter("command/two", ("ask", "a"))
    assert limiter("command/one", ("ask", "a")) is not limiter("command/one", ("ask", "b"))


def test_true_connections_share_the_limiters_of_the_process_and_made_ones_do_not() -> None:
    spec = ModelSpec(model="openai/m", api_base="http://127.0.0.1:9/v1")
    assert Connections.of({}).limiter(spec) is Connections.of({}).limiter(spec)
    made = [Connections.of({}, lambda *_: object()) for _ in range(2)]  # type: ignore[arg-type,return-value]
    assert made[0].limiter(spec) is made[0].limiter(spec)
    assert made[0].limiter(spec) is not made[1].limiter(spec)


def eight_calls(place: Path, url: str, limiters: Limiters, name: str) -> list[Any]:
    """The answers of a run of its own, by as many threads, with a journal of its own."""
    spec = ModelSpec(model="openai/offline/rules-v1", api_base=url, max_tokens=400, timeout=20.0)
    journal = Journal(place / f"l{name}", place / f"r{name}")
    line = Line(journal, name, SYSTEM_CLOCK, Retry())
    models = PhaseModels(dict.fromkeys(PHASES, "m"), dict.fromkeys(PHASES, spec))
    connections = Connections.of({}, limiters=limiters)
    gate = Gate(Account(Limits(), SYSTEM_CLOCK))
    late = threading.Timer(_LONGEST, gate.interrupt)  # whoever waits for ever fails
    late.start()
    try:
        lms = build_lms(models, line, gate, connections)
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda number: lms["judge"](f"Say {number}."), range(8)))
    finally:
        late.cancel()
        late.join()
        journal.close()


def test_a_new_run_asks_once_where_another_was_refused_a_moment_ago(
    tmp_path: Path, limiters: Limiters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "COOL", 90.0)
    with running(SimulatorSettings(faults=Faults({"auth": 1.0}))) as server:
        with pytest.raises(Halt, match=r"\(auth\)"):
            eight_calls(tmp_path, server.url, limiters, "first")
        with pytest.raises(Halt, match=r"\(auth\)"):
            eight_calls(tmp_path, server.url, limiters, "still refused")
        assert server.totals().requests == 2, "each run asks once, with 8 threads"
        server.change(faults={})
        began = SYSTEM_CLOCK.monotonic()
        assert len(eight_calls(tmp_path, server.url, limiters, "mended")) == 8
        assert SYSTEM_CLOCK.monotonic() - began < breaker.COOL / 2
    assert server.totals().answered == 8
