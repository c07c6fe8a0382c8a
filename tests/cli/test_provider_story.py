"""A bad provider from the first command to the last, each as people type it, and each bill beside its own."""

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from running_service import environment, serving, small_trainset, spawned
from warm_commands import warm_command

PASSING = (
    "rate_limit", "server_error", "bad_gateway", "unavailable", "reset", "truncated", "malformed", "empty",
    "blank", "length",
)  # fmt: skip
SEARCH = (
    "--data",
    "small.json",
    "--optimizer",
    "gepa",
    "--trials",
    "2",
    "--rounds",
    "1",
    "--num-threads",
    "16",
)
OUTAGE = 10  # four faults in a row and their pauses, also on a busy machine, are none


@dataclass
class Story:
    """A workspace, and a provider in a process of its own."""

    root: Path
    provider: str

    def told(self, change: dict[str, Any] | None = None) -> Any:
        """The provider's totals; with a change of its settings, these."""
        url = self.provider.removesuffix("/v1") + "/simulator"
        body = None if change is None else json.dumps(change).encode()
        what = "totals" if body is None else "settings"
        with urllib.request.urlopen(f"{url}/{what}", body) as reply:  # noqa: S310 - ours
            return json.load(reply)

    def run(self, *words: str, code: int = 0, **environ: str) -> str:
        """What a command line says; it ends with a code and without a traceback."""
        done = subprocess.run(
            [warm_command(), *words],
            cwd=self.root,
            env=environment(self.root, **environ),
            text=True,
            capture_output=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def billed(self, *words: str, **options: Any) -> dict[str, Any]:
        """The result of a command, whose calls and bill are the provider's."""
        before = self.told()
        value = dict(json.loads(self.run(*words, "--json", **options).splitlines()[0]))
        after = self.told()
        self.holds(value, {name: after[name] - before[name] for name in after if name != "by_fault"})
        return value

    def holds(self, value: dict[str, Any], served: dict[str, Any]) -> None:
        low, high = value["usd_range"]
        tokens = served["billed_prompt_tokens"] + served["billed_completion_tokens"]
        assert value["calls"]["made"] == served["requests"]
        assert low - 1e-9 <= served["billed_usd"] <= high + 1e-9
        assert value["tokens_range"][0] <= tokens <= value["tokens_range"][1]
        assert (low == high) == (value["calls"]["possibly_billed"] == 0)
        assert value["simulated"] is True


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    (tmp_path / "small.json").write_text(json.dumps(small_trainset()))
    faults = [word for name in PASSING for word in ("--fault", f"{name}={0.1 / len(PASSING)}")]
    words = (
        "--json",
        "--price",
        "0.4,1.6",
        "--retry-after",
        "0.1",
        "--latency",
        "0.01",
        "--max-seconds",
        "290",
    )
    process = spawned(tmp_path, "simulate-provider", *words, *faults)
    assert process.stdout is not None
    story = Story(tmp_path, json.loads(process.stdout.readline())["url"])
    model = ("--model", "openai/offline/rules-v1", "--api-base", story.provider, "--max-tokens", "2000")
    story.run("models", "add", "bad", *model, "--price-in", "0.4", "--price-out", "1.6", "--default")
    with (tmp_path / "config" / "config.yaml").open("a") as file:
        file.write(f"calls: {{ first_pause: 0.1, outage_seconds: {OUTAGE} }}\n")
    yield story
    process.terminate()
    process.communicate(timeout=60)


@pytest.mark.slow  # a dozen command lines, each in a process of its own
@pytest.mark.timeout(300)  # a busy machine takes several times as long
def test_every_command_ends_well_with_the_providers_own_bill(story: Story) -> None:
    story.told({"faults": {}})  # it asks once, and a fault would be the answer
    assert "bad answers" in story.run("models", "test", "bad")
    story.told({"faults": {name: 0.1 / len(PASSING) for name in PASSING}})
    asked = story.told()["requests"]
    assert json.loads(story.run("estimate", *SEARCH[:-2], "--json").splitlines()[0])["usd"][1] > 0
    assert story.told()["requests"] == asked, "an estimate asks nobody"
    found = story.billed("optimize", *SEARCH, "--yes", "--output", "found.json")
    assert (found["status"], found["calls"]["excluded"], found["error"]) == ("succeeded", 0, None)
    assert found["calls"]["failed"] > 0, "there were faults"
    made = story.billed("create-skill", "--task", "Help us roll back a Helm release", "--best-of", "3")
    assert made["calls"]["made"] > 0
    assert (story.root / made["path"]).is_file()
    told = story.billed("compare", found["run_id"], "found.json", "--num-threads", "16")
    assert (told["a"]["excluded"], told["b"]["excluded"]) == (0, 0)


@pytest.mark.slow  # a service, and a search that waits for its provider
@pytest.mark.timeout(300)  # a busy machine takes several times as long
def test_a_job_whose_provider_dies_is_stopped_and_goes_on_with_the_same_bill(story: Story) -> None:
    service = serving(story.root)
    server = {"SKILL_FLEET_SERVER": service.url}
    try:
        story.told({"die_after": 60})
        said = story.run("jobs", "start", *SEARCH, "--watch", code=6, **server)
        assert "Stopped: provider." in said
        assert "SIMULATED" in said
        resume = re.findall(r"^To go on: skill-fleet (jobs resume (\S+))$", said, re.MULTILINE)
        ((words, name),) = resume
        stopped = json.loads(story.run("jobs", "status", name, "--json", **server).splitlines()[0])
        served = story.told()
        assert (stopped["status"], stopped["error"]["code"]) == ("stopped", "transport")
        assert stopped["cost"]["calls"] == served["requests"] > 60
        low, high = stopped["cost"]["usd_range"]
        assert low <= served["billed_usd"] <= high
        story.told({"die_after": None})
        story.run(*words.split(), **server)
        watched = story.run("jobs", "watch", name, "--json", **server)
        result = json.loads(watched.splitlines()[0])
        assert (result["status"], result["stop_reason"], result["calls"]["excluded"]) == (
            "succeeded",
            None,
            0,
        )
        story.holds(result, story.told())
    finally:
        service.stop()
