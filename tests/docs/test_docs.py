"""Every block of the documentation runs, every link leads somewhere, no page is out of reach."""

import re
from functools import cache
from pathlib import Path

import pytest
from docs_pages import PAGES, README, ROOT, Session, blocks_of, play, prose_of, same_form, syntax_error

ALL = [README, *PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
RUNNING = [path for path in (README, *PAGES) if any(block.runs for block in blocks_of(path.read_text()))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.slow
@pytest.mark.timeout(300)  # a dozen command lines each, on a machine that may be busy
@pytest.mark.parametrize("path", RUNNING, ids=name)
def test_every_block_runs_and_prints_what_the_page_shows(path, tmp_path):
    def compared(block, printed):
        assert same_form(block.text, printed), (
            f"{name(path)}, line {block.line}, prints something else now (to write it into the page: "
            f"python tests/docs/docs_pages.py {name(path)}):\n{printed}"
        )

    session = Session(tmp_path)
    try:
        for _ in play(session, path, compared):
            pass
    finally:
        session.close()


@pytest.mark.parametrize("path", ALL, ids=name)
def test_every_block_is_a_text_of_its_language(path):
    for block in blocks_of(path.read_text()):
        assert syntax_error(block) is None, f"{name(path)}, line {block.line}"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_what_is_not_run_says_why(path):
    lines = path.read_text().splitlines()
    for block in blocks_of(path.read_text()):
        if "no-run" in block.flags:
            assert lines[block.line - 2].startswith("<!-- no-run: "), f"line {block.line}"


@cache
def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = (title.lower() for title in HEADING.findall(prose_of(path.read_text())))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def links(path: Path) -> list[tuple[Path, str]]:
    """The files that a page links, with the anchors."""
    found = []
    for target in LINK.findall(prose_of(path.read_text())):
        if not target.startswith(("http://", "https://", "mailto:")):
            file, _, anchor = target.partition("#")
            found.append(((path.parent / file).resolve() if file else path, anchor))
    return found


@pytest.mark.parametrize("path", ALL, ids=name)
def test_every_link_leads_somewhere(path):
    for target, anchor in links(path):
        assert target.exists(), target
        assert not anchor or anchor in anchors(target), f"{name(target)} has no heading '{anchor}'"


def test_every_page_is_within_reach_of_the_index():
    start = ROOT / "docs" / "index.md"
    reached, waiting = set(), [start]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md" and page.is_relative_to(ROOT / "docs"):
            reached.add(page)
            waiting += [target for target, _ in links(page)]
    assert reached == set(PAGES)


@pytest.mark.parametrize("path", ALL, ids=name)
def test_a_test_or_benchmark_that_is_named_is_there(path):
    text = path.read_text()
    for file in re.findall(r"`((?:tests|benchmarks)/[\w/.-]+\.py)", text):
        assert (ROOT / file).is_file(), file
    for file, test in re.findall(r"`(tests/[\w/.-]+\.py)::(\w+)`", text):
        assert f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test}"


def test_the_form_of_an_output_is_strict_about_words_and_lenient_about_figures():
    printed = "Better. 0.578 (9.2 s)\n\ncalls  1,828 made\nrun    20260101-101010-abcdef (gepa, 1 round)\n"
    shown = "Better. 0.5 (1 min 02 s)\n\ncalls 2 made\nrun 20270101-101010-000000 (gepa, 1 round)\n"
    assert same_form(shown, printed)
    slow = same_form("time 1 s to 2 s 1.5 s\n", "time  1 s to 2 s   3 min 2 s  above the estimate\n")
    assert slow, "how busy the machine was"
    days = "run (2026-11-23 01:26, seed 0)\n", "run (2027-02-01 23:59, seed 0)\n"
    assert same_form(*days), "a page stays right on the day after it was written"
    assert not same_form("calls 1 to 2 1\n", "calls 1 to 2 3 above the estimate\n")
    assert same_form("Better. …\n…\nrun …", printed)
    assert not same_form(shown.replace("Better", "Worse"), printed)
    assert not same_form(shown.replace("made", "failed"), printed)
    assert not same_form(shown.rpartition("run")[0], printed)
    assert not same_form("", printed)
    assert same_form("", "")
