"""Whether the provider answers at all: what a cap on minutes asks before it takes the blame."""

from skill_fleet.foundation.errors import ProviderError

_SPELL = 6
"""So many failures one after another, after answers, are an outage: as many as one call has attempts."""


class Outage:
    """Failed attempts since the last answer of a process. Not locked: its owner is."""

    def __init__(self) -> None:
        self._answered = False
        self._failures = 0
        self._last: ProviderError | None = None

    def answer(self) -> None:
        """The provider answered."""
        self._answered, self._failures, self._last = True, 0, None

    def failure(self, error: ProviderError) -> None:
        """An attempt failed in a way that is not the request's fault."""
        self._failures += 1
        self._last = error

    def blamed(self, cap: str) -> ProviderError | None:
        """Why time ran out, where the provider is why; None where it answers.

        Args:
            cap: The cap in words.
        """
        if self._last is None or (self._answered and self._failures < _SPELL):
            return None
        number = (
            "the only attempt" if self._failures == 1 else f"{self._failures} of {self._failures} attempts"
        )
        if self._answered:
            number = f"the last {self._failures} attempts"
        return ProviderError(
            f"The cap of {cap} is reached and {number} failed, at last: {self._last.message}",
            hint=f"{self._last.hint} Raise the cap too.",
            code=self._last.code,
        )
