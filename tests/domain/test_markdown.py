"""Sections, code, links and prose of a text are those of CommonMark."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.domain.markdown import (
    Fence,
    Link,
    Section,
    fences,
    links,
    outer_fence_stripped,
    prose,
    sections,
)

TEXT = """Preamble.

# The `code` of *things*

First.

Setext
------

```python title=x
# no heading
[no](link)
```

## Two ##

- item
  ~~~
  in a list
  ~~~

> # quoted
> ```
> unclosed

    # indented code

<!-- # comment -->
Text with [a
link](one.md "title"), ![image *alt*](two.png) and
<https://three.org>, [four][ref], `[no](five.md)`
and `a
b` [six](<s i x.md>).

[ref]: four.md#part
"""


def test_sections():
    found = sections(TEXT)
    assert [(section.level, section.title, section.line) for section in found] == [
        (1, "The code of things", 3),
        (2, "Setext", 7),
        (2, "Two", 15),
    ]
    assert found[0].text == "First."
    assert found[1].text.startswith("```python")
    assert found[2].text.endswith("[ref]: four.md#part")
    assert sections("no heading\n") == ()
    assert sections("#") == (Section(1, "", 1, ""),)


def test_fences():
    assert fences(TEXT) == (
        Fence("python title=x", "python", "# no heading\n[no](link)\n", 10, closed=True),
        Fence("", "", "in a list\n", 18, closed=True),
        Fence("", "", "unclosed\n", 23, closed=False),
    )


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ("```\n```", True),
        ("```\na\n```", True),
        ("```\n\n```\n", True),
        ("````\n```\n````\n", True),
        ("```", False),
        ("```\n", False),
        ("```\na", False),
        ("```\na\n\n\n", False),
        ("```\na\n~~~\n", False),
        ("```\na\n    ```\n", False),
        ("````\na\n```\n", False),
        ("- ```\n  a\n\nb\n", False),
    ],
)
def test_a_fence_is_closed_or_not(text, closed):
    assert [fence.closed for fence in fences(text)] == [closed]


def test_links():
    assert links(TEXT) == (
        Link("one.md", "a link", 29),
        Link("two.png", "image alt", 30),
        Link("https://three.org", "https://three.org", 31),
        Link("four.md#part", "four", 31),
        Link("s i x.md", "six", 33),
    )


def test_links_stand_in_headings_lists_tables_and_images():
    text = "# [a](1)\n\n- x\n  y [b](2)\n\n| t |\n|---|\n| [c](3) |\n\n[![i](4)](5)\n"
    assert [(link.target, link.line) for link in links(text)] == [
        ("1", 1),
        ("2", 4),
        ("3", 8),
        ("5", 10),
        ("4", 10),
    ]


def test_prose_has_no_code_and_no_markup():
    words = prose(TEXT)
    assert words.split("\n")[:4] == ["Preamble.", "The of things", "First.", "Setext"]
    assert "Text with a link, image alt and https://three.org, four," in words
    for absent in ("no heading", "python", "in a list", "indented", "comment", "one.md", "*", "```"):
        assert absent not in words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```markdown\n# T\n\nx\n```", "# T\n\nx\n"),
        ("\n```md\n# T\n```\n\n", "# T\n"),
        (
            "```markdown\n---\nname: a\n---\n# T\n```\ncode\n```\n```\n",
            "---\nname: a\n---\n# T\n```\ncode\n```\n",
        ),
        ("```\n---\nname: a\n---\n# T\n```", "---\nname: a\n---\n# T\n"),
        ("```markdown\n# T\n```python\nx\n```\n```", "# T\n```python\nx\n```\n"),
        ("~~~markdown\n# T\n~~~", "# T\n"),
    ],
)
def test_a_wrapped_document_is_unwrapped(text, expected):
    assert outer_fence_stripped(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# T\n",
        "```",
        "```markdown",
        "```python\nx = 1\n```",
        "```\nx = 1\n```",
        "```markdown\n# A\n```\nand\n```markdown\n# B\n```\n",
        "```markdown\n# T\n```\nHope this helps!",
        "Here it is:\n```markdown\n# T\n```",
        "````markdown\n# T\n```",
        "```markdown\n# T\n~~~",
    ],
)
def test_any_other_text_stays(text):
    assert outer_fence_stripped(text) == text


@settings(deadline=None)
@given(st.text(st.sampled_from("`~#[]()<>!-*_\\ \t\n\ra1|:&"), max_size=80) | st.text(max_size=80))
def test_any_text_is_taken(text):
    lines = text.count("\n") + text.count("\r") + 1
    for found in (*sections(text), *fences(text), *links(text)):
        assert 1 <= found.line <= lines
    assert "\n\n" not in prose(text)
    assert sections(outer_fence_stripped(text)) is not None


@pytest.mark.parametrize(
    "unit", ["[", "![", "[a](", "`a``b```", "*a ", "<a", ">", "- ", "[a]: b\n", "~~~\n", "|a", "<!--"]
)
def test_hostile_texts_are_answered_quickly(unit):
    text = unit * (20_000 // len(unit))
    start = time.process_time()
    sections(text), fences(text), links(text), prose(text)
    assert time.process_time() - start < 3
