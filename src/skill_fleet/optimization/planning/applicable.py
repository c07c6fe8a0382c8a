"""Whether an optimizer can be used as it is asked to be: its settings are in the range it declares."""

from collections.abc import Collection

from skill_fleet.foundation.errors import UsageError
from skill_fleet.optimization.optimizer import Choosy, Optimizer
from skill_fleet.optimization.records.request import OptimizationRequest
from skill_fleet.optimization.search import Effort

_MEASURED = ("trials", "max_bootstrapped_demos", "max_labeled_demos")


def check_ranges(optimizer: Optimizer, request: OptimizationRequest) -> None:
    """Refuse a number that the optimizer does not take.

    Raises:
        UsageError: One is out of range; the sentence names the range.
    """
    info = optimizer.info
    declared = {parameter.name: parameter for parameter in info.parameters}
    for name in _MEASURED:
        value, parameter = getattr(request, name), declared.get(name)
        if value is not None and parameter is not None and not parameter.allows(value):
            raise UsageError(
                f"{_option(name)} of {info.name} must be {_words(parameter.range)}, not {value}."
            )
    effort = Effort(
        request.auto,
        request.trials,
        request.max_bootstrapped_demos,
        request.max_labeled_demos,
        request.num_threads,
    )
    if isinstance(optimizer, Choosy) and (refused := optimizer.refused(effort)):
        raise UsageError(refused)


def check_given(optimizer: Optimizer, given: Collection[str]) -> None:
    """Refuse an option that was given and says nothing to the optimizer.

    Args:
        optimizer: Chosen by name.
        given: Names of parameters that were given on the command line; defaults are not.

    Raises:
        UsageError: It has no such parameter; the sentence names those it has.
    """
    info = optimizer.info
    declared = [parameter.name for parameter in info.parameters]
    for name in _MEASURED:
        if name in given and name not in declared:
            options = ", ".join(_option(known) for known in declared)
            raise UsageError(f"{_option(name)} says nothing to {info.name}.", hint=f"It takes: {options}.")


def _words(numbers: str) -> str:
    return f"at least {numbers[3:]}" if numbers.startswith(">= ") else numbers.replace("-", " to ")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
