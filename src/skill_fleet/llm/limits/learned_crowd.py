"""How many calls at once a provider was found to bear, where that and not their rate is what it limits.

A 429 seldom says which limit it means. What tells them apart: where calls at once are limited, every call
that was turned away found more under way than any that was answered; where a rate is, the two are mixed.
"""

from collections import deque

_ENOUGH = 3
_BORNE = 200
_QUIET = 200


class LearnedCrowd:
    """The most calls at once, once they seem to be limited. Not locked: its owner is."""

    def __init__(self) -> None:
        self.most: int | None = None
        self._borne: deque[int] = deque(maxlen=_BORNE)
        self._crowded: list[int] = []
        self._needed = _ENOUGH
        self._quiet = 0

    def answered(self, under_way: int) -> None:
        """A call was answered that had so many under way, itself included."""
        self._borne.append(under_way)
        if self.most is None:
            return
        self._quiet += under_way >= self.most
        if self._quiet >= _QUIET:
            self.most, self._quiet = self.most + 1, 0

    def rejected(self, under_way: int) -> bool:
        """A call was turned away that had so many under way, itself included.

        Returns:
            Whether that is now known to be why, and no longer put down to a rate.
        """
        self._quiet = 0
        if under_way < 2 or any(borne >= under_way for borne in self._borne):
            if self.most is not None and under_way <= self.most:
                self.most = None
                self._needed *= 2  # it looked so, and was not
            self._crowded.clear()
            return False
        self._crowded.append(under_way)
        if self.most is None and len(self._crowded) < self._needed:
            return False
        self.most = min(self._crowded) - 1
        self._crowded.clear()
        return True
