"""What the specification advises on the body, and what should not be in one, as findings.

Sources: agentskills.io/specification, "Progressive disclosure" (under 500 lines, under 5,000 tokens) and
"File references" (relative paths, one level deep). The rest is hygiene: dead links, unclosed code, secrets,
and commands that run what they download.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from skill_fleet.domain.blemishes import secret_in
from skill_fleet.domain.finding import Finding
from skill_fleet.domain.markdown import Link, fences, links
from skill_fleet.domain.skill import Skill

MAX_LINES = 500
MAX_TOKENS = 5000
MAX_REFERENCE_BYTES = 1_000_000
BYTES_PER_TOKEN = 4

_SECOND_FRONTMATTER = re.compile(r"(?:---[ \t]*\n)?(?:name|description):[ \t]")
_DOWNLOADERS = ("curl", "wget", "irm", "iwr", "Invoke-")
_DOWNLOADED_AND_RUN = re.compile(
    r"\b(?:curl|wget)\b[^\n|]*\|\s*(?:sudo\s+(?:-\S+\s+)*)?(?:ba|z|da|k)?sh\b"
    r"|\b(?:ba|z)?sh\s+(?:-c\s+)?[\"']?[<$]\(\s*(?:curl|wget)\b"
    r"|\b(?:irm|iwr|Invoke-RestMethod|Invoke-WebRequest)\b[^\n|]*\|\s*(?:iex|Invoke-Expression)\b"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//")


def estimated_tokens(text: str) -> int:
    """Tokens of a text by the rule of thumb of four UTF-8 bytes each; within a third for English and code."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def body_findings(skill: Skill, folder: Path | None) -> Iterator[Finding]:
    """All findings on the body; links are followed only where the skill's folder is given."""
    if not skill.body.strip():
        yield Finding(
            "body_empty",
            "warning",
            max(skill.document.close_line, 1),
            "The skill has no instructions: its body is empty.",
        )
        return
    yield from _size(skill)
    yield from _text(skill)
    for fence in fences(skill.body):
        if not fence.closed:
            line = skill.body_line + fence.line - 1
            message = "A code block is never closed: all that follows is read as code."
            yield Finding("fence_unclosed", "warning", line, message, "Add the closing fence.")
    yield from _links(skill, folder)


def _size(skill: Skill) -> Iterator[Finding]:
    lines = len(skill.body.rstrip("\n").split("\n"))
    if lines > MAX_LINES:
        message = f"The body has {lines:,} lines; the advice is at most {MAX_LINES}."
        yield Finding(
            "body_lines", "warning", skill.body_line, message, "Move detail into files of references/."
        )
    tokens = estimated_tokens(skill.body)
    if tokens >= MAX_TOKENS:
        message = f"The body has about {tokens:,} tokens; the advice is under {MAX_TOKENS:,}."
        yield Finding(
            "body_tokens", "warning", skill.body_line, message, "Move detail into files of references/."
        )


def _text(skill: Skill) -> Iterator[Finding]:
    body, first = skill.body, skill.body_line
    if _SECOND_FRONTMATTER.match(body):
        message = "The body starts like a second frontmatter; no reader takes these lines for fields."
        yield Finding("second_frontmatter", "warning", first, message, "Move its fields up, or remove it.")
    downloads = any(word in body for word in _DOWNLOADERS)
    for found in _DOWNLOADED_AND_RUN.finditer(body) if downloads else ():
        line = first + body.count("\n", 0, found.start())
        message = f"A command runs what it downloads: {found[0][:60]}."
        hint = "Name a package or a pinned, checked download instead."
        yield Finding("download_run", "warning", line, message, hint)
    if secret_in(body):
        for number, text in enumerate(body.split("\n"), first):
            secret = secret_in(text)
            if secret:
                hint = "Remove it and revoke it; use a placeholder that cannot be a key."
                yield Finding("secret", "warning", number, f"The line seems to hold {secret}.", hint)


def _links(skill: Skill, folder: Path | None) -> Iterator[Finding]:
    found = [(link, _file_of(link)) for link in links(skill.body)]
    files = [(skill.body_line + link.line - 1, file) for link, file in found if file]
    linked = {str(PurePosixPath(file)) for _, file in files}
    for line, file in dict.fromkeys(files):
        path = PurePosixPath(file)
        if path.is_absolute() or "\\" in file or _climbs(path):
            message = f"The link '{file[:80]}' leads out of the skill's folder."
            yield Finding(
                "link_outside", "warning", line, message, "Link files of the skill by a relative path."
            )
            continue
        if len(path.parts) > 2:
            message = f"The link '{file[:80]}' is more than one folder deep."
            yield Finding("link_deep", "warning", line, message, "Keep references one level below SKILL.md.")
        if folder is not None:
            yield from _target(folder, file, line, linked)


def _file_of(link: Link) -> str:
    """The file that a link names, or an empty string for anchors and addresses of the web."""
    target = link.target.split("#", 1)[0].split("?", 1)[0]
    return "" if not target.strip() or _SCHEME.match(target) else target


def _climbs(path: PurePosixPath) -> bool:
    depth = 0
    for part in path.parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False


def _target(folder: Path, file: str, line: int, linked: set[str]) -> Iterator[Finding]:
    target = folder / file
    try:
        exists = target.exists()
        inside = not exists or target.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # a name too long, a NUL, a loop of links
        exists, inside = False, True
    if not inside:
        message = f"The link '{file[:80]}' leads out of the skill's folder through a symbolic link."
        yield Finding("link_outside", "warning", line, message, "Copy the file into the skill.")
    elif not exists:
        message = f"The link '{file[:80]}' leads nowhere."
        yield Finding("link_dead", "warning", line, message, "Add the file or correct the link.")
    elif target.suffix.lower() == ".md" and target.is_file():
        yield from _chain(folder, target, file, line, linked)


def _chain(folder: Path, target: Path, file: str, line: int, linked: set[str]) -> Iterator[Finding]:
    """References that only another reference names: an agent has to read two files to find the second."""
    data = target.read_bytes() if target.stat().st_size <= MAX_REFERENCE_BYTES else b""
    if not data:
        return
    text = data.decode("utf-8", "replace")
    above = PurePosixPath(file).parent
    for link in links(text):
        name = _file_of(link)
        further = above / name if name else None
        if further is None or further.suffix.lower() != ".md" or _climbs(further):
            continue
        path = PurePosixPath(_flattened(further))
        if str(path) not in linked and str(path) != "SKILL.md" and (folder / path).is_file():
            message = f"'{file[:60]}' links '{path}', which SKILL.md does not: a chain of references."
            yield Finding("link_chain", "warning", line, message, f"Link '{path}' from SKILL.md too.")


def _flattened(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
