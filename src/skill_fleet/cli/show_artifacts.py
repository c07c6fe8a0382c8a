"""Published programs for people: the list, one, and what was put in the place of what."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skill_fleet.cli.numbers import UNKNOWN, dollars, score
from skill_fleet.cli.tables import facts, group, rows, words

if TYPE_CHECKING:
    from rich.console import RenderableType

_SIMULATED = " ~"
_SHOWN = {
    "better": "It was shown to be better than the plain program.",
    "worse": "It was shown to be worse than the plain program.",
    "not_shown": "It was not shown to be better than the plain program.",
}


def shown_artifacts(found: Sequence[Mapping[str, Any]]) -> "RenderableType":
    """All programs and versions, in 80 columns; which run each is from says `shown_artifact`."""
    lines = [
        (
            one["name"],
            f"{one['version']} *" if one["current"] else one["version"],
            one["optimizer"] or ("plain" if one["program"] else UNKNOWN),
            one["verdict"] or UNKNOWN,
            f"{score(one['quality'])}{_SIMULATED if one['simulated'] else ''}",
            _time(one["created_at"]),
        )
        for one in found
    ]
    heads = ("name", "!version", "optimizer", "!verdict", "quality", "!made")
    problems = [
        words(f"! {one['name']}@{one['version']}: {one['problem']}") for one in found if one["problem"]
    ]
    marks = [
        *(["* is published"] if any(one["current"] for one in found) else []),
        *(["~ is by the built-in simulator"] if any(one["simulated"] for one in found) else []),
    ]
    legend = words(f"\n{', '.join(marks)}", "dim") if marks else None
    return group(rows(heads, lines, right=("quality",)), legend, *problems)


def shown_artifact(value: Mapping[str, Any]) -> "RenderableType":
    """One program."""
    changed = value["instructions"]
    texts = [words(f"\n{name}:\n{text['now']}") for name, text in changed.items()]
    notes = [words(f"! {note}", "yellow") for note in value["notes"]]
    return group(facts(_facts(value)), *notes, *texts)


def shown_change(value: Mapping[str, Any]) -> "RenderableType":
    """What is published now, and what was before."""
    pairs = [
        ("published", f"{value['artifact']} (version {value['version']})"),
        ("replaced", _replaced(value)),
    ]
    if "run_id" in value:
        pairs += [("run", value["run_id"]), ("verdict", _verdict(value["verdict"]))]
    return group(facts(pairs), *(words(f"! {note}", "yellow") for note in value["notes"]))


def _replaced(value: Mapping[str, Any]) -> str:
    if value["replaced"]:
        return f"version {value['replaced']}, which is kept"
    return "nothing: the same program was published before" if value.get("unchanged") else "nothing"


def _facts(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    state = "published" if value["current"] else "replaced"
    yield "name", f"{value['name']}@{value['version']} ({state})"
    yield "file", value["path"]
    manifest = value["manifest"]
    if manifest is not None:
        yield "program", manifest["program"]
        how = manifest["optimizer"] or "none: the plain program"
        yield "optimizer", how
        yield (
            "run",
            f"{manifest['run_id'] or UNKNOWN} ({_time(manifest['created_at'])}, seed {manifest['seed']})",
        )
        yield "models", _models(manifest["models"])
        yield "verdict", _verdict(manifest["verdict"]) if manifest["optimizer"] else UNKNOWN
        yield "quality", _scores(manifest)
        yield "cost", dollars(manifest["cost"].get("usd"))
        yield "made with", ", ".join(f"{name} {number}" for name, number in manifest["versions"].items())
    if value["recipe"] is not None:
        yield "recipe", _recipe(value["recipe"])
    changed, demos = value["instructions"], value["demos"]
    yield "instructions", f"{len(changed)} of {len(demos)} changed"
    shown = ", ".join(f"{name} {number}" for name, number in demos.items() if number)
    yield "demos", f"{sum(demos.values())}" + (f" ({shown})" if shown else "")


def _recipe(recipe: Mapping[str, Any]) -> str:
    told = {"kind", "members", "runs_per_answer"}
    how = ", ".join(f"{name} {value}" for name, value in recipe.items() if name not in told)
    members = "1 program" if recipe["members"] == 1 else f"{recipe['members']} programs"
    most = recipe["runs_per_answer"]
    takes = "1 run" if most == 1 else f"{most} runs at most"
    return f"{recipe['kind']} ({how or members}); an answer takes {takes}"


def _verdict(verdict: str | None) -> str:
    return UNKNOWN if verdict is None else f"{verdict}. {_SHOWN.get(verdict, '')}".strip()


def _scores(manifest: Mapping[str, Any]) -> str:
    """Baseline and optimized on the sealed test or held-out folds, or on validation where that is all."""
    scores = manifest["scores"]
    baseline, found = scores.get("baseline") or {}, scores.get("optimized") or {}
    part = "test" if found.get("test") is not None else "validation"
    # With folds no example is sealed: the means are of all, each held out once.
    sealed = (manifest["data"].get("examples") or {}).get("test")
    where = "held out" if part == "test" and sealed == 0 else part
    return f"{score(baseline.get(part))} → {score(found.get(part))} ({where})"


def _models(models: Mapping[str, Any]) -> str:
    named = {str(one.get("model", one)) if isinstance(one, dict) else str(one) for one in models.values()}
    return ", ".join(sorted(named)) or UNKNOWN


def _time(text: str | None) -> str:
    return UNKNOWN if text is None else text[:16].replace("T", " ")
