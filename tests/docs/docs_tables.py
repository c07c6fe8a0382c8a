"""Tables of the reference that are made of the program itself.

They stand in the pages between `<!-- made: NAME -->` and `<!-- end -->`.

    python tests/docs/docs_tables.py PAGE...    make the tables of the pages anew
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

MADE = re.compile(r"(<!-- made: (?P<name>[^\n]+?) -->\n)(?P<text>.*?)(<!-- end -->)", re.DOTALL)


def made(name: str) -> str:
    """The table of that name.

    `command WORDS`, `optimizer NAME`, `body OPERATION`, or `errors`, `problems`, `commands`, `routes`,
    `providers`.
    """
    kind, _, rest = name.partition(" ")
    if kind == "command":
        return command_table(rest)
    if kind == "optimizer":
        return optimizer_table(rest)
    if kind == "body":
        return body_table(rest)
    tables = {
        "errors": errors_table,
        "problems": problems_table,
        "commands": commands_table,
        "routes": routes_table,
        "providers": providers_table,
    }
    return tables[name]()


def commands() -> dict[str, Any]:
    """Every command that does something, by its words."""
    import typer

    from skill_fleet.cli.app import build

    return dict(_walk(typer.main.get_command(build()), ()))


def command_table(words: str) -> str:
    """The arguments and options of a command, as its `--help` has them."""
    command = commands()[words]
    context = command.make_context(words, [], resilient_parsing=True)
    records = filter(None, (param.get_help_record(context) for param in command.params))
    rows = [(f"`{names.partition(' <str')[0].partition(' <list[')[0]}`", text) for names, text in records]
    return _table(("argument or option", "meaning"), rows)


def commands_table() -> str:
    """Every command and the first sentence of its help."""
    return _table(
        ("command", "does"), [(f"`{words}`", _first(command.help)) for words, command in commands().items()]
    )


def optimizer_table(name: str) -> str:
    """An optimizer as it describes itself."""
    from skill_fleet.optimization.registry import find_optimizer

    info = find_optimizer(name).info
    changes = ", ".join(info.changes)
    facts = f"{info.description}\n\n- changes: {changes}\n- needs: {info.needs}\n- cost: {info.cost}\n\n"
    rows = [
        (f"`--{one.name.replace('_', '-')}`", _shown(one.default), one.range, one.meaning)
        for one in info.parameters
    ]
    return facts + _table(("option", "default", "range", "meaning"), rows)


def errors_table() -> str:
    """Every error, its code and its exit code."""
    from skill_fleet.foundation.errors import SkillFleetError

    rows = [
        (f"`{kind.code}`", str(kind.exit_code), f"`{kind.__name__}`", _first(kind.__doc__))
        for kind in _errors(SkillFleetError)
    ]
    return _table(("code", "exit", "class", "meaning"), rows)


def providers_table() -> str:
    """Every provider that there is a route to."""
    from skill_fleet.llm.providers.routes import ROUTES

    rows = [
        (
            f"`{route.prefix}/`",
            route.label,
            f"`{route.address}`" if route.address else "yours",
            ", ".join(f"`{name}`" for name in route.keys) or "none",
            "yes" if route.seed else "",
        )
        for route in ROUTES
    ]
    return _table(("model", "provider", "address", "key in", "seed"), rows)


def problems_table() -> str:
    """Every code a refusal of the service can have, and its status."""
    from skill_fleet.api.problems import KINDS

    rows = [
        (f"`{code}`", str(kind.status), kind.title, "yes" if kind.retryable else "")
        for code, kind in sorted(KINDS.items(), key=lambda item: (item[1].status, item[0]))
    ]
    return _table(("code", "status", "title", "retryable"), rows)


def operations() -> dict[str, tuple[str, dict[str, Any]]]:
    """Every operation of the REST API by its name: method and path, and what OpenAPI says of it."""
    return {
        operation["operationId"]: (f"{method.upper()} {path.removeprefix('/api/v2')}", operation)
        for path, item in _openapi()["paths"].items()
        for method, operation in item.items()
    }


def routes_table() -> str:
    """Every call of the REST API, what a key must allow for it, and what it does."""
    return _table(
        ("call", "scope", "does", "answers"),
        [
            (f"`{call}`", one.get("x-scope", "–"), one["summary"], _answers(one))
            for call, one in operations().values()
        ],
    )


def body_table(operation: str) -> str:
    """The fields of an operation's body."""
    named = _openapi()["components"]["schemas"]
    (content,) = operations()[operation][1]["requestBody"]["content"].values()
    schema = named[_reference(content["schema"])]
    rows = [
        (
            f"`{name}`",
            _kind(field, named),
            "yes" if name in schema.get("required", ()) else "",
            _first(field.get("description")),
        )
        for name, field in schema["properties"].items()
    ]
    return _table(("field", "type", "required", "meaning"), rows)


def _openapi() -> dict[str, Any]:
    import types

    from skill_fleet.api.app import create_app
    from skill_fleet.services.context import open_context

    context = open_context(Path(__file__).parent, environ={})
    store = types.SimpleNamespace()
    return create_app(
        types.SimpleNamespace(context=context, keys=store, audit=store, database=store)  # type: ignore[arg-type]
    ).openapi()


def _answers(operation: dict[str, Any]) -> str:
    return ", ".join(status for status in operation["responses"] if int(status) < 400)


def _reference(schema: dict[str, Any]) -> str:
    return next(one["$ref"].rpartition("/")[2] for one in (schema, *schema.get("anyOf", ())) if "$ref" in one)


def _kind(schema: dict[str, Any], named: dict[str, Any]) -> str:
    """A type in words, with its range."""
    options = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    return " or ".join(_one_kind(one, named) for one in options)


def _one_kind(schema: dict[str, Any], named: dict[str, Any]) -> str:
    if "$ref" in schema:
        fields = named[_reference(schema)]["properties"]
        return "{" + ", ".join(f"`{name}`" for name in fields) + "}"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'], named)}"
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    return schema.get("type", "any") + ("" if low is None or high is None else f", {low:,.0f} to {high:,.0f}")


def _errors(kind: type) -> Iterator[type]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == kind.__module__:
            yield from _errors(child)


def _walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, child in command.commands.items():
        if getattr(child, "commands", None):
            yield from _walk(child, (*words, name))
        else:
            yield " ".join((*words, name)), child


def _first(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


def _shown(value: Any) -> str:
    return "–" if value is None else f"`{value}`"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def rewritten(page: str) -> str:
    """A page with its tables made anew."""
    return MADE.sub(lambda found: f"{found[1]}{made(found['name'])}{found[4]}", page)


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(rewritten(path.read_text()))
