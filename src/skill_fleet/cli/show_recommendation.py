"""Which optimizer, for a person with two minutes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skill_fleet.cli.numbers import UNKNOWN, between, count, dollars, seconds, several
from skill_fleet.cli.tables import facts, group, rows, words

if TYPE_CHECKING:
    from rich.console import RenderableType


_CAPS = {"usd": "${:g}", "calls": "{:,} calls", "tokens": "{:,} tokens", "minutes": "{:g} minutes"}


def shown_recommendation(value: Mapping[str, Any]) -> "RenderableType":
    """The choice, why, what else there is, and what past runs say."""
    from skill_fleet.llm.offline.notice import SIMULATED_NOTICE

    chosen = value["optimizer"]
    headline = f"{chosen}, effort {value['effort']}." if chosen else "Nothing fits."
    return group(
        words(headline, "bold green" if chosen else "bold yellow"),
        words(f"{value['reason']}\n"),
        facts(_facts(value)),
        words(""),
        _options(value["options"]),
        _modules(value["modules"]),
        _past(value["past"]),
        *(
            words(f"! The run {name} cannot be read and counts for nothing.", "yellow")
            for name in _unread(value)
        ),
        words("\nNothing was spent.", "dim"),
        words(f"SIMULATED: {SIMULATED_NOTICE}", "magenta") if value["simulated"] else None,
    )


def said_recommendation(value: Mapping[str, Any]) -> list[str]:
    """The choice in a few lines, before a run."""
    lines = [f"Optimizer: {value['optimizer']}. {value['reason']}"]
    others = [one for one in value["options"] if one["code"] != "chosen"]
    if others:
        lines.append(
            "Otherwise: "
            + "; ".join(f"{o['optimizer']}, {between(o['price']['calls'])} calls" for o in others)
        )
    lines += [
        f"An unfinished run of this program can be gone on with: {one['command']}"
        for one in value["resumable"][:1]
    ]
    return lines


def _facts(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    situation = value["situation"]
    pairs = [
        ("program", value["program"]),
        ("model", value["model"]),
        ("training examples", count(situation["train"])),
        ("metric", "says in words what was wrong" if situation["words"] else "gives a number only"),
    ]
    limits = [
        show.format(cap) for name, show in _CAPS.items() if (cap := situation["limits"][name]) is not None
    ]
    pairs.append(("caps", ", ".join(limits) or "none"))
    pairs += [("can be resumed", one["command"]) for one in value["resumable"][:3]]
    return pairs


def _options(options: Sequence[Mapping[str, Any]]) -> "RenderableType":
    lines = []
    for one in options:
        learnt = f" Price by {several(one['learnt_from'], 'past run')}." if one["learnt_from"] else ""
        why = "chosen" if one["code"] == "chosen" else one["reason"]
        lines.append((one["optimizer"], *_price(one["price"]), f"{why}{learnt}"))
    return rows(("!optimizer", "calls", "cost", "time", ""), lines)


def _price(price: Mapping[str, Any]) -> tuple[str, str, str]:
    minutes = price["minutes"]
    return (
        between(price["calls"]),
        between(price["usd"], dollars),
        between([60 * end for end in minutes], seconds),
    )


def _modules(modules: Sequence[Mapping[str, Any]]) -> "RenderableType | None":
    if not modules:
        return None
    by_price: dict[tuple[str, str, str], list[str]] = {}
    for one in modules:
        by_price.setdefault(_price(one), []).append(one["module"])
    lines = [(" or ".join(names), *price) for price, names in by_price.items()]
    headings = ("--module", "calls", "cost", "time")
    return group(words("\nOne predictor first takes less:"), rows(headings, lines))


def _past(past: Sequence[Mapping[str, Any]]) -> "RenderableType":
    if not past:
        return words("\nNo finished run of this program on this model to learn from.", "dim")
    lines = [
        (
            one["optimizer"],
            count(one["runs"]),
            count(one["better"]),
            UNKNOWN if one["gain"] is None else f"{one['gain']:+.3f}",
            count(one["calls"]),
            dollars(one["usd"]),
            seconds(60 * one["minutes"]),
        )
        for one in past
    ]
    headings = ("!past runs", "runs", "better", "gain", "calls", "cost", "time")
    return group(words(""), rows(headings, lines, right=("runs", "better", "gain", "calls")))


def _unread(value: Mapping[str, Any]) -> Sequence[str]:
    return list(value["past_unreadable"])
