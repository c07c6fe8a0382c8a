"""Options that are declared once, as the fields of a dataclass, and taken by any command as one parameter."""

import copy
import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, cast, get_args, get_type_hints

R = TypeVar("R")


def grouped(command: Callable[..., R]) -> Callable[..., R]:
    """A command for typer, made of a function some of whose parameters are groups of options.

    A group is a dataclass; each field is an option with its default, `name: Annotated[...] = None`. Typer
    reads a signature in which the fields stand in the group's place; the function gets the group. Where a
    group has a `TITLE`, that is the heading of its options in help on a terminal.

    Args:
        command: Its groups are parameters annotated with a dataclass.

    Raises:
        ValueError: Two groups, or a group and the function, have an option of one name, or the default of an
            option is made by a function.
    """
    given = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {
        name: parameter.annotation
        for name, parameter in given.parameters.items()
        if dataclasses.is_dataclass(parameter.annotation)
    }
    options = [
        option
        for name, parameter in given.parameters.items()
        for option in (
            _fields_of(groups[name])
            if name in groups
            else [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
        )
    ]

    @functools.wraps(command)
    def taken(**values: Any) -> R:
        made = {
            name: group(**{field.name: values.pop(field.name) for field in dataclasses.fields(group)})
            for name, group in groups.items()
        }
        return command(**values, **made)

    vars(taken)["__signature__"] = given.replace(parameters=options)
    taken.__annotations__ = {option.name: option.annotation for option in options}
    return taken


def untold(command: Callable[..., R], *names: str) -> Callable[..., R]:
    """The same command for another name, under which these options say nothing: taken, and not told of.

    Args:
        command: Made by `grouped`.
        names: Of parameters.
    """

    @functools.wraps(command)
    def taken(**values: Any) -> R:
        return command(**values)

    given = inspect.signature(command)
    options = [
        one.replace(annotation=_hidden(one.annotation)) if one.name in names else one
        for one in given.parameters.values()
    ]
    vars(taken)["__signature__"] = given.replace(parameters=options)
    taken.__annotations__ = {option.name: option.annotation for option in options}
    return taken


def _hidden(annotation: Any) -> Any:
    kind, option = get_args(annotation)
    hidden = copy.copy(option)
    hidden.hidden = True
    return cast("Any", Annotated)[kind, hidden]


def _fields_of(group: Any) -> list[inspect.Parameter]:
    """The fields of a group as parameters; one without a default is a required option."""
    for field in dataclasses.fields(group):
        if field.default_factory is not dataclasses.MISSING:  # else it would be a required option
            raise ValueError(f"The option {field.name} of {group.__name__} needs a plain default.")
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=_under(getattr(group, "TITLE", None), hints[field.name]),
        )
        for field in dataclasses.fields(group)
    ]


def _under(title: str | None, annotation: Any) -> Any:
    """An option's annotation with the option under a heading; options are shared, so it is a copy."""
    kind, option = get_args(annotation)
    titled = copy.copy(option)
    titled.rich_help_panel = title
    return cast("Any", Annotated)[kind, titled]
