"""Reading a draft against its plan, and repairing what the reading found."""

import re

from skill_fleet.llm.offline import text, titles, writing
from skill_fleet.llm.offline.draws import Draws
from skill_fleet.llm.offline.prompt import Prompt
from skill_fleet.llm.offline.subject import subject_of
from skill_fleet.llm.offline.terms import ranked_terms

_SEEN = 0.85
"""Probability that a defect that is there is noticed."""
_DRAFTS = ("skill_content", "draft", "content", "document", "text")
_PLANS = ("content_plan", "sections", "outline", "plan")
_FRONTMATTER = re.compile(r"\A---\n(.*?)\n---\s*\n?", re.DOTALL)
_HEADING = re.compile(r"^## +(.+?)\s*$", re.MULTILINE)


def find_issues(prompt: Prompt, luck: Draws) -> list[str]:
    """Planned sections that are missing, and promises of the description the body does not keep."""
    draft = prompt.value(*_DRAFTS)
    if not draft:
        return []
    have = {title.lower() for title in _HEADING.findall(draft)}
    planned = text.as_list(prompt.value(*_PLANS))
    out = [
        f"The planned section '{title}' is missing: add a section '{title}'."
        for title in planned
        if title.strip("# ").lower() not in have and luck.happens(_SEEN, f"missing {title}")
    ]
    promised = _promises(draft)
    body = text.stems(_FRONTMATTER.sub("", draft).lower())
    broken = [term for term in promised if not text.stems(term.lower()) <= body]
    if broken and luck.happens(_SEEN, "promise"):
        out.append(
            f"The description promises {text.in_words(broken[:3])}, but the body does not speak of it."
        )
    return out


def _promises(draft: str) -> list[str]:
    """The terms of the description, whatever words of the trade stand around them."""
    found = _FRONTMATTER.match(draft)
    said = re.search(r"^description:\s*(.+)$", found.group(1), re.MULTILINE) if found else None
    return [term for term in ranked_terms(said.group(1), 8) if text.stems(term)] if said else []


def repair(prompt: Prompt, luck: Draws) -> str:
    """The draft with the sections, terms and frontmatter that the findings name; the rest untouched."""
    draft = prompt.value(*_DRAFTS)
    findings = list(text.as_list(prompt.value("findings", "issues", "feedback", "problems")))
    subject = subject_of(draft_task(draft))
    have = {title.lower() for title in _HEADING.findall(draft)}
    added = []
    for finding in findings:
        for title in titles.titles_in(finding):
            if title.lower() not in have:
                added.append(writing.section(title, subject, list(subject.terms), 4, (), luck))
                have.add(title.lower())
        promised = re.search(r"promises (.+?), but the body", finding)
        if promised:
            added.append(
                f"This skill also covers {promised.group(1)}, with the same steps and the same checks."
            )
    if any(
        re.search(r"front ?matter|\bname\b|description|field|key\b|yaml", finding, re.IGNORECASE)
        for finding in findings
    ):
        draft = _with_frontmatter(draft)
    return _inserted(draft, added)


def draft_task(draft: str) -> str:
    """What a draft is about: its description, else its title."""
    said = re.search(r"^description:\s*\"?(.+?)\"?\s*$", draft, re.MULTILINE)
    if said:
        return said.group(1).split(". ")[0]
    title = re.search(r"^# +(.+)$", draft, re.MULTILINE)
    return title.group(1) if title else draft[:200]


def _with_frontmatter(draft: str) -> str:
    """Frontmatter with a valid name and description and no other key."""
    found = _FRONTMATTER.match(draft)
    head, body = (found.group(1), draft[found.end() :]) if found else ("", draft)
    values = dict(re.findall(r"^(name|description):\s*(.*?)\s*$", head, re.MULTILINE))
    subject = subject_of(draft_task(draft))
    description = (
        values.get("description", "").strip("'\"").replace('\\"', '"').replace("<", "").replace(">", "")
    )
    return f"{writing.frontmatter(values.get('name', ''), description, subject)}\n\n{body.lstrip()}"


def _inserted(draft: str, added: list[str]) -> str:
    """The additions before the closing line, at the end where there is none."""
    if not added:
        return draft
    block = "\n\n".join(added)
    before, found, after = draft.rpartition(writing.CLOSING)
    if not found:
        return f"{draft.rstrip()}\n\n{block}"
    return f"{before.rstrip()}\n\n{block}\n\n{writing.CLOSING}{after}"
