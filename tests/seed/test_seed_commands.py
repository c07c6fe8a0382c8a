"""The seed document's commands run as they are printed, less the leading `uv run`.

The commands stand in `blocks/*.sh.txt` as the document prints them. One more thing is not as a reader has it:
the training set at `config/training/trainset.json` is the shipped one, cut to some items of some groups, so
that a search takes seconds.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from skill_fleet.core.programs.artifact import load_artifact
from skill_fleet.domain.skill import Skill
from skill_fleet.domain.spec import check, is_valid

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = REPOSITORY.parent / "shared" / "seed" / "dspy-optimization.md"
COPIES = Path(__file__).parent / "blocks"
TRAINSET = REPOSITORY / "config" / "training" / "trainset.json"
# name of the copy -> groups of the training set, items of each
BLOCKS = {"01-optimization-command": (12, 1), "02-cli-integration": (12, 2)}
SAVED = Path("config") / "optimized" / "skill_creator.json"


def printed():
    """The shell blocks of the document, in its order."""
    return re.findall(r"^```bash\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(name):
    """The commands of a block as words, without `uv run`."""
    if DOCUMENT.exists():
        text = printed()[list(BLOCKS).index(name)]
    else:
        text = (COPIES / f"{name}.sh.txt").read_text(encoding="utf-8")
    lines = text.replace("\\\n", " ").splitlines()
    found = [shlex.split(line, comments=True) for line in lines]
    assert all(words[:3] == ["uv", "run", "skill-fleet"] for words in found if words)
    return [words[3:] for words in found if words]


@pytest.fixture
def place(request, tmp_path):
    """A workspace with a cut training set, and nothing else."""
    groups, each = BLOCKS[request.param]
    by_group = {}
    for item in json.loads(TRAINSET.read_text(encoding="utf-8")):
        by_group.setdefault(item["group"], []).append(item)
    names = sorted(by_group)[:: len(by_group) // groups][:groups]
    items = [item for name in names for item in by_group[name][:each]]
    assert len({item["group"] for item in items}) == groups
    root = tmp_path / "workspace"
    (root / "config" / "training").mkdir(parents=True)
    (root / "config" / "training" / "trainset.json").write_text(json.dumps(items))
    return root


def run(root, words):
    dropped = ("SKILL_FLEET_", "DSPY_", "XDG_", "PYTEST_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    done = subprocess.run(
        [sys.executable, "-m", "skill_fleet", *words],
        cwd=root,
        env={**environ, "HOME": str(root.parent)},
        capture_output=True,
        text=True,
        timeout=250,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


def result_of(root):
    (file,) = root.glob(".skill-fleet/runs/*/result.json")
    return json.loads(file.read_text())


def test_the_copies_are_the_document():
    if not DOCUMENT.exists():
        pytest.skip("shared corpus absent")
    assert printed() == [(COPIES / f"{name}.sh.txt").read_text(encoding="utf-8") for name in BLOCKS]


def test_the_copies_hold_three_commands():
    copies = sorted(file.name.removesuffix(".sh.txt") for file in COPIES.glob("*.sh.txt"))
    assert copies == list(BLOCKS)
    assert [[words[0] for words in commands(name)] for name in BLOCKS] == [
        ["optimize"],
        ["optimize", "create-skill"],
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)  # a busy machine takes several times as long
@pytest.mark.parametrize("place", ["01-optimization-command"], indirect=True)
def test_the_optimization_command(place):
    (words,) = commands("01-optimization-command")
    done = run(place, words)
    assert done.returncode == 0, done.stderr
    result = result_of(place)
    assert result["status"] == "succeeded"
    assert result["optimizer"] == "miprov2"
    assert result["simulated"] is True
    assert 1 <= len(result["rounds"]) <= 2
    assert sum(result["examples"].values()) == 12
    assert result["artifact"] == str(SAVED)
    loaded = load_artifact(place / SAVED)
    assert loaded.differences == ()
    assert loaded.manifest.simulated is True
    assert "simulat" in done.stdout.lower()


@pytest.mark.slow
@pytest.mark.timeout(300)  # a busy machine takes several times as long
@pytest.mark.parametrize("place", ["02-cli-integration"], indirect=True)
def test_optimizing_and_then_using_the_optimized_program(place):
    optimize, create = commands("02-cli-integration")
    done = run(place, optimize)
    assert done.returncode == 0, done.stderr
    result = result_of(place)
    assert result["program"] == "SkillCreationProgram"
    assert result["status"] == "succeeded"
    assert 1 <= len(result["rounds"]) <= 2
    assert load_artifact(place / SAVED).manifest.run_id == result["run_id"]

    done = run(place, create)
    assert done.returncode == 0, done.stderr
    (file,) = place.glob("skills/**/SKILL.md")
    assert is_valid(check(Skill.read(file), folder=file.parent))
    assert str(file.relative_to(place)) in done.stdout
    assert "simulat" in done.stdout.lower()

    written = file.read_bytes()
    again = run(place, create)
    assert again.returncode != 0
    assert "--force" in again.stderr
    assert file.read_bytes() == written
