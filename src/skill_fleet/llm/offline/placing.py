"""Where a skill belongs and what it is called: a branch of the taxonomy that is there, a new leaf, a slug."""

import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping

from skill_fleet.llm.offline import capacity, imitation, lexicon, text
from skill_fleet.llm.offline.conditions import Scene
from skill_fleet.llm.offline.draws import Draws
from skill_fleet.llm.offline.prompt import Prompt
from skill_fleet.llm.offline.rule import Rule
from skill_fleet.llm.offline.subject import Subject
from skill_fleet.llm.offline.verbs import is_verb

Path = tuple[str, ...]

_DEFAULT_DEPTH = (3, 5)
_COPIED = 0.9
"""Probability that demonstrations are considered for the branch at all."""
_SHOWN, _DEEPER, _DOUBT = 1.2, 0.15, 0.3
"""Worth that a demonstration adds, that a folder below the second costs, and that chance adds at most."""
_PATHLIKE = re.compile(r"^[a-z][\w-]*(?:/[\w-]+)*$")


def choose_path(prompt: Prompt, scene: Scene, subject: Subject, rules: list[Rule], luck: Draws) -> str:
    """A taxonomy path of lower-case folders joined by `/`: the best branch, then a leaf for the topic."""
    low, high = _depth(prompt, scene, rules, luck)
    branch = _ruled_branch(rules) or _best_branch(prompt, scene, luck, kept=low - 1)
    parts = list(branch[: high - 1])
    topics = _topics(subject, parts)
    while len(parts) < low - 1 and topics:
        parts.append(topics.pop(0))
    leaf = topics[0] if topics else text.folder(subject.thing.split()[:2]) or "topic"
    if capacity.has(rules, "path_leaf"):
        leaf = _topic_leaf(subject, parts) or leaf
    if leaf not in parts:
        parts.append(leaf)
    return "/".join(part for part in parts if part) or "general/topic"


def choose_name(prompt: Prompt, scene: Scene, subject: Subject, rules: list[Rule], luck: Draws) -> str:
    """A slug of two to four words from the task, ordered and limited as rules and demonstrations show."""
    low, high = _name_size(prompt, scene, rules, luck)
    shown = [demo.outputs.get("skill_name", demo.outputs.get("name", "")) for demo in prompt.demos]
    roles = [args[0] for args in capacity.args_of(rules, "name_first")]
    if not roles and shown and luck.happens(0.8, "name pattern"):
        roles = _shown_role(prompt, shown)
    practised = any(role not in {"action", "gerund"} for role in roles) or any(
        capacity.has(rules, kind) for kind in ("name_words", "name_task")
    )
    chosen = _name_words(subject, practised=practised)[: max(high, 1)]
    for role in reversed(roles):
        chosen = _led_by(role, chosen, subject)
    for (literal,) in capacity.args_of(rules, "name_has"):
        chosen = [*chosen[: high - 1], literal]
    if len(chosen) < low:
        chosen += [word for word in _all_words(subject) if word not in chosen][: low - len(chosen)]
    return text.slug(chosen) or "new-skill"


def _ruled_branch(rules: list[Rule]) -> Path:
    paths = [rule for rule in rules if rule.kind == "path"]
    best = max(paths, key=lambda rule: (rule.condition is not None, rule.args[0].count("/")), default=None)
    return tuple(part.lower() for part in best.args[0].split("/")) if best else ()


@functools.lru_cache(maxsize=65536)
def _says(part: str, stems: frozenset[str]) -> float:
    """How well a folder stands for a task: by its own words, else by the field they belong to."""
    names = [word for word in part.split("_") if word]
    if not names:
        return 0.0
    direct = sum(text.stem(word) in stems for word in names) / len(names)
    return max(0.8 * direct, max(lexicon.affinity(word, stems) for word in names) ** 2)


def _best_branch(prompt: Prompt, scene: Scene, luck: Draws, *, kept: int) -> Path:
    """The branch whose folders say most about the task; demonstrations of related tasks speak for theirs."""
    shown = _shown_branches(prompt, scene, luck)
    known = tuple(dict.fromkeys([*_branches(tuple(prompt.values.values())), *shown]))
    if not known:
        return _invented_branch(scene)
    worth = {
        branch: sum(
            _says(part, scene.stems) - (_DEEPER if depth > 1 else 0.0) for depth, part in enumerate(branch)
        )
        + shown.get(branch, 0.0)
        + _DOUBT
        * (0.7 * luck.taste(f"branch {'/'.join(branch)}") + 0.3 * luck.number(f"branch {'/'.join(branch)}"))
        for branch in known
    }
    best = max(known, key=lambda branch: (worth[branch], branch))
    return _trimmed(best, scene, shown, kept)


def _trimmed(branch: Path, scene: Scene, shown: Mapping[Path, float], kept: int) -> Path:
    """The branch without folders at its end that only share a field with the task, beyond those kept."""
    while len(branch) > max(2, kept) and branch not in shown and not _names(branch[-1], scene.stems):
        branch = branch[:-1]
    return branch


def _names(part: str, stems: frozenset[str]) -> bool:
    return any(text.stem(word) in stems for word in part.split("_"))


def _shown_branches(prompt: Prompt, scene: Scene, luck: Draws) -> dict[Path, float]:
    """The folders above the leaves of demonstrations, with what they add to a branch's worth."""
    out: dict[Path, float] = {}
    for demo, like, share in imitation.nearest(prompt, scene):
        path = imitation.path_of(demo)
        for depth in range(2, len(path)):
            out[path[:depth]] = out.get(path[:depth], 0.0) + _SHOWN * like * share
    return out if luck.happens(_COPIED, "copy branch") else {}


def _invented_branch(scene: Scene) -> Path:
    """With no taxonomy to follow, the field the task's words belong to."""
    name = lexicon.name_of_field(scene.stems)
    return ("general", name) if name else ("general",)


@functools.lru_cache(maxsize=2048)
def _branches(values: tuple[str, ...]) -> tuple[Path, ...]:
    """Every folder named by nested JSON objects or by lists of paths among the inputs."""
    found: dict[Path, None] = {}
    for value in values:
        content = text.parsed(value)
        if isinstance(content, dict):
            for branch in _walk(content, ()):
                found[branch] = None
        elif isinstance(content, list):
            for item in content:
                if isinstance(item, str) and "/" in item and _PATHLIKE.match(item):
                    parts = tuple(item.split("/"))
                    for depth in range(1, len(parts)):
                        found[parts[:depth]] = None
    return tuple(found)


def _walk(tree: dict[str, object], above: Path) -> Iterable[Path]:
    for name, below in tree.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or len(above) > 5:
            continue
        if above or isinstance(below, dict):
            yield (*above, name)
        if isinstance(below, dict):
            yield from _walk(below, (*above, name))
        elif isinstance(below, list):
            yield from (
                (*above, name, leaf) for leaf in below if isinstance(leaf, str) and _PATHLIKE.match(leaf)
            )


def _depth(prompt: Prompt, scene: Scene, rules: list[Rule], luck: Draws) -> tuple[int, int]:
    ruled = capacity.args_of(rules, "path_depth")
    if ruled:
        return max(1, int(ruled[-1][0])), max(2, int(ruled[-1][1]))
    shown = [(len(imitation.path_of(demo)), share) for demo, _, share in imitation.nearest(prompt, scene)]
    shown = [(depth, share) for depth, share in shown if depth]
    if shown and luck.happens(0.8, "copy depth"):
        usual = round(sum(depth * share for depth, share in shown) / sum(share for _, share in shown))
        return usual, max(usual, 2)
    return _DEFAULT_DEPTH


def _topics(subject: Subject, taken: list[str]) -> list[str]:
    """Folder names the subject offers that its path does not say yet: the technology, then the terms."""
    said = {text.stem(word) for part in taken for word in part.split("_")}
    out = []
    offered = [[subject.technology]] if subject.technology else []
    offered += [term.split() for term in subject.terms]
    for offer in offered:
        fresh = [word for word in offer if text.stem(word) not in said]
        name = text.folder(fresh[-2:])
        if name and name not in out:
            out.append(name)
            said |= {text.stem(word) for word in fresh}
    return out


def _topic_leaf(subject: Subject, taken: list[str]) -> str:
    """The topic in two words: those of a good name that the folders above do not say."""
    said = {text.stem(word) for part in taken for word in part.split("_")}
    words = [word for word in _name_words(subject, practised=True) if not lexicon.is_tool(word)]
    return text.folder([word for word in words if text.stem(word) not in said][:2])


def _name_size(prompt: Prompt, scene: Scene, rules: list[Rule], luck: Draws) -> tuple[int, int]:
    ruled = capacity.args_of(rules, "name_words")
    if ruled:
        return min(2, int(ruled[-1][0])), int(ruled[-1][1])
    sizes = [
        (len(demo.outputs.get("skill_name", demo.outputs.get("name", "")).split("-")), share)
        for demo, _, share in imitation.nearest(prompt, scene)
    ]
    if sizes and luck.happens(0.8, "copy name size"):
        usual = round(sum(size * share for size, share in sizes))
        return min(2, usual), max(usual, 1)
    return 2, 4


def _all_words(subject: Subject) -> list[str]:
    said = [word for term in subject.terms for word in term.split()]
    return list(dict.fromkeys(word.lower() for word in said if not text.is_plain(word)))


def _name_words(subject: Subject, *, practised: bool) -> list[str]:
    """The words of a name: what it is about, once names were talked about; else the goal as put."""
    wanted = _all_words(subject)
    said = [word.strip(".,:;()'\"").lower() for word in subject.goal.split()]
    said = [word for word in said if word in wanted]
    technology = [subject.technology.lower()] if subject.technology else []
    if practised:
        nouns = [word for word in said if not is_verb(word)]
        return list(dict.fromkeys([*technology, *nouns, *wanted]))
    verb = [subject.action] if subject.action not in {"", "work", "explain", "answer"} else []
    return list(dict.fromkeys([*verb, *said])) or wanted


def _led_by(role: str, chosen: list[str], subject: Subject) -> list[str]:
    if role == "technology" and subject.technology:
        lead = subject.technology.lower()
        return [lead, *(word for word in chosen if word != lead)][: max(len(chosen), 2)]
    if role == "action" and subject.action:
        return [subject.action, *(word for word in chosen if word != subject.action)]
    if role == "gerund" and subject.action:
        return [
            f"{subject.action.removesuffix('e')}ing",
            *(word for word in chosen if word != subject.action),
        ]
    things = [word for word in chosen if word != subject.action and not is_verb(word)]
    return things + [word for word in chosen if word not in things]


def _shown_role(prompt: Prompt, shown: list[str]) -> list[str]:
    """What the names of the demonstrations start with, when most of them agree."""
    firsts = [name.split("-")[0] for name in shown if name]
    counts: Counter[str] = Counter()
    for demo, first in zip(prompt.demos, firsts, strict=False):
        if lexicon.is_technology(first):
            counts["technology"] += 1
        elif is_verb(first):
            counts["action"] += 1
        else:
            counts["object"] += 1
        counts["object"] += lexicon.is_technology(first) and first in imitation.path_of(demo)
    common = counts.most_common(1)
    return [common[0][0]] if common and common[0][1] > len(firsts) / 2 else []
