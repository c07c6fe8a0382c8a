"""What the tests of the shipped scripts share: call a script as a user would, write its input."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "skills"
SCRIPTS = {path.stem: path for path in sorted(LIBRARY.rglob("scripts/*.py"))}
STANDARD_LIBRARY_ONLY = ("-I", "-S")  # neither the environment's packages nor the working directory are seen

Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    def call(name: str, *words: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        options = (*STANDARD_LIBRARY_ONLY, "-W", "error")
        command = [sys.executable, *options, str(SCRIPTS[name]), *map(str, words)]
        return subprocess.run(
            command, cwd=tmp_path, input=stdin, capture_output=True, text=True, check=False, timeout=90
        )

    return call


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    def make(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make
