"""Equal demands for several cases said once."""

from collections.abc import Sequence

from skill_fleet.llm.offline import conditions, text


def merged(sentences: Sequence[str]) -> list[str]:
    """The sentences with those of one action joined, at the place of the first.

    `For a/x tasks, …` and `For a/y tasks, …` become `For a tasks, …` where nothing else is asked for `a`, or
    else `For a/x or a/y tasks, …`.
    """
    groups: dict[str, list[str]] = {}
    for sentence in dict.fromkeys(sentences):
        groups.setdefault(_key(sentence), []).append(sentence)
    return [_joined(several, groups) if len(several) > 1 else several[0] for several in groups.values()]


def _key(sentence: str) -> str:
    condition, action = conditions.split_condition(sentence)
    simple = condition is not None and sentence.lower().startswith(f"for {condition.said.lower()}")
    return action.strip().lower().rstrip(".") if simple else f"= {sentence}"


def _joined(several: Sequence[str], groups: dict[str, list[str]]) -> str:
    found = [conditions.split_condition(sentence) for sentence in several]
    paths = [path for condition, _ in found if condition for path in condition.paths]
    action = found[0][1]
    tops = {path[0] for path in paths}
    if len(paths) == len(several) and len(tops) == 1 and all(len(path) > 1 for path in paths):
        top = tops.pop()
        others = [one for group in groups.values() if group is not several for one in group]
        if not any(f"{top}/" in one for one in others):
            return f"For {top} tasks, {action}"
    said = dict.fromkeys(condition.said for condition, _ in found if condition)
    return f"For {text.in_words(list(said), 'or')} tasks, {action}"
