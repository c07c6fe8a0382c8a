"""From settings to models: phases, overrides, caps that could not hold, connections."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from skill_fleet.config.load import Loaded, load
from skill_fleet.config.settings import PHASES, ModelSpec, PriceOverride
from skill_fleet.foundation.errors import ConfigError, KeyMissing, UnknownName, UsageError
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.models import Connections, build_lm, build_lms, check_limits, inner_of, phase_models
from skill_fleet.llm.testing import ScriptedModel

CONFIG = """
models:
  default: target
  registry:
    target: { model: openai/gpt-4o-mini, max_tokens: 500 }
    fast: { model: openai/fast, temperature: 0.2, price: { input_per_million: 1, output_per_million: 2 } }
    big: { model: anthropic/big, api_key_env: BIG_KEY }
phases: { profiling: fast, optimization: big }
"""


@pytest.fixture
def loaded(workspace: Path, tmp_path: Path) -> Loaded:
    (workspace / "config" / "config.yaml").write_text(CONFIG)
    return load(workspace, environ={"XDG_CONFIG_HOME": str(tmp_path)})


def test_a_phase_uses_its_model_or_the_default(loaded: Loaded) -> None:
    assert phase_models(loaded).names == {
        "profiling": "fast",
        "optimization": "big",
        "evaluation": "target",
        "judge": "target",
    }


def test_an_override_goes_first_and_a_phase_without_a_model_follows_the_target(loaded: Loaded) -> None:
    models = phase_models(loaded, {"evaluation": "openai/other", "profiling": None, "optimization": "target"})
    assert models.names == {
        "profiling": "fast",
        "optimization": "target",
        "evaluation": "openai/other",
        "judge": "openai/other",
    }
    assert models.specs["judge"] == ModelSpec(model="openai/other")


def test_an_unknown_override_is_named_with_its_nearest(loaded: Loaded) -> None:
    with pytest.raises(UnknownName, match="'targte'") as caught:
        phase_models(loaded, {"evaluation": "targte"})
    assert caught.value.hint == "Did you mean 'target'?"


def test_simulated_is_told_when_any_phase_rests_on_the_simulator(loaded: Loaded) -> None:
    assert not phase_models(loaded).simulated
    assert phase_models(loaded, {"judge": "offline"}).simulated


def test_the_identity_holds_what_decides_answers_and_no_secret(loaded: Loaded) -> None:
    one = phase_models(loaded).identity()
    assert one["profiling"] == {
        "model": "openai/fast",
        "api_base": None,
        "temperature": 0.2,
        "max_tokens": None,
    }
    assert "BIG_KEY" not in str(one)
    assert one != phase_models(loaded, {"judge": "fast"}).identity()


def test_a_cap_that_could_not_hold_is_refused(loaded: Loaded) -> None:
    models = phase_models(loaded)
    check_limits(models, Limits(usd=1.0, tokens=10), ("evaluation",))
    check_limits(models, Limits(calls=1, minutes=1.0))
    with pytest.raises(UsageError, match=r"price of anthropic/big is unknown"):
        check_limits(models, Limits(usd=1.0), ("optimization",))
    for limits in (Limits(usd=1.0), Limits(tokens=100)):
        with pytest.raises(UsageError, match=r"max_tokens for openai/fast"):
            check_limits(models, limits, ("profiling",))


def test_the_offline_model_takes_any_cap(loaded: Loaded) -> None:
    check_limits(phase_models(loaded, dict.fromkeys(PHASES, "offline")), Limits(1.0, 1, 1, 1.0))


def test_one_connection_a_model_for_all_phases_and_stages(loaded: Loaded, rig: Any) -> None:
    made = rig()
    opened: list[str] = []

    def factory(spec: ModelSpec, environ: Mapping[str, str]) -> Any:
        opened.append(spec.model)
        return ScriptedModel()

    connections = Connections.of({}, factory)
    first = build_lms(phase_models(loaded), made.line, made.gate, connections)
    second = build_lms(phase_models(loaded), made.line, made.gate, connections, "raise")
    assert sorted(opened) == ["anthropic/big", "openai/fast", "openai/gpt-4o-mini"]
    assert {phase: lm.phase for phase, lm in first.items()} == {phase: phase for phase in PHASES}
    assert first["evaluation"].engine.inner is second["judge"].engine.inner
    assert (first["judge"].engine.on_failure, second["judge"].engine.on_failure) == ("halt", "raise")
    assert first["profiling"].kwargs["temperature"] == 0.2
    assert first["evaluation"].engine.price is not None
    assert first["optimization"].engine.price is None


def test_a_missing_key_is_told_when_the_model_is_built(loaded: Loaded, rig: Any) -> None:
    made = rig()
    with pytest.raises(KeyMissing, match="BIG_KEY"):
        build_lms(phase_models(loaded), made.line, made.gate, Connections.of({"OPENAI_API_KEY": "none"}))


def test_a_reasoning_model_with_the_wrong_settings_is_a_configuration_error(rig: Any) -> None:
    made = rig()
    spec = ModelSpec(
        model="openai/gpt-5", temperature=0.2, price=PriceOverride(input_per_million=1, output_per_million=1)
    )
    connections = Connections.of({}, lambda *_: ScriptedModel())
    with pytest.raises(ConfigError, match=r"openai/gpt-5 cannot be used as configured: .*temperature"):
        build_lm(spec, "judge", made.line, made.gate, connections, "halt")
    fine = build_lm(
        spec.model_copy(update={"temperature": None}), "judge", made.line, made.gate, connections, "halt"
    )
    assert fine("x")


def test_a_reasoning_models_longest_answer_is_reserved(rig: Any) -> None:
    price = PriceOverride(input_per_million=1, output_per_million=1)
    made = rig(spec=ModelSpec(model="openai/gpt-5", max_tokens=20_000, price=price))
    made.lm("x")
    reserved = made.journal._db.execute("select reserved_tokens from ledger.attempt").fetchone()[0]
    assert reserved >= 20_000


def test_the_default_model_is_the_offline_one_and_answers(tmp_path: Path, workspace: Path, rig: Any) -> None:
    loaded = load(workspace, environ={"XDG_CONFIG_HOME": str(tmp_path)})
    models = phase_models(loaded)
    assert models.simulated
    made = rig()
    lm = build_lm(
        models.specs["evaluation"],
        "evaluation",
        made.line,
        made.gate,
        Connections.of(loaded.environ, inner_of),
        "halt",
    )
    assert lm.simulated
    assert lm("Say something.")[0].strip()
    assert made.spent.usd == 0.0
    assert made.spent.usd_unknown_calls == 0


def test_an_offline_model_is_another_with_another_seed():
    """`offline/rules-v1-s3` is a model of its own; a name that is no offline model is refused."""
    from skill_fleet.foundation.errors import ConfigError
    from skill_fleet.llm.offline.model import seed_in

    assert [seed_in(name) for name in ("offline/rules-v1", "offline/rules-v1-s0", "offline/rules-v1-s3")] == [
        0,
        0,
        3,
    ]
    with pytest.raises(ConfigError, match="offline/rules-v2"):
        seed_in("offline/rules-v2")
