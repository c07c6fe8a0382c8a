"""The command line starts at once: what is heavy is imported when a command needs it."""

import subprocess
import sys

HEAVY = ("dspy", "gepa", "optuna", "numpy", "litellm", "fastapi", "dbos", "sqlalchemy", "pydantic", "rich")


def work(code: str) -> int:
    """How many functions some code calls, with those of its imports: the same on a busy machine."""
    counted = (
        "import sys\ncount = [0]\n"
        "def called(frame, event, argument):\n    count[0] += 'call' in event\n"
        f"sys.setprofile(called)\ntry:\n    {code}\nfinally:\n    sys.setprofile(None)\n"
        "    print(count[0], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", counted], check=True, capture_output=True, text=True)
    return int(done.stderr.split()[-1])


def imported(*words: str) -> tuple[set[str], str]:
    """Top-level modules that a command line imports, and what it printed."""
    run = f"from skill_fleet.cli.main import main; main({list(words)!r})"
    code = f"import sys; {run}; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return {name.partition(".")[0] for name in done.stderr.split()}, done.stdout


def test_version_is_answered_before_anything_is_imported():
    modules, out = imported("--version")
    assert out.startswith("skill-fleet ")
    assert not modules & {*HEAVY, "typer", "importlib_metadata"}


def test_help_imports_nothing_heavy():
    modules, out = imported("--help")
    assert "Usage: skill-fleet" in out
    assert not modules & set(HEAVY)


def test_a_light_command_imports_no_dspy(tmp_path):
    for words in (("runs", "list"), ("config", "show"), ("validate", "."), ("dataset", "show")):
        (tmp_path / "x").mkdir(exist_ok=True)
        (tmp_path / "x" / "SKILL.md").write_text("---\nname: x\ndescription: Does x.\n---\n\nDo it.\n")
        modules, _ = imported("--workspace", str(tmp_path), *words)
        assert not modules & {"dspy", "gepa", "optuna", "litellm", "numpy"}, words


def test_a_model_is_registered_without_dspy(tmp_path):
    modules, _ = imported("--workspace", str(tmp_path), "models", "add", "a", "--model", "openai/x")
    assert (tmp_path / "config" / "config.yaml").exists()
    assert not modules & {"dspy", "gepa", "optuna", "litellm", "numpy"}


def test_the_work_of_starting():
    run = "from skill_fleet.cli.main import main; main"
    typer = work("import typer")
    assert 0 < work(f"{run}(['--version'])") <= 0.4 * typer
    assert work(f"{run}(['--help'])") <= 4 * typer
