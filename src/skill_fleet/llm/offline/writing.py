"""The text of a skill: frontmatter, title, one section per planned title, in the task's own terms."""

import json
import re
from collections.abc import Sequence

from skill_fleet.llm.offline import capacity, fences, imitation, prose, text
from skill_fleet.llm.offline.conditions import Scene
from skill_fleet.llm.offline.draws import Draws
from skill_fleet.llm.offline.prompt import Prompt
from skill_fleet.llm.offline.rule import Rule
from skill_fleet.llm.offline.subject import Subject, subject_of
from skill_fleet.llm.offline.terms import phrases

CLOSING = "Draft by the built-in simulator: check every step before use."
"""Last line of every draft: the reader must know what wrote it."""

_TOKEN = re.compile(r"\{([a-dA-D]|goal|title)\}")


def write_skill(prompt: Prompt, scene: Scene, rules: list[Rule], luck: Draws) -> str:
    """A whole SKILL.md of 250-500 words by default."""
    meta = metadata_of(prompt)
    subject = _subject(prompt, meta, rules, luck)
    titles = _planned(prompt, rules, luck)
    # Even a model told to write every section loses one now and then; review is there to see it.
    kept = [
        title for index, title in enumerate(titles) if index == 0 or luck.happens(0.96, f"written {title}")
    ]
    parts = []
    if capacity.has(rules, "frontmatter") or luck.happens(0.7, "frontmatter"):
        parts.append(frontmatter(meta.get("name", ""), meta.get("description", ""), subject))
    parts.append(f"# {heading_of(meta.get('name', ''), subject)}")
    terms = _rotated(subject, prompt, scene, luck)
    depth = _items_per_section(len(kept), rules, luck)
    body = [
        section(title, subject, terms[index:] + terms[:index], depth, rules, luck)
        for index, title in enumerate(kept)
    ]
    if depth > 4:
        body = [
            _with_remark(said, subject, terms[index:] + terms[:index], index)
            for index, said in enumerate(body)
        ]
    parts += _completed(body, subject, terms, rules, luck)
    parts += [f"Remember: {literal}." for (literal,) in capacity.args_of(rules, "mention")]
    parts.append(CLOSING)
    parts += [literal for (literal,) in capacity.args_of(rules, "close")]
    return "\n\n".join(parts)


def _with_remark(said: str, subject: Subject, terms: Sequence[str], index: int) -> str:
    """The section with a closing remark, while there are any left."""
    if index >= len(prose.REMARKS):
        return said
    return f"{said}\n\n{_filled(prose.REMARKS[index], _slots('', subject, terms))}"


def _completed(
    body: list[str], subject: Subject, terms: list[str], rules: list[Rule], luck: Draws
) -> list[str]:
    """The sections with what rules ask of the whole text and none has yet: a fence, steps, boxes."""
    out = list(body)
    host = next((at for at, said in enumerate(out) if "\n1. " in said), len(out) - 1)
    if capacity.has(rules, "numbered") and out and "\n1. " not in out[host]:
        counter = iter(range(1, 100))
        out[host] = re.sub(r"^- (?!\[)", lambda _: f"{next(counter)}. ", out[host], flags=re.MULTILINE)
    often = 0.25 if subject.language else 0.05
    if not any("```" in said for said in out) and (
        capacity.has(rules, "fenced") or luck.happens(often, "spare fence")
    ):
        tagged = capacity.has(rules, "language") or luck.happens(0.85, "language tag")
        block = fences.fenced(subject, tagged=tagged, variant=len(out))
        if out:
            out[host] = f"{out[host]}\n\nIn short:\n\n{block}"
    if capacity.has(rules, "checklist") and not any("- [ ]" in said for said in out):
        out.append(section("Checklist", subject, terms, 5, rules, luck))
    return out


def metadata_of(prompt: Prompt) -> dict[str, str]:
    """Name, description and path, from a JSON input or from inputs of their own."""
    out: dict[str, str] = {}
    for name, value in prompt.values.items():
        if value.startswith("{"):
            found = text.parsed(value)
            if isinstance(found, dict):
                out.update(
                    {key: item for key, item in found.items() if isinstance(item, str) and key in _META}
                )
        elif name in _META:
            out.setdefault(_META[name], value)
    return out


_META = {"name": "name", "skill_name": "name", "description": "description", "taxonomy_path": "taxonomy_path"}


def frontmatter(name: str, description: str, subject: Subject) -> str:
    """Valid YAML with the two keys every host reads; the description quoted where plain YAML would break."""
    slug = text.slug([name]) or text.slug(subject.thing.split()) or "new-skill"
    said = (
        " ".join(description.split())[:1024]
        or f"Helps to {subject.goal}. Use when someone asks to {subject.goal}."
    )
    plain = re.fullmatch(r"[A-Za-z][^:#\"\\{}\[\]]*", said)
    return f"---\nname: {slug}\ndescription: {said if plain else json.dumps(said, ensure_ascii=False)}\n---"


def heading_of(name: str, subject: Subject) -> str:
    """The document's title: its name in words, or the thing it is about."""
    words = name.replace("_", "-").split("-") if name else subject.thing.split()
    kept = [word if any(char.isupper() for char in word) else word.capitalize() for word in words if word]
    return " ".join(kept) or "Skill"


def section(
    title: str, subject: Subject, terms: Sequence[str], depth: int, rules: Sequence[Rule], luck: Draws
) -> str:
    """One section: its heading, an opening, then a list, boxes or a fenced example."""
    treatment = prose.treatment_of(title)
    slots = _slots(title, subject, terms)
    opening = _filled(luck.pick(treatment.opening, f"opening {title}"), slots)
    shape = treatment.shape
    items = [_filled(item, slots) for item in treatment.items[: max(2, depth)]]
    items = _with_points(items, shape, title, subject, luck) if depth > 2 else items
    marks = {"bullets": "- {}", "boxes": "- [ ] {}"}
    if shape == "paragraph":
        body = " ".join([opening, *items])
    elif shape == "steps":
        body = f"{opening}\n\n" + "\n".join(f"{at}. {item}" for at, item in enumerate(items, 1))
    elif shape == "example":
        body = _example(title, subject, [opening, *items], rules, luck)
    else:
        body = f"{opening}\n\n" + "\n".join(marks[shape].format(item) for item in items)
    return f"## {title}\n\n{body}"


def _with_points(
    items: list[str], shape: prose.Shape, title: str, subject: Subject, luck: Draws
) -> list[str]:
    """The items with points of the task among them: named in an overview, dealt with in a list."""
    points = subject.points
    if not points:
        return items
    if shape == "paragraph":
        return [*items, f"The request names these points: {'; '.join(points)}."]
    if shape not in prose.POINTS:
        return items
    first = int(luck.taste(f"points {title}") * len(points))
    chosen = dict.fromkeys(points[(first + offset) % len(points)] for offset in range(3))
    lines = [
        prose.POINTS[shape].replace("{point}", point).replace("{Point}", text.capitalized(point))
        for point in chosen
    ]
    return [*items[:2], *lines, *items[2:]] if shape != "steps" else [*items[:3], *lines, *items[3:]]


def _example(title: str, subject: Subject, said: list[str], rules: Sequence[Rule], luck: Draws) -> str:
    wanted = capacity.has(rules, "fenced") or luck.happens(0.75 if subject.language else 0.5, "fence")
    if not wanted:
        return " ".join([said[0].removesuffix(":") + ".", *said[1:]])
    tagged = capacity.has(rules, "language") or luck.happens(0.85, "language tag")
    block = fences.fenced(subject, tagged=tagged, variant=len(title))
    return f"{said[0]}\n\n{block}\n\n{' '.join(said[1:])}"


def _subject(prompt: Prompt, meta: dict[str, str], rules: list[Rule], luck: Draws) -> Subject:
    """The task behind the request to write, and the terms of it that this draft will speak about."""
    brief = prompt.value("generation_instructions", "task_description", "task", "request", "topic")
    brief = brief or meta.get("description", "") or prompt.text[:500]
    found = re.search(r"^Task:\s*(.+?)(?=\n[A-Z][\w ]*:|\Z)", brief, re.MULTILINE | re.DOTALL)
    task = found.group(1).strip() if found else brief
    listed = re.search(
        r"^[^:\n]*(?:speak about|terms?|mention)[^:\n]*:\s*(.+)$", brief, re.MULTILINE | re.IGNORECASE
    )
    terms = (
        text.as_list(listed.group(1).strip().rstrip("."))
        if listed
        else text.as_list(prompt.value("key_terms"))
    )
    sure = 0.97 if capacity.has(rules, "terms") else 0.93
    kept = tuple(term for term in terms if len(term) < 60 and luck.happens(sure, f"term {term}"))
    return subject_of(task, tuple(re.sub(r"[{}<>`|]", "", term) for term in kept))


def _planned(prompt: Prompt, rules: list[Rule], luck: Draws) -> list[str]:
    plan = prompt.value("content_plan", "sections", "outline", "plan", "section_titles")
    titles = [re.sub(r"^#+\s*", "", title).strip() for title in text.as_list(plan)]
    titles = [title for title in titles if title and len(title) < 80]
    if not titles:
        titles = ["Overview", "Instructions", "Examples"]
    for args in capacity.args_of(rules, "sections"):
        titles += [title for title in args if title not in titles and luck.happens(0.9, f"add {title}")]
    return list(dict.fromkeys(titles))


def _rotated(subject: Subject, prompt: Prompt, scene: Scene, luck: Draws) -> list[str]:
    """The terms to speak about; many demonstrations leave a word of theirs behind now and then."""
    terms = list(subject.terms[:10])
    if prompt.demos and luck.happens(min(0.3, 0.03 * len(prompt.demos)), "leak"):
        other = imitation.nearest(prompt, scene)[-1][0]
        strange = subject_of(next(iter(other.inputs.values()), "")[:500]).thing
        terms.insert(min(2, len(terms)), strange)
    return terms


def _items_per_section(sections: int, rules: list[Rule], luck: Draws) -> int:
    if capacity.has(rules, "concise"):
        return 2
    limits = [int(args[0]) for args in capacity.args_of(rules, "max_words")]
    if limits:
        return max(1, min(6, limits[0] // (22 * max(sections, 1))))
    if capacity.has(rules, "detailed"):
        return 6
    usual = 5 if sections <= 4 else 4 if sections <= 6 else 3
    return usual - (0 if luck.happens(0.85, "substance") else 2)


def _slots(title: str, subject: Subject, terms: Sequence[str]) -> dict[str, str]:
    names = {"goal": subject.goal, "title": title.lower()}
    said = phrases(tuple(terms))
    for index, letter in enumerate("abcd"):
        term = said[index % len(said)]
        names[letter] = term
        names[letter.upper()] = text.capitalized(term)
    return names


def _filled(template: str, slots: dict[str, str]) -> str:
    return _TOKEN.sub(lambda found: slots[found.group(1)], template)
