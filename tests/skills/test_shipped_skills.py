"""The gold library is true: what it shows compiles, runs, parses and links.

The words after the language of a fence say what is done with it:

* `python`: run in a process of its own, in an empty directory, where a warning is an error
* `python requires=a,b`: the same where packages a and b can be imported; compiled everywhere
* `python pytest`: run under pytest; at least one test must pass and none may fail
* `python no-run`: compiled only, since it needs a server or shows a fragment
* `bash run`: run with bash in an empty directory; any other bash is checked with `bash -n`
* `sql sqlite`: run by SQLite after all earlier such fences of the same file
* `json`, `yaml`, `toml`: parsed

A `text result` fence after an SQLite fence holds the rows that its last statement must give.
"""

import importlib.util
import itertools
import json
import os
import re
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "skills"
SKILLS = sorted(path.parent for path in LIBRARY.rglob("SKILL.md"))
DOCUMENTS = sorted(LIBRARY.rglob("*.md"))
SCRIPTS = sorted(LIBRARY.rglob("scripts/*.py"))

SECTIONS = {
    "technical_skills/programming": ("Overview", "Syntax", "Examples", "Pitfalls"),
    "technical_skills/testing": ("Overview", "Strategy", "Examples", "Pitfalls"),
    "technical_skills/operations": ("Overview", "Prerequisites", "Procedure", "Rollback"),
    "technical_skills/data": ("Overview", "Inputs", "Procedure", "Validation"),
    "technical_skills/security": ("Overview", "Threats", "Procedure", "Verification"),
    "communication": ("Overview", "Audience", "Structure", "Checklist"),
    "research": ("Overview", "Sources", "Method", "Evidence"),
    "product": ("Overview", "Decision Criteria", "Procedure", "Checklist"),
    "business": ("Overview", "Inputs", "Procedure", "Escalation"),
    "education": ("Overview", "Learning Goals", "Exercises", "Checklist"),
}
SEED_PATHS = {
    "technical_skills/programming/web_frameworks/python/fastapi": "fastapi",
    "technical_skills/programming/python/async": "python-async-await",
    "technical_skills/programming/python/decorators": "python-decorators",
}
LANGUAGES = {
    "bash", "console", "csv", "diff", "hcl", "http", "ini", "json", "markdown", "mermaid", "promql",
    "python", "sql", "text", "toml", "yaml",
}  # fmt: skip
SAME_EXAMPLES_EACH_TIME = """\
from hypothesis import settings

settings.register_profile("shipped", max_examples=40, derandomize=True, deadline=None, database=None)
settings.load_profile("shipped")
"""
SPECIFIED_KEYS = {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}


@dataclass(frozen=True)
class Fence:
    """A code block: where it starts (1-based line), its language, the words after it, its text."""

    document: Path
    line: int
    language: str
    marks: frozenset[str]
    text: str

    @property
    def label(self) -> str:
        return f"{relative(self.document)}:{self.line}"

    @property
    def missing(self) -> list[str]:
        """The packages it asks for that are not here."""
        names = [mark.removeprefix("requires=") for mark in self.marks if mark.startswith("requires=")]
        return [n for joined in names for n in joined.split(",") if importlib.util.find_spec(n) is None]


def relative(path: Path) -> str:
    return path.relative_to(LIBRARY).as_posix()


def split_frontmatter(document: Path) -> tuple[str, str]:
    text = document.read_bytes().decode("utf-8")
    match = re.match(r"---\n(.*?\n)---\n", text, re.DOTALL)
    return (match.group(1), text[match.end() :]) if match else ("", text)


def frontmatter(skill: Path) -> dict[str, object]:
    return YAML(typ="safe", pure=True).load(split_frontmatter(skill / "SKILL.md")[0])


def tokens(document: Path) -> tuple[list[Token], list[str], int]:
    """Markdown tokens of the body, the body's lines, and the lines before the body."""
    head, body = split_frontmatter(document)
    offset = head.count("\n") + 2 if head else 0
    return MarkdownIt("commonmark").enable("table").parse(body), body.split("\n"), offset


def fences(language: str | None = None) -> Iterator[Fence]:
    for document in DOCUMENTS:
        parsed, _, offset = tokens(document)
        for token in parsed:
            if token.type == "fence":
                first, *marks = token.info.split() or [""]
                if language in {None, first}:
                    line = token.map[0] + 1 + offset
                    yield Fence(document, line, first, frozenset(marks), token.content)


def headings(skill: Path) -> list[str]:
    parsed, _, _ = tokens(skill / "SKILL.md")
    return [b.content for a, b in itertools.pairwise(parsed) if a.type == "heading_open" and a.tag == "h2"]


def taxonomy_path(skill: Path) -> str:
    """A path addresses skills/<path> when its last part is the skill's name, else skills/<path>/<name>."""
    folder = relative(skill)
    return folder if re.fullmatch(r"[a-z0-9_]+", skill.name) else folder.rsplit("/", 1)[0]


def domain(skill: Path) -> str:
    parts = relative(skill).split("/")
    return "/".join(parts[:2]) if parts[0] == "technical_skills" else parts[0]


def run(*command: str | Path, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        # Its table of Unicode takes a second to build: once for all fences.
        "HYPOTHESIS_STORAGE_DIRECTORY": str(cwd.parent / "hypothesis"),
    }
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    return done


each_skill = pytest.mark.parametrize("skill", SKILLS, ids=relative)
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=relative)


def each_fence(language: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fence", list(fences(language)), ids=lambda fence: fence.label)


# ---------------------------------------------------------------- the library as a whole


def test_the_library_is_broad() -> None:
    assert len(SKILLS) >= 18
    assert {domain(skill) for skill in SKILLS} == set(SECTIONS)
    assert len({d.parent.parent for d in DOCUMENTS if d.parent.name == "references"}) >= 6
    assert len({script.parent.parent for script in SCRIPTS}) >= 4


@pytest.mark.parametrize(("path", "name"), SEED_PATHS.items())
def test_the_paths_of_the_seed_document_are_addressed(path: str, name: str) -> None:
    folder = LIBRARY / path if path.endswith(f"/{name}") else LIBRARY / path / name
    assert frontmatter(folder)["name"] == name
    assert taxonomy_path(folder) == path


def test_names_and_descriptions_are_distinct() -> None:
    names = [skill.name for skill in SKILLS]
    descriptions = [str(frontmatter(skill)["description"]) for skill in SKILLS]
    assert len(set(names)) == len(names)
    for one, other in itertools.combinations(descriptions, 2):
        a, b = (set(re.findall(r"[a-z]{4,}", text.lower())) for text in (one, other))
        assert len(a & b) / len(a | b) < 0.3, (one, other)


def test_no_prose_is_repeated_between_skills() -> None:
    seen: dict[str, Path] = {}
    for skill in SKILLS:
        parsed, _, _ = tokens(skill / "SKILL.md")
        prose = "\n".join(token.content for token in parsed if token.type == "inline")
        phrases = {" ".join(p.lower().split()) for p in re.split(r"[.:;!?]\s|\n", prose)}
        for phrase in sorted(p for p in phrases if p.count(" ") >= 4):
            assert phrase not in seen, f"{relative(skill)} repeats {relative(seen[phrase])}: {phrase}"
            seen[phrase] = skill


# ---------------------------------------------------------------- one skill


@each_skill
def test_frontmatter_keeps_to_the_specification(skill: Path) -> None:
    raw = (skill / "SKILL.md").read_bytes()
    assert not raw.startswith(b"\xef\xbb\xbf")
    assert b"\r" not in raw
    head, body = split_frontmatter(skill / "SKILL.md")
    assert head
    assert "\t" not in head
    assert body.strip()
    fields = frontmatter(skill)
    assert set(fields) <= SPECIFIED_KEYS
    name, description = fields["name"], fields["description"]
    assert isinstance(name, str)
    assert name == skill.name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert len(name) <= 64
    assert isinstance(description, str)
    assert 150 <= len(description) < 500
    for text in (name, description):
        assert not re.search(r"<[^>]*>", text)
    assert "anthropic" not in name
    assert "claude" not in name
    compatibility = fields.get("compatibility", "any")
    assert isinstance(compatibility, str)
    assert 1 <= len(compatibility) <= 500
    metadata = fields.get("metadata", {})
    assert isinstance(metadata, dict)
    assert all(isinstance(word, str) for pair in metadata.items() for word in pair)
    assert isinstance(fields.get("license", ""), str)
    assert isinstance(fields.get("allowed-tools", ""), str)


@each_skill
def test_sections_of_the_domain_stand_in_order(skill: Path) -> None:
    expected = list(SECTIONS[domain(skill)])
    assert [title for title in headings(skill) if title in expected] == expected


@each_skill
def test_path_follows_the_taxonomy(skill: Path) -> None:
    path = taxonomy_path(skill)
    parts = path.split("/")
    assert 3 <= len(parts) <= 5
    assert all(re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", part) for part in parts)
    expected = LIBRARY / path if parts[-1] == skill.name else LIBRARY / path / skill.name
    assert expected == skill


@each_skill
def test_body_is_dense_but_short(skill: Path) -> None:
    _, body = split_frontmatter(skill / "SKILL.md")
    lines = body.strip().split("\n")
    assert lines[0].startswith("# ")
    assert 60 <= len(lines) <= 200
    # A token is about four characters of English; 3.5 leaves room for code.
    assert len(body) / 3.5 < 5000


@each_skill
def test_every_file_beside_it_is_mentioned(skill: Path) -> None:
    _, body = split_frontmatter(skill / "SKILL.md")
    for path in skill.rglob("*"):
        if path.is_file() and path.name != "SKILL.md":
            assert len(path.relative_to(skill).parts) == 2, "one level deep"
            assert f"]({path.relative_to(skill).as_posix()})" in body, path


# ---------------------------------------------------------------- one document


@each_document
def test_relative_links_resolve(document: Path) -> None:
    parsed, _, _ = tokens(document)
    children = [child for token in parsed for child in token.children or ()]
    links = [
        str(c.attrs.get("href") or c.attrs.get("src")) for c in children if c.type in {"link_open", "image"}
    ]
    for link in links:
        if not re.match(r"[a-z]+:|#", link):
            assert (document.parent / link.split("#")[0]).is_file(), link


@each_document
def test_fences_are_closed_and_tagged(document: Path) -> None:
    parsed, lines, offset = tokens(document)
    for token in parsed:
        assert token.type != "code_block", f"indented code at line {token.map[0] + 1 + offset}"
        if token.type == "fence":
            assert token.info.split()[0] in LANGUAGES, token.map[0] + 1 + offset
            assert lines[token.map[1] - 1].strip() == token.markup, "not closed"


@each_document
def test_no_leftovers(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert not re.search(r"\b(TO" r"DO|FIX" r"ME|X{3}|lorem ipsum|TBD)\b", text)
    assert text.endswith("\n")
    assert not re.search(r"[ \t]\n", text), "trailing space"


# ---------------------------------------------------------------- what the fences say


@each_fence("python")
def test_python_compiles(fence: Fence) -> None:
    compile(fence.text, fence.label, "exec", dont_inherit=True)
    assert {mark for mark in fence.marks if "=" not in mark} <= {"no-run", "pytest"}


@each_fence("python")
def test_python_runs(fence: Fence, tmp_path: Path) -> None:
    if "no-run" in fence.marks:
        return  # compiled above
    if fence.missing:
        pytest.skip(f"{', '.join(fence.missing)} not installed; compiled only")
    snippet = tmp_path / "test_snippet.py"
    snippet.write_text(fence.text, encoding="utf-8")
    if "pytest" in fence.marks:
        if "hypothesis" in fence.text:
            (tmp_path / "conftest.py").write_text(SAME_EXAMPLES_EACH_TIME, encoding="utf-8")
        done = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", snippet.name, cwd=tmp_path)
        assert re.search(r"\d+ passed", done.stdout)
    else:
        run(sys.executable, "-W", "error", snippet.name, cwd=tmp_path)


def test_most_python_runs() -> None:
    found = list(fences("python"))
    assert sum("no-run" not in fence.marks for fence in found) >= 0.8 * len(found)


@each_fence("bash")
def test_bash_is_well_formed_or_runs(fence: Fence, tmp_path: Path) -> None:
    assert fence.marks <= {"run"}
    (tmp_path / "snippet.sh").write_text(fence.text, encoding="utf-8")
    run("bash", *([] if "run" in fence.marks else ["-n"]), "snippet.sh", cwd=tmp_path)


@each_fence("json")
def test_json_parses(fence: Fence) -> None:
    json.loads(fence.text)


@each_fence("yaml")
def test_yaml_parses(fence: Fence) -> None:
    assert list(YAML(typ="safe", pure=True).load_all(fence.text)) != [None]


@each_fence("toml")
def test_toml_parses(fence: Fence) -> None:
    tomllib.loads(fence.text)


def sqlite_documents() -> list[Path]:
    return sorted({fence.document for fence in fences("sql") if "sqlite" in fence.marks})


@pytest.mark.parametrize("document", sqlite_documents(), ids=relative)
def test_sqlite_gives_the_rows_it_shows(document: Path) -> None:
    database = sqlite3.connect(":memory:")
    rows: list[tuple[object, ...]] = []
    compared = 0
    for fence in fences():
        if fence.document == document and fence.language == "sql" and "sqlite" in fence.marks:
            *before, last = [part for part in re.split(r";\s*\n", fence.text + "\n") if part.strip()]
            database.executescript(";\n".join(before) + ";")
            rows = database.execute(last).fetchall()
        elif fence.document == document and "result" in fence.marks:
            shown = [re.split(r"\s*\|\s*", line.strip()) for line in fence.text.strip().split("\n")[1:]]
            assert [["" if v is None else str(v) for v in row] for row in rows] == shown, fence.label
            compared += 1
    database.close()
    assert compared
