"""Optimizers of other packages: found, used, held to the same promises, harmless where they are broken."""

import importlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from skill_fleet.foundation.errors import UnknownName
from skill_fleet.optimization.conformance import OptimizerConformance
from skill_fleet.optimization.plugins import PluginError, find_plugins
from skill_fleet.optimization.registry import (
    builtin_optimizers,
    find_optimizer,
    installed_optimizers,
    versions_of,
)
from skill_fleet.services.doctor import examine

EXAMPLE = Path(__file__).parents[1] / "plugins" / "skill_fleet_hillclimb"


def install(project, target):
    """What an installer leaves of a project: its packages, and a folder that says what they are."""
    described = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    shutil.copytree(project / "src", target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    points = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in described["entry-points"].items()
    ]
    offer(target, described["name"], described["version"], "\n".join(points))


def offer(target, package, version, points):
    """Metadata of an installed package."""
    folder = target / f"{package.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (folder / "entry_points.txt").write_text(points)


@pytest.fixture
def target(tmp_path, monkeypatch):
    """A folder of installed packages."""
    place = tmp_path / "installed"
    place.mkdir()
    before = set(sys.modules)
    monkeypatch.syspath_prepend(place)
    monkeypatch.delitem(sys.modules, "skill_fleet_hillclimb", raising=False)
    yield place
    for name in set(sys.modules) - before:
        if str(place) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def offered(target, name, source, *, package="skill-fleet-broken", version="1.2", module="broken_plugin"):
    """A package of one module that offers one optimizer."""
    (target / f"{module}.py").write_text(source)
    offer(target, package, version, f"[skill_fleet.optimizers]\n{name} = {module}:Kind\n")
    importlib.invalidate_caches()


GOOD = """
from dataclasses import replace
from skill_fleet.optimization.optimizers.labeled import LabeledFewShot

class Kind(LabeledFewShot):
    info = replace(LabeledFewShot.info, name={name!r})
"""


def problem_of(name):
    return next(one for one in installed_optimizers() if one.name == name and one.problem)


def test_an_installed_plugin_is_found_by_name(target):
    install(EXAMPLE, target)
    one = installed_optimizers()[-1]
    assert (one.name, one.package, one.version, one.problem) == (
        "hillclimb",
        "skill-fleet-hillclimb",
        "0.1.0",
        "",
    )
    assert find_optimizer("hillclimb").info == one.info
    assert versions_of("hillclimb") == {"skill-fleet-hillclimb": "0.1.0"}
    assert versions_of("gepa") == {}


def test_listing_names_imports_nothing(target):
    install(EXAMPLE, target)
    assert [plugin.name for plugin in find_plugins()] == ["hillclimb"]
    find_optimizer("gepa")
    with pytest.raises(UnknownName, match="'hillclimbing'") as caught:
        find_optimizer("hillclimbing")
    assert "hillclimb" in caught.value.hint
    assert "skill_fleet_hillclimb" not in sys.modules


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("x =", "SyntaxError"),
        ("", "has no attribute 'Kind'"),
        ("def Kind(a): ...", "missing 1 required positional argument"),
        ("class Kind: ...", "Kind has no `info` of the type OptimizerInfo"),
        ("def Kind(): return None", "NoneType has no `info`"),
        (GOOD.format(name="other"), "it calls itself 'other', its entry point 'odd'"),
        (GOOD.format(name="odd") + "    improve = None\n", "Kind has no method `improve`"),
    ],
)
def test_a_broken_plugin_is_told_in_one_sentence_and_breaks_nothing_else(target, source, says):
    offered(target, "odd", source)
    told = problem_of("odd").problem
    assert told.startswith("The optimizer 'odd' of skill-fleet-broken 1.2 is of no use: ")
    assert says in told
    assert told.endswith(".")
    assert "\n" not in told
    with pytest.raises(PluginError, match="of no use") as caught:
        find_optimizer("odd")
    assert caught.value.exit_code == 2
    assert "skill-fleet-broken" in caught.value.hint
    usable = {one.name for one in installed_optimizers() if one.info is not None}
    assert usable == set(builtin_optimizers())


def test_the_name_of_a_built_in_optimizer_stays_its_own(target):
    offered(target, "gepa", GOOD.format(name="gepa"))
    assert problem_of("gepa").problem == (
        "The optimizer 'gepa' of skill-fleet-broken 1.2 is not used: a built-in one has that name."
    )
    assert type(find_optimizer("gepa")) is builtin_optimizers()["gepa"]


def test_of_two_packages_with_one_name_neither_is_used(target):
    offered(target, "twin", GOOD.format(name="twin"), package="a-plugin", module="plugin_a")
    offered(target, "twin", GOOD.format(name="twin"), package="b-plugin", module="plugin_b")
    assert [one.problem for one in installed_optimizers() if one.name == "twin"] == 2 * [
        "The optimizer 'twin' is offered by a-plugin 1.2 and by b-plugin 1.2: neither is used."
    ]
    with pytest.raises(PluginError, match="neither is used") as caught:
        find_optimizer("twin")
    assert caught.value.hint == "Uninstall all but one of them."
    assert not {"plugin_a", "plugin_b"} & set(sys.modules)


def test_the_doctor_speaks_of_plugins(target, tmp_path):
    install(EXAMPLE, target)
    offered(target, "odd", "import no_such_module")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    found = [(c.status, c.message) for c in examine(workspace) if c.name == "optimizer"]
    assert ("ok", "hillclimb: of skill-fleet-hillclimb 0.1.0.") in found
    assert [status for status, message in found if "'odd'" in message] == ["warning"]


def test_a_resumed_run_wants_the_version_it_began_with(target, place):
    from skill_fleet.foundation.errors import IntegrityError
    from skill_fleet.llm.budget import Limits

    install(EXAMPLE, target)
    asked = place.request("hillclimb", trials=2, rounds=1, limits=Limits(calls=100))
    stopped = place.optimize(asked).result
    assert stopped.stop_reason == "budget"
    old = next(target.glob("*.dist-info"))
    old.rename(old.with_name(old.name.replace("0.1.0", "0.2.0")))
    metadata = next(target.glob("*.dist-info")) / "METADATA"
    metadata.write_text(metadata.read_text().replace("0.1.0", "0.2.0"))
    importlib.invalidate_caches()
    with pytest.raises(IntegrityError, match=r"skill-fleet-hillclimb 0\.1\.0 -> 0\.2\.0"):
        place.resume(stopped.run_id, asked)


def command(target, workspace, *words):
    """The installed command in a process of its own, with the plugin installed beside it."""
    ours = str(Path(importlib.import_module("skill_fleet").__file__).parents[1])
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(target), ours]), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "skill_fleet", *words],
        cwd=workspace,
        env=environ,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    target = tmp_path_factory.mktemp("installed")
    install(EXAMPLE, target)
    return target


def test_the_command_lists_it_with_package_and_version(installed, tmp_path):
    done = command(installed, tmp_path, "optimizers", "--json")
    listed = {one["name"]: one for one in json.loads(done.stdout)["optimizers"]}
    assert listed.keys() == {*builtin_optimizers(), "hillclimb"}
    assert (listed["hillclimb"]["package"], listed["hillclimb"]["version"]) == (
        "skill-fleet-hillclimb",
        "0.1.0",
    )
    assert listed["gepa"]["package"] == "skill-fleet"
    assert done.stderr == ""


def test_the_command_says_what_is_broken_and_lists_the_rest(tmp_path):
    target = tmp_path / "installed"
    target.mkdir()
    offered(target, "odd", "import no_such_module")
    done = command(target, tmp_path, "optimizers", "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert {one["name"] for one in told["optimizers"]} == set(builtin_optimizers())
    assert [one["name"] for one in told["unusable"]] == ["odd"]
    assert done.stderr.startswith("warning: The optimizer 'odd' of skill-fleet-broken 1.2")
    used = command(target, tmp_path, "optimize", "--optimizer", "odd", "--dry-run")
    assert used.returncode == 2
    assert "No module named 'no_such_module'" in used.stderr


def test_the_command_optimizes_with_it(installed, tmp_path, place):
    words = ["--program", "triage:TriageProgram", "--metric", "triage:exact", "--data", "tickets.json"]
    more = ["--optimizer", "hillclimb", "--rounds", "1", "--yes", "--json", "--output", "found.json"]
    done = command(installed, place.root, "optimize", *words, *more)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["optimizer"] == "hillclimb"
    assert result["status"] == "succeeded"
    assert result["optimized"]["validation"] > result["baseline"]["validation"]


@pytest.mark.usefixtures("target")
def test_nothing_is_installed_where_nothing_is_installed():
    assert {one.package for one in installed_optimizers()} == {"skill-fleet"}


sys.path.insert(0, str(EXAMPLE / "src"))


class TestHillclimb(OptimizerConformance):
    """What the author of a plugin writes."""

    optimizer = importlib.import_module("skill_fleet_hillclimb").Hillclimb
