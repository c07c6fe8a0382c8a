"""Models, for people: what is registered, and how a test of them went."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skill_fleet.cli.numbers import UNKNOWN, cents, count, dollars
from skill_fleet.cli.tables import facts, group, rows, words

if TYPE_CHECKING:
    from rich.console import RenderableType


def shown_models(found: Sequence[Mapping[str, Any]]) -> "RenderableType":
    """Every registered model; a column of limits where one has some."""
    limited = any(_limits(one) for one in found)
    lines = [
        (
            f"{one['name']}{' (default)' if one['default'] else ''}",
            one["model"],
            ", ".join(one["phases"]) or UNKNOWN,
            _price(one),
            *([", ".join(_limits(one)) or UNKNOWN] if limited else []),
            _key(one),
        )
        for one in found
    ]
    headings = ["!name", "model", "phases", "$/M tokens", *(["limits"] if limited else []), "key"]
    return rows(headings, lines)


def shown_trials(found: Sequence[Mapping[str, Any]]) -> "RenderableType":
    """Each model that was asked, with what came of it."""
    parts: list[RenderableType] = []
    for one in found:
        parts += [_head(one), facts(_facts(one)), words("")]
    return group(*parts[:-1])


def _head(one: Mapping[str, Any]) -> "RenderableType":
    place = f" at {one['address']}" if one["address"] else ""
    said = "answers" if one["ok"] else "fails"
    return words(f"{one['name']} {said}: {one['model']}{place}", "bold green" if one["ok"] else "bold red")


def _facts(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    told: list[tuple[str, str]] = []
    if one["simulated"]:
        told.append(("simulated", "a simulator answers, not a language model"))
    if one["error"] is not None:
        told.append((one["error"]["code"], one["error"]["message"]))
        if one["error"]["hint"]:
            told.append(("to do", one["error"]["hint"]))
    if one["answer"] is not None:
        read = "" if one["parsed"] else " (the fields that were asked for are not in it)"
        told.append(("answer", f"{one['answer']}{read}"))
    if one["latency_seconds"] is not None:
        told.append(("latency", f"{one['latency_seconds']:.2f} s"))
    told += _details(one) if one["error"] is None else [("cost", _cost(one))]
    return told


def _details(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    limits = ", ".join(f"{name} {value}" for name, value in one["limits"].items())
    told = [
        ("finish", one["finish_reason"] or "unknown"),
        ("tokens", _tokens(one["tokens"])),
        ("cost", _cost(one)),
        ("$/M tokens", _price(one)),
        ("seed", one["seed"]),
        ("limits", limits or "the answer tells none"),
    ]
    if one["context_length"] is not None:
        told.append(("context", f"{count(one['context_length'])} tokens"))
    return told


def _cost(one: Mapping[str, Any]) -> str:
    return dollars(one["usd"]) if one["usd"] == 0 else cents(one["usd"])


def _tokens(tokens: Mapping[str, int | None]) -> str:
    if tokens["input"] is None or tokens["output"] is None:
        return "unknown"
    return f"{count(tokens['input'])} in, {count(tokens['output'])} out"


def _limits(one: Mapping[str, Any]) -> list[str]:
    names = (("rpm", "requests/min"), ("tpm", "tokens/min"), ("in_flight", "at once"))
    return [f"{count(one[key])} {unit}" for key, unit in names if one[key] is not None]


def _price(one: Mapping[str, Any]) -> str:
    if one["price"] is None:
        return "unknown"
    if one["model"].startswith("offline/") and not any(one["price"].values()):
        return "0 (simulated)"
    return f"{one['price']['input_per_million']:g} in, {one['price']['output_per_million']:g} out"


def _key(one: Mapping[str, Any]) -> str:
    if one["key"] is None:
        return UNKNOWN
    return f"{' or '.join(one['key_variables'])} {'is set' if one['key'] else 'is empty'}"
