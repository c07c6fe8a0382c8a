"""What is turned away whatever the pace: a gateway that says 429 now and then, a bad day, a neighbour.

A call that is turned away is first put down to the pace, and the pace is lowered. Where that happens again
and again, a trial tells: some calls at a much lower pace. If none of them is turned away, it was the pace. If
some are, their share is borne from then on: only what is clearly above it counts.
"""

import math
from collections import deque
from dataclasses import dataclass

_OFTEN = 2
_SECONDS = 4.0
_LATELY = 30.0
_SHARE = 0.025
_FEWEST, _MOST = 10, 60
_ENOUGH = 3
_CONVINCING = 25
_BORNE = 0.5
_DOUBT = 5.0
# Turned away though the answer said that there was room: so large a share is borne before that is doubted.
_DESPITE_ROOM = 0.25


@dataclass
class _Trial:
    calls: int
    ended: int = 0
    refused: int = 0


class Chance:
    """The share of calls that are turned away for no reason of ours. Not locked: its owner is."""

    def __init__(self) -> None:
        self.share = 0.0
        self.highest = 0.0
        self.helped = True
        self._trial: _Trial | None = None
        self._blamed: deque[tuple[float, float, int, int]] = deque(maxlen=10)
        self._ended = self._refused = 0
        self._sure, self._sure_until = 1.0, -math.inf

    def ended(self, now: float, *, refused: bool) -> bool:
        """A call at the present pace was answered or turned away.

        Returns:
            Whether that ended a trial; `share` is what it found.
        """
        self._ended += 1
        self._refused += refused
        trial = self._trial
        if trial is None:
            return False
        trial.ended += 1
        trial.refused += refused
        if trial.ended < _FEWEST or (trial.ended < trial.calls and trial.refused < _ENOUGH):
            return False
        found = trial.refused / trial.ended
        self.share = found if found <= _BORNE else 0.0  # who turns most away means it
        self.helped = not self.share and trial.ended >= _CONVINCING
        self._trial = None
        self._blamed.clear()
        # It may have been luck: the less often the pace was found to be why, the sooner that is tried again.
        self._sure = 1.0 if self.share else 2.0 * self._sure
        self._sure_until = now + (_LATELY if self.share else _DOUBT * self._sure)
        return True

    @property
    def on_trial(self) -> bool:
        """Whether calls go at a lower pace, to see what becomes of them."""
        return self._trial is not None

    def explains(self, refused: int, sent: int, *, room: bool) -> bool:
        """Whether what is turned away lately is no more than was to be expected.

        Args:
            refused: Of the last calls at the present pace, known to be turned away.
            sent: How many these were. Refusals come back sooner than answers: who is under way counts here.
            room: Whether the last refusal came with the word that there is room.
        """
        if self._trial is not None:
            return True
        share = max(self.share, _DESPITE_ROOM if room else 0.0)
        if share == 0.0:
            return False
        spread = math.sqrt(sent * share * (1.0 - share))
        return refused <= sent * share + 3.0 * spread + 1.0

    def blame(self, now: float, rate: float) -> bool:
        """Put a refusal down to the pace, which is lowered.

        Args:
            now: The time.
            rate: At which the call went.

        Returns:
            Whether that was done so often that it is to be tried whether it helps at all.
        """
        self._blamed.append((now, rate, self._ended, self._refused))
        since = [blamed for blamed in self._blamed if now - blamed[0] <= _LATELY]
        _, _, ended, refused = since[0]
        found = (self._refused - refused) / max(1, self._ended - ended)
        if len(since) <= _OFTEN or found < _SHARE or (self.share == 0.0 and now < self._sure_until):
            return False
        self.highest = max(rate for _, rate, _, _ in since)
        return self._tries(rate, found)

    def doubts(self, now: float, rate: float) -> bool:
        """Whether it is time to try again if what is borne is still not due to the pace."""
        return self.share > 0.0 and now >= self._sure_until and self._tries(rate, self.share)

    def _tries(self, rate: float, share: float) -> bool:
        calls = max(_FEWEST, min(_MOST, round(_SECONDS * rate), round(2.5 / share)))
        if calls > 1.2 * _SECONDS * rate:
            return False  # it would take too long
        self._trial = _Trial(calls)
        return True
