"""Help as plain text, with a heading over options and commands that belong together."""

from typing import Any

from typer.core import TyperCommand, TyperGroup

Row = tuple[str, str]


class HeadedCommand(TyperCommand):
    """A command whose help has its options under their headings (`rich_help_panel`)."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # type: ignore[explicit-override]
        """Write the options, each heading's together."""
        _write(formatter, _options(self, ctx))


class HeadedGroup(TyperGroup):
    """Commands whose help has them under their headings (`rich_help_panel`), the options last."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # type: ignore[explicit-override]
        """Write the commands, then the options."""
        self.format_commands(ctx, formatter)
        _write(formatter, _options(self, ctx))

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # type: ignore[explicit-override]
        """Write the commands, each with the first sentence of its help."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        shown = [(name, command) for name, command in found if command is not None and not command.hidden]
        widest = max((len(name) for name, _ in shown), default=0)
        sections: dict[str, list[Row]] = {}
        for name, command in shown:
            summary = command.get_short_help_str(formatter.width - widest - 6)
            title = getattr(command, "rich_help_panel", None) or "Commands"
            sections.setdefault(title, []).append((name.ljust(widest), summary))
        _write(formatter, sections)


def _options(command: TyperCommand | TyperGroup, ctx: Any) -> dict[str, list[Row]]:
    sections: dict[str, list[Row]] = {"Arguments": [], "Options": []}
    for parameter in command.get_params(ctx):
        if (row := parameter.get_help_record(ctx)) is not None:
            if parameter.param_type_name == "argument":
                sections["Arguments"].append((row[0].partition(" <")[0], row[1]))  # without `<str>`
            else:
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(row)
    return sections


def _write(formatter: Any, sections: dict[str, list[Row]]) -> None:
    for title, rows in sections.items():
        if not rows:
            continue
        with formatter.section(title):
            formatter.write_dl(rows)
