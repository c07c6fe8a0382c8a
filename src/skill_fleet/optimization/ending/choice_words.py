"""What a choice did to the number that it was made by, in words; the choosing itself loads DSPy."""

from collections.abc import Mapping
from typing import Any

_NOTABLE = 0.05


def choice_in_words(selection: Mapping[str, Any] | None) -> str | None:
    """What a reader must know of the choice; None where it flattered nobody."""
    if selection is None or selection["validation_gain"] <= 0:
        return None
    seen, untouched, number = (selection[name] for name in ("validation_gain", "test_gain", "candidates"))
    among = "one candidate" if number == 1 else f"{number} candidates"
    if untouched is None:
        return (
            f"The gain of {seen:+.3f} on the validation set is not corrected: it was chosen by that set "
            f"among {among}, and no untouched example was read."
        )
    if selection["optimism"] < _NOTABLE:
        return None
    why = "The difference can be luck" if number == 1 else f"Choosing among {among} flatters"
    return f"On the validation set it gained {seen:+.3f}, on unseen examples {untouched:+.3f}. {why}."
