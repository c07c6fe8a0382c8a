"""litellm: only by its name, with faults like any other, and nothing but the configured address."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.errors import ConfigError
from skill_fleet.llm.providers.provider import Provider

CHILD = Path(__file__).with_name("child_litellm.py")


@pytest.mark.slow  # importing litellm takes five seconds of processor time
def test_litellm_answers_by_name_and_its_faults_are_typed_as_others() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, str(CHILD)], capture_output=True, text=True, timeout=100, check=True, env=environ
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["imported"] == [False, False], "and it is imported by the first call only"
    assert said["texts"] == ["fine"] * 3
    assert said["model"] == "m"
    assert {name: failure[:3] for name, failure in said["failures"].items()} == {
        "key": ["auth", "stop", False],
        "quota": ["billing", "stop", False],
        "rate": ["rate_limit", "retry", False],
        "long": ["context_window_exceeded", "give_up", False],
        "model": ["unsupported_model", "stop", False],
        "late": ["timeout", "retry", True],
    }
    assert said["counts"] == {
        "gemini": [[3, 5002]] * 2,
        "xai": [[3, 5002]] * 2,
        "anthropic": [[5003, 2]] * 2,
    }, "by the server's own total, and by litellm's way of counting"
    assert 3 <= said["failures"]["late"][4] < 20, "the server would be silent for 30 s"
    ports = {int(url.rsplit(":", 1)[1]) for url in said["urls"]}
    assert set(said["places"]) - {"name 127.0.0.1"} == {str(("127.0.0.1", port)) for port in ports}


def test_where_it_is_not_installed_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "litellm" else found(name, *a)
    )
    with pytest.raises(ConfigError, match="not installed") as caught:
        Provider(ModelSpec(model="litellm/mistral/m"), {})
    assert "pip install" in caught.value.hint


def test_a_name_without_it_never_imports_it() -> None:
    code = """
import sys
from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.errors import ConfigError
from skill_fleet.llm.providers.provider import Provider
from skill_fleet.llm.providers.routes import ROUTES
for route in ROUTES:
    base = route.address or "https://mine.example"
    Provider(ModelSpec(model=f"{route.prefix}/m", api_base=base, api_key_env="K"), {"K": "planted-key"})
for model in ("mistral/m", "together_ai/m", "bedrock/m", "nobody/m"):
    try:
        Provider(ModelSpec(model=model), {})
    except ConfigError:
        continue
    raise SystemExit(model)
sys.exit("litellm" in sys.modules)
"""
    done: Any = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
