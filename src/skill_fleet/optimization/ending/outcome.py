"""What a result without a verdict has to say, for the terminal and the report alike."""

from collections.abc import Mapping
from typing import Any


def folded(result: Mapping[str, Any]) -> bool:
    """Whether the run was asked for with folds: it has no sealed test, and perhaps no fold that is done."""
    return bool(result["folds"]) or not result["examples"]["test"]


def nothing_found(result: Mapping[str, Any]) -> bool:
    """Whether the search chose, and what it chose is the plain program."""
    return any(point["chosen"] and point["round"] == 0 for point in result["pareto"])


def cut_off(result: Mapping[str, Any]) -> bool:
    """Whether something stopped the search in the middle of a round."""
    return any(one.get("stopped") for one in result["rounds"][-1:])


def without_verdict(result: Mapping[str, Any]) -> str:
    """Why there is nothing to conclude, in a sentence."""
    if not nothing_found(result):
        return "Not all folds were measured." if folded(result) else "Not measured on the sealed test."
    if cut_off(result):
        return "The search was cut off before it found anything better."
    if result["status"] != "succeeded":
        return "Nothing better was found so far."
    kept = "what is published" if result["published"] == "incumbent" else "the plain program"
    return f"Nothing better was found; {kept} was kept."


def nothing_compared(result: Mapping[str, Any]) -> str:
    """Why there is no p-value."""
    if nothing_found(result) and cut_off(result):
        return "none: the search was cut off before it found anything better, so there is nothing to compare"
    if nothing_found(result):
        return "none: no program did better on the validation set, so there is nothing to compare"
    return f"none: the optimized program was not measured on {'all folds' if folded(result) else 'the test'}"
