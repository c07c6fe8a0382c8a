"""How far a job is, as one number and one sentence, from the events of its run.

The number lies in the window of the stage that the run is in, and moves within it by what is done of the
stage: preflight to 0.02, baseline to 0.10, rounds to 0.85 in equal parts, sealed test to 0.98, then what is
published. Measurements count their examples. A search does not know its length: it counts the calls it has
made against those that a round is expected to take, which are the middle of the run's estimate (geometric,
since its ends lie far apart) shared among the rounds; what exceeds that stays at the end of its window. With
K-fold the run as such and each fold have a window of equal width, cut in the same way.

The number never falls, so a run that ends early jumps, and one that is gone on with stands until it is
further than it was. Once something has cut it short (a cap, a pause, …) it stands where it was by its calls:
what is still measured of the best so far is not the way to the end.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_PREFLIGHT = (0.0, 0.02)
_BASELINE = (0.02, 0.10)
_ROUNDS = (0.10, 0.85)
_TEST = (0.85, 0.98)
_SEARCHED = 0.9
_FEWEST_CALLS = 20.0
_TESTED = 2  # the baseline and the candidate; an incumbent comes on top

_WORDS = {
    "preflight": "Preflight",
    "baseline": "Measuring the baseline",
    "validation": "Measuring the candidate",
    "candidates": "Looking through the candidates",
    "held out": "Measuring the held-out examples",
    "sealed test": "Sealed test",
}
_ENDS = {"preflight": 0.02, "baseline": 0.10}
_PUBLISHED = 0.99


@dataclass
class RunProgress:
    """How far a run is, as its events come in.

    Args:
        rounds: Most rounds.
        folds: Folds in all; 0 is one sealed test.
        expected: Calls that the whole run is expected to take: `[low, high]` of its estimate; None where it
            is not known.
    """

    rounds: int
    folds: int = 0
    expected: tuple[float, float] | None = None
    value: float = 0.0
    message: str = "Starting."
    _round: int = field(default=1, repr=False)
    _before: int = field(default=0, repr=False)
    _tested: int = field(default=0, repr=False)
    _cut: bool = field(default=False, repr=False)

    def see(self, kind: str, data: Mapping[str, Any]) -> None:
        """An event of the run, kept or not."""
        part = int(data.get("fold", 0))
        parts = 1 + self.folds
        if data.get("stopped") not in {None, "withheld"}:  # a round without its proposals is not the end
            self.cut_short()
        if kind == "finished":
            done = data.get("status") == "succeeded"
            self.value = 1.0 if done else self.value
            self.message = "Done." if done else "Stopped."
        elif kind == "waiting":
            self.message = str(data["message"])
        elif kind == "progress":
            within, words = self._stage(data)
            told = f"Fold {part} of {self.folds}: {words[0].lower()}{words[1:]}" if part else words
            self._move((part + within) / parts, told)
        else:
            within = self._milestone(kind, data)
            self._move((part + within) / parts, self.message)

    def cut_short(self) -> None:
        """The run does not get to its end this time: it moves no more."""
        self._cut = True

    def _move(self, value: float, message: str) -> None:
        if not self._cut:
            self.value = max(self.value, min(1.0, value))
        self.message = message

    def _stage(self, data: Mapping[str, Any]) -> tuple[float, str]:
        """Where in its part of the run a stage is, and that in words."""
        stage, done, total = str(data["stage"]), data.get("done", 0), data.get("total")
        share = done / total if total else 0.0
        counted = f", {done} of {total} examples." if total else "."
        if stage == "search":
            return self._search(data)
        words = _WORDS.get(stage, stage[:1].upper() + stage[1:]) + counted
        if stage in {"validation", "candidates"}:
            own = _SEARCHED + (1 - _SEARCHED) * share / (2 if stage == "validation" else 1)
            return self._in_round(own), f"Round {self._round} of {self.rounds}: {words[0].lower()}{words[1:]}"
        if stage == "sealed test":
            share = min(1.0, (self._tested + share) / _TESTED)
        windows = {"preflight": _PREFLIGHT, "baseline": _BASELINE}
        low, high = windows.get(stage, _TEST)
        return low + (high - low) * share, words

    def _search(self, data: Mapping[str, Any]) -> tuple[float, str]:
        number, calls = int(data["round"]), int(data["calls"])
        if number != self._round or not data.get("rollouts"):
            self._round, self._before = number, calls
        made = calls - self._before
        within = _SEARCHED * min(1.0, made / self._calls_of_a_round())
        said = f"Round {number} of {self.rounds}: searching, {made:,} {'call' if made == 1 else 'calls'}."
        return self._in_round(within), said

    def _in_round(self, share: float) -> float:
        low, high = _ROUNDS
        return low + (high - low) * (self._round - 1 + share) / self.rounds

    def _calls_of_a_round(self) -> float:
        low, high = self.expected or (_FEWEST_CALLS, 50 * _FEWEST_CALLS)
        whole = math.sqrt(max(low, 1.0) * max(high, 1.0))
        share = (_ROUNDS[1] - _ROUNDS[0]) / self.rounds / (1 + self.folds)
        return max(_FEWEST_CALLS, whole * share)

    def _milestone(self, kind: str, data: Mapping[str, Any]) -> float:
        if kind == "round":
            self._round = int(data["round"])
            return self._in_round(1.0)
        if kind == "test":
            self._tested += 1
            low, high = _TEST
            return low + (high - low) * min(1.0, self._tested / _TESTED)
        if kind == "fold":
            return 1.0
        if kind == "published":  # what a cap stopped before its test is published too
            return _PUBLISHED if self._tested >= _TESTED else 0.0
        return _ENDS.get(kind, 0.0)
