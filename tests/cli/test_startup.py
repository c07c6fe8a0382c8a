"""The command line starts at once: what is heavy is imported when a command needs it."""

import resource
import subprocess
import sys

HEAVY = ("dspy", "gepa", "optuna", "numpy", "litellm", "fastapi", "dbos", "sqlalchemy", "pydantic", "rich")


def cpu(*words: str) -> float:
    """The least CPU seconds of several runs."""
    best = 60.0
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


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


def test_the_cpu_of_starting():
    bare = cpu("-c", "pass")
    typer = cpu("-c", "import typer")
    assert cpu("-m", "skill_fleet", "--version") <= 8 * bare
    assert cpu("-m", "skill_fleet", "--help") <= 2.5 * typer
