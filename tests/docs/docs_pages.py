"""The pages of the documentation as programs: their blocks, and a workspace in which these run.

What a fence's info string says:

* `bash`: a script, run with `set -e`;
* `console`: commands after `$ ` and what they print, compared in form: numbers, durations and names of runs
  may differ, `…` stands for any text, and a line of `…` for any lines;
* `python`: run in one interpreter a page; what it prints is a `text output` block right after it;
* `title=FILE`: not run but written to that file of the workspace;
* `setup`: run by pages that hold `<!-- workspace: OTHER.md -->`, after the titled blocks of that page were
  written; `<!-- workspace: checkout -->` puts the repository's own library and training set there;
* `no-run`: only its syntax is checked; `<!-- no-run: why -->` stands on the line before.

    python tests/docs/docs_pages.py PAGE...    write what the commands print now into the pages
"""

import ast
import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests"))  # `warm_commands`, also where this is run as a program
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))

_FENCE = re.compile(
    r"^(?P<mark>`{3,})(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=mark)[ \t]*$", re.MULTILINE | re.DOTALL
)
_WORKSPACE = re.compile(r"<!-- workspace: (\S+) -->")
_RUN = re.compile(r"\b\d{8}-\d{6}-[0-9a-f]{6}(?:[0-9a-f]{4})?\b")
_MOMENT = re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?\b")
_TIME = re.compile(r"\b\d+ h \d+ min\b|\b\d+ min \d+ s\b|\b\d[\d.,]* s\b")
_NUMBER = re.compile(r"(?<![\w-])[-+]?\$?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?: million)?(?: (?:B|kB|MB|GB)\b)?")
_OUTSIDE = re.compile(r"^(time TIME to TIME TIME) (?:above|below) the estimate$", re.MULTILINE)
_END = "@@@@"
_SECONDS = 280


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    flags: frozenset[str]
    title: str | None
    text: str
    line: int
    start: int
    end: int

    @property
    def runs(self) -> bool:
        return (
            self.language in {"bash", "console", "python"}
            and self.title is None
            and "no-run" not in self.flags
        )


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks of a page's text."""
    found = []
    for fence in _FENCE.finditer(page):
        language, _, rest = fence["info"].strip().partition(" ")
        words = rest.split()
        titles = [word.removeprefix("title=") for word in words if word.startswith("title=")]
        flags = frozenset(word for word in words if "=" not in word)
        line = page.count("\n", 0, fence.start()) + 1
        title = titles[0] if titles else None
        found.append(
            Block(language, flags, title, fence["text"], line, fence.start("text"), fence.end("text"))
        )
    return found


def prose_of(page: str) -> str:
    """A page's text without its fenced blocks."""
    return _FENCE.sub("", page)


def form(text: str) -> str:
    """A printed text without what differs from run to run."""
    plain = _MOMENT.sub("MOMENT", _RUN.sub("RUN", text))
    plain = _NUMBER.sub("N", _TIME.sub("TIME", plain))
    lines = "\n".join(" ".join(line.split()) for line in plain.strip().splitlines())
    return _OUTSIDE.sub(r"\1", lines)  # how long it took is the machine's


def same_form(expected: str, printed: str) -> bool:
    """Whether a printed text has the form that a page shows."""
    pattern = ""
    for line in form(expected).splitlines():
        pattern += r"(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n"
    return re.fullmatch(pattern, form(printed) + "\n" if printed.strip() else "") is not None


@dataclass(frozen=True)
class Command:
    """One command of a console block and what the page says it prints."""

    words: str
    printed: str


def commands_of(block: Block) -> list[Command]:
    """The commands of a console block; a line that ends in a backslash goes on in the next."""
    found: list[Command] = []
    going_on = False
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], ""))
        elif going_on:
            found[-1] = Command(f"{found[-1].words}\n{line}", "")
        else:
            found[-1] = Command(found[-1].words, f"{found[-1].printed}{line}\n")
        going_on = line.endswith("\\") and (line.startswith("$ ") or going_on)
    return found


class Session:
    """A workspace in which the blocks of one page run, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.workspace = folder / "workspace"
        self.workspace.mkdir(parents=True)
        self._driver = folder / "driver.py"
        self._driver.write_text(_DRIVER)
        self._errors = (folder / "python.stderr").open("w")
        self._python: subprocess.Popen[str] | None = None
        self._environ = _environ(folder)
        self._groups: list[int] = []

    def close(self) -> None:
        """End the interpreter, and what scripts have left running."""
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        if self._python is not None and self._python.stdin and self._python.stdout:
            self._python.stdin.close()
            self._python.wait(timeout=60)
            self._python.stdout.close()
        self._errors.close()

    def write(self, block: Block) -> None:
        """A titled block as a file."""
        assert block.title is not None
        target = self.workspace / block.title
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.text)

    def bash(self, block: Block) -> None:
        """A script that must succeed."""
        done = self._shell(f"set -e\n{block.text}")
        assert done.returncode == 0, f"line {block.line}: exit {done.returncode}\n{done.stdout}"

    def console(self, block: Block) -> list[str]:
        """What each command of a console block prints, stdout and stderr as they come."""
        commands = commands_of(block)
        script = "".join(f"{one.words}\n__code=$?; echo '{_END}'; (exit $__code)\n" for one in commands)
        done = self._shell(script)
        return [part.removeprefix("\n") for part in done.stdout.split(_END)][: len(commands)]

    def python(self, block: Block, name: str) -> str:
        """What a Python block prints; it must not raise."""
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, str(self._driver)],
                cwd=self.workspace,
                env=self._environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
            )
        assert self._python.stdin
        assert self._python.stdout
        self._python.stdin.write(json.dumps({"source": block.text, "name": f"{name}:{block.line}"}) + "\n")
        self._python.stdin.flush()
        answer = json.loads(self._python.stdout.readline())
        assert answer["error"] is None, f"line {block.line}:\n{answer['error']}"
        return str(answer["said"])

    def start(self, words: str) -> "subprocess.Popen[str]":
        """A command that goes on by itself; stdout is to be read, and whoever starts it ends it."""
        *before, last = words.split("; ")
        return subprocess.Popen(
            ["bash", "-c", "; ".join([*before, f"exec {last}"])],
            cwd=self.workspace,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def _shell(self, script: str) -> subprocess.CompletedProcess[str]:
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.workspace,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,  # a block may leave a server running, for the blocks after it
        )
        self._groups.append(process.pid)
        said, _ = process.communicate(timeout=_SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, said)


def prepare(session: Session, path: Path, page: str) -> None:
    """The files and the set-up of the page whose workspace this one goes on in."""
    other = _WORKSPACE.search(page)
    if other is None:
        return
    if other[1] == "checkout":
        for part in ("skills", "config"):
            shutil.copytree(ROOT / part, session.workspace / part, ignore=shutil.ignore_patterns("optimized"))
        return
    for block in blocks_of((path.parent / other[1]).read_text()):
        if block.title is not None:
            session.write(block)
        elif "setup" in block.flags:
            session.bash(block)


def play(session: Session, path: Path, told: Callable[[Block, str], None]) -> Iterator[Block]:
    """Run a page's blocks in order.

    Args:
        session: Where.
        path: The page.
        told: Given each block that shows output, and what was printed in the shape of the block.
    """
    page = path.read_text()
    prepare(session, path, page)
    said = ""
    for block in blocks_of(page):
        if block.title is not None:
            session.write(block)
        elif block.language == "text" and "output" in block.flags:
            told(block, said)
        elif block.runs and block.language == "bash":
            session.bash(block)
        elif block.runs and block.language == "python":
            said = session.python(block, path.name)
        elif block.runs:
            parts = zip(commands_of(block), session.console(block), strict=True)
            told(block, "".join(f"$ {command.words}\n{printed}" for command, printed in parts))
        yield block


def syntax_error(block: Block) -> str | None:
    """What is wrong with a block as a text of its language, or None."""
    if block.language in {"bash", "console"}:
        script = block.text if block.language == "bash" else "\n".join(c.words for c in commands_of(block))
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        return done.stderr or None
    try:
        if block.language == "python":
            ast.parse(block.text)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "yaml":
            from ruamel.yaml import YAML

            YAML(typ="safe", pure=True).load(io.StringIO(block.text))
    except (SyntaxError, ValueError) as error:
        return str(error)
    return None


def _environ(folder: Path) -> dict[str, str]:
    """An environment without the user's settings and keys; the page's commands are those of this checkout."""
    from warm_commands import warm_command

    programs = {
        # What serves is ended by a signal, which a warm command does not pass on.
        "skill-fleet": 'case "$1" in\n'
        f'serve|worker|simulate-provider) exec "{sys.executable}" -m skill_fleet "$@";;\n'
        f'esac\nexec "{warm_command()}" "$@"',
        "python": f'exec "{sys.executable}" "$@"',
        "uv": '[ "$1" = run ] && shift && exec "$@"\necho "uv $1 is not run here" >&2; exit 64',
    }
    (folder / "bin").mkdir()
    for name, line in programs.items():
        file = folder / "bin" / name
        file.write_text(f"#!/bin/sh\n{line}\n")
        file.chmod(0o755)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    kept = {name: os.environ[name] for name in ("PYTHONPATH", "TMPDIR") if name in os.environ}
    return {**kept, "PATH": path, "HOME": str(folder), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


_DRIVER = """
import contextlib, io, json, os, sys, traceback
sys.path[0] = os.getcwd()
channel, names = sys.stdout, {"__name__": "__main__"}
for line in sys.stdin:
    block, said, error = json.loads(line), io.StringIO(), None
    try:
        with contextlib.redirect_stdout(said):
            exec(compile(block["source"], block["name"], "exec"), names)
    except BaseException:
        error = traceback.format_exc()
    channel.write(json.dumps({"said": said.getvalue(), "error": error}) + "\\n")
    channel.flush()
"""


def rewrite(path: Path) -> None:
    """Put what a page's commands print into the page; what was shortened by hand stays while it is true."""
    changes: list[tuple[Block, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        session = Session(Path(folder))
        place = str(session.workspace)
        for _ in play(session, path, lambda block, told: changes.append((block, told.replace(place, "…")))):
            pass
        session.close()
    page = path.read_text()
    for block, printed in reversed(changes):
        if not _shortened(block.text, printed) or not same_form(block.text, printed):
            page = page[: block.start] + printed.rstrip() + "\n" + page[block.end :]
    path.write_text(page)


def _shortened(shown: str, printed: str) -> bool:
    """Whether an output was shortened by hand: a line has a `…` that was not printed."""
    lines = form(printed).splitlines()
    return any("…" in line and line not in lines for line in form(shown).splitlines())


if __name__ == "__main__":
    for name in sys.argv[1:]:
        rewrite(Path(name))
