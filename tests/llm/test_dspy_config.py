"""`configure_dspy` and `get_task_lm`: what people's own DSPy code gets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest

from skill_fleet.foundation.errors import ConfigError, NotFound, UnknownName, UsageError
from skill_fleet.llm import dspy_config
from skill_fleet.llm.dspy_config import configure_dspy, get_task_lm
from skill_fleet.llm.halt import Halt


@pytest.fixture(autouse=True)
def place(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The workspace that the environment names; nothing of the machine's own configuration."""
    monkeypatch.setenv("SKILL_FLEET_WORKSPACE", str(workspace))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DSPY_CACHEDIR", raising=False)
    yield workspace
    dspy_config._shared.cache_clear()


def write(place: Path, text: str) -> Path:
    path = place / "config" / "config.yaml"
    path.write_text(text)
    return path


def close(lm: Any) -> None:
    lm.engine.line.journal.close()


def test_with_nothing_configured_the_offline_model_answers_and_is_journaled(place: Path) -> None:
    before = dspy.settings.lm
    try:
        lm = configure_dspy()
        assert dspy.settings.lm is lm
        assert lm.simulated
        assert lm.phase == "evaluation"
        answer = dspy.Predict("question -> answer")(question="What is a lock?").answer
        assert answer
        assert lm.engine.line.journal.stats()["responses"] >= 1
        assert (place / ".skill-fleet" / "ledger.sqlite").is_file()
        assert (place / ".skill-fleet" / "cache" / "responses.sqlite").is_file()
    finally:
        dspy.configure(lm=before)
    close(lm)


def test_dspy_cachedir_holds_the_answers_and_the_workspace_the_ledger(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "answers"))
    lm = get_task_lm("evaluation")
    lm("x")
    assert (tmp_path / "answers" / "responses.sqlite").is_file()
    assert not (place / ".skill-fleet" / "cache").exists()
    assert (place / ".skill-fleet" / "ledger.sqlite").is_file()
    close(lm)


def test_phases_and_registered_names_are_found(place: Path) -> None:
    write(
        place,
        """
        models:
          registry:
            quick: { model: offline/rules-v1, temperature: 0.9 }
        phases: { judge: quick }
        """,
    )
    judge = get_task_lm("judge")
    assert (judge.phase, judge.kwargs["temperature"]) == ("judge", 0.9)
    named = get_task_lm("quick")
    assert (named.phase, named.kwargs["temperature"]) == ("evaluation", 0.9)
    assert get_task_lm("profiling").kwargs["temperature"] == 0.0
    assert named.engine.line is judge.engine.line, "one journal and one budget a process"
    close(judge)


@pytest.mark.parametrize(("name", "near"), [("evaluaton", "evaluation"), ("offlin", "offline")])
def test_an_unknown_name_is_told_with_its_nearest(name: str, near: str) -> None:
    with pytest.raises(UnknownName) as caught:
        get_task_lm(name)
    assert caught.value.message == f"There is no phase or model named '{name}'."
    assert caught.value.hint == f"Did you mean '{near}'?"
    with pytest.raises(UnknownName):
        configure_dspy(default_task=name)


def test_a_file_is_read_instead_of_the_workspaces_own(place: Path, tmp_path: Path) -> None:
    write(place, "models: { default: broken }")
    other = tmp_path / "other.yaml"
    other.write_text("models: { registry: { mine: { model: offline/rules-v1, temperature: 0.4 } } }")
    for path in (other, str(other)):
        lm = get_task_lm("mine", path)
        assert lm.kwargs["temperature"] == 0.4
    close(lm)
    with pytest.raises(ConfigError, match="broken"):
        get_task_lm("evaluation")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.yaml") as caught:
        configure_dspy(tmp_path / "nowhere.yaml")
    assert caught.value.exit_code == 3


def test_the_configured_budget_holds_across_models(place: Path) -> None:
    write(place, "budget: { max_calls: 3 }")
    first, second = get_task_lm("evaluation"), get_task_lm("judge")
    first("a")
    second("b")
    first("c")
    with pytest.raises(Halt, match="3 calls"):
        second("d")
    close(first)


def test_a_budget_that_could_not_hold_for_the_model_asked_for_is_refused(place: Path) -> None:
    write(
        place,
        """
        budget: { max_cost: 1.0 }
        models: { registry: { unpriced: { model: openai/nobody-knows, max_tokens: 10 } } }
        """,
    )
    close(get_task_lm("evaluation"))
    with pytest.raises(UsageError, match="openai/nobody-knows"):
        get_task_lm("unpriced")
    with pytest.raises(UsageError, match="openai/nobody-else"):
        get_task_lm("openai/nobody-else")
