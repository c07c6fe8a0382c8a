"""Where a skill belongs and what it is called: a branch of the taxonomy that is there, a new leaf, a slug."""

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from skill_fleet.llm.offline import capacity, imitation, lexicon, text
from skill_fleet.llm.offline.conditions import Scene
from skill_fleet.llm.offline.draws import Draws
from skill_fleet.llm.offline.prompt import Prompt
from skill_fleet.llm.offline.reading import Rule
from skill_fleet.llm.offline.subject import Subject, is_verb

Path = tuple[str, ...]

_DEFAULT_DEPTH = (3, 5)
_COPIED = 0.9
"""Probability that a branch shown by a demonstration of the same subject is taken over."""
_PATHLIKE = re.compile(r"^[a-z][\w-]*(?:/[\w-]+)*$")


def choose_path(prompt: Prompt, scene: Scene, subject: Subject, rules: list[Rule], luck: Draws) -> str:
    """A taxonomy path of lower-case folders joined by `/`: the best branch, then a leaf for the topic."""
    branch = _ruled_branch(rules) or _copied_branch(prompt, scene, luck) or _best_branch(prompt, scene, luck)
    low, high = _depth(prompt, scene, rules, luck)
    parts = list(branch[: high - 1])
    topics = _topics(subject, parts)
    while len(parts) < low - 1 and topics:
        parts.append(topics.pop(0))
    leaf = topics[0] if topics else text.folder(subject.thing.split()[:2]) or "topic"
    if leaf not in parts:
        parts.append(leaf)
    return "/".join(part for part in parts if part) or "general/topic"


def choose_name(prompt: Prompt, scene: Scene, subject: Subject, rules: list[Rule], luck: Draws) -> str:
    """A slug of two to four words from the task, ordered and limited as rules and demonstrations show."""
    low, high = _name_size(prompt, scene, rules, luck)
    chosen = _name_words(subject)[: max(high, 1)]
    shown = [demo.outputs.get("skill_name", demo.outputs.get("name", "")) for demo in prompt.demos]
    roles = [args[0] for args in capacity.args_of(rules, "name_first")]
    if not roles and shown and luck.happens(0.8, "name pattern"):
        roles = _shown_role(prompt, shown)
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


def _copied_branch(prompt: Prompt, scene: Scene, luck: Draws) -> Path:
    """The folders above the leaf of a demonstration about a related subject."""
    votes: dict[Path, float] = defaultdict(float)
    for demo, like, share in imitation.nearest(prompt, scene):
        path = imitation.path_of(demo)
        if like >= 0.2 and len(path) > 1:
            for depth in range(2, len(path)):
                votes[path[:depth]] += like + share
    if not votes:
        return ()
    branch = max(votes, key=lambda path: (votes[path] * _fit(path, scene), -len(path), path))
    return branch if luck.happens(_COPIED, "copy branch") else ()


def _fit(path: Path, scene: Scene) -> float:
    """A branch is copied as deep as its folders still concern the task."""
    inner = [max(_says(part, scene), 0.25 if depth < 2 else 0.0) for depth, part in enumerate(path)]
    return 1.0 + sum(inner) if inner[-1] > 0 or len(path) <= 2 else 0.5


def _says(part: str, scene: Scene) -> float:
    """How well a folder's name stands for the task, in [0, 1]: its own words first, related words less."""
    names = [word for word in part.split("_") if word]
    if not names:
        return 0.0
    direct = sum(text.stem(word) in scene.stems for word in names) / len(names)
    return max(direct, 0.6 * max(lexicon.affinity(word, scene.stems) for word in names))


def _best_branch(prompt: Prompt, scene: Scene, luck: Draws) -> Path:
    known = _branches(tuple(prompt.values.values()))
    if not known:
        return _invented_branch(scene)
    worth = {
        branch: sum((1.0 + 0.1 * depth) * _says(part, scene) - 0.12 for depth, part in enumerate(branch))
        + 0.35 * luck.number(f"branch {'/'.join(branch)}")
        for branch in known
    }
    return max(known, key=lambda branch: (worth[branch], branch))


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


def _name_words(subject: Subject) -> list[str]:
    """The goal's own words in its order, the verb included: what one would type without a convention."""
    wanted = set(_all_words(subject))
    verb = [subject.action] if subject.action and subject.action != "work" else []
    said = [word.strip(".,:;()'\"").lower() for word in subject.goal.split()]
    return list(dict.fromkeys([*verb, *(word for word in said if word in wanted)])) or _all_words(subject)


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
