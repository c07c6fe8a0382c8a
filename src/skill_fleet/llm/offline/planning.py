"""The plan of a skill: its description and the titles of its sections."""

from collections import defaultdict

from skill_fleet.llm.offline import capacity, imitation, text
from skill_fleet.llm.offline.conditions import Scene
from skill_fleet.llm.offline.draws import Draws
from skill_fleet.llm.offline.prompt import Demo, Prompt
from skill_fleet.llm.offline.rule import Rule
from skill_fleet.llm.offline.subject import Subject
from skill_fleet.llm.offline.verbs import third_person

_HABITS = (
    ("Overview", 0.85),
    ("When to Use", 0.25),
    ("Instructions", 0.5),
    ("Examples", 0.55),
    ("Best Practices", 0.3),
    ("Troubleshooting", 0.15),
)
"""Sections an unprompted author tends to write, and how often: no subject has its own here."""
_DISPLACED = 0.12
"""How much of a habit is left where a list of sections was asked for."""
_COPIED = 0.9
_FEWEST, _MOST = 3, 9


def choose_sections(prompt: Prompt, scene: Scene, rules: list[Rule], luck: Draws) -> list[str]:
    """Titles in reading order: those asked for, those that near demonstrations have, those of habit."""
    asked, unwanted, exact = _asked(rules, luck)
    shown = _shown(prompt, scene, luck)
    wanted = list(asked)
    if not _is_list(asked):
        wanted = _merged(shown, asked) if shown else wanted
    rarely = 0.02 if exact else _DISPLACED if _is_list(asked) or shown else 1.0
    habits = [title for title, often in _HABITS if luck.happens(often * rarely, f"habit {title}")]
    chosen = _merged(wanted, habits)
    if len(chosen) < _FEWEST and not exact:
        usual = sorted(_HABITS, key=lambda habit: -habit[1])
        chosen = _merged(chosen, [title for title, _ in usual][: _FEWEST - len(chosen)])
    return _ordered([title for title in chosen if title.lower() not in unwanted])[:_MOST]


def _is_list(titles: list[str]) -> bool:
    return len(titles) > 2


def _asked(rules: list[Rule], luck: Draws) -> tuple[list[str], set[str], bool]:
    """Titles asked for (a few forgotten), titles refused in lower case, whether nothing else is wanted."""
    out: dict[str, None] = {}
    lists = sorted(
        (rule for rule in rules if rule.kind == "sections"), key=lambda rule: rule.condition is None
    )
    for rule in lists:
        for title in rule.args:
            if luck.happens(0.97, f"title {title}"):
                out.setdefault(title)
    unwanted = {title.lower() for args in capacity.args_of(rules, "without_sections") for title in args}
    return list(out), unwanted, any(rule.exact for rule in lists)


def titles_of(demo: Demo) -> tuple[str, ...]:
    """The section titles a demonstration shows, in a list, an outline or a document."""
    for name in ("sections", "outline", "section_titles", "content_plan", "plan"):
        if name in demo.outputs:
            return text.as_list(demo.outputs[name])
    for value in demo.outputs.values():
        headings = [line[3:].strip() for line in value.splitlines() if line.startswith("## ")]
        if headings:
            return tuple(headings)
    return ()


def _shown(prompt: Prompt, scene: Scene, luck: Draws) -> list[str]:
    """Titles of the demonstrations, by likeness: a near one passes on its list, far ones what they share."""
    votes: dict[str, float] = defaultdict(float)
    place: dict[str, float] = {}
    for demo, like, share in imitation.nearest(prompt, scene):
        for index, title in enumerate(titles_of(demo)):
            votes[title] += share * (0.5 + 0.5 * like)
            place.setdefault(title, index)
    strongest = max(votes.values(), default=0.0)
    chosen = [
        title
        for title, vote in votes.items()
        if luck.happens(_COPIED * min(1.0, (vote / strongest) ** 2) * min(1.0, 0.4 + vote), f"shown {title}")
    ]
    return sorted(chosen, key=lambda title: (place[title], title))


def _merged(base: list[str], more: list[str]) -> list[str]:
    return list(dict.fromkeys([*base, *more]))


def _ordered(titles: list[str]) -> list[str]:
    """As given, but an overview opens."""
    opening = [title for title in titles if title.lower() in {"overview", "introduction", "summary"}][:1]
    return opening + [title for title in titles if title not in opening]


def describe(subject: Subject, rules: list[Rule], luck: Draws) -> str:
    """What the skill does and when to use it, in the task's own terms; well under 500 characters."""
    does = third_person(subject.goal)
    said = text.stems(does)
    more = [term for term in subject.terms if not text.stems(term) <= said][:3]
    covers = f", with {text.in_words(more)}" if more else ""
    sentences = [f"{does}{covers}."]
    ruled = capacity.has(rules, "when_to_use")
    if ruled or luck.happens(0.45, "when to use"):
        named = text.in_words(list(subject.terms[:3]), "or")
        sentences.append(f"Use when someone asks to {subject.goal}, or mentions {named}.")
    elif luck.happens(0.5, "vague description"):
        sentences = [f"Guidance on {subject.thing}."]
    sentences += [f"Mentions {literal}." for (literal,) in capacity.args_of(rules, "mention")]
    return " ".join(sentences).replace("<", "").replace(">", "")[:480]
