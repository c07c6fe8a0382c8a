"""Luck that repeats: every decision is a draw fixed by seed, item, prompt and rollout.

A draw mixes three standard normal parts (a probit model): how hard this *item* is for this model, how
this very *prompt* happens to strike it, and, above temperature 0, the chance of the single *rollout*. So
a hard example stays hard under every instruction, equal prompts get equal answers, and rollouts differ
only when asked to.
"""

import functools
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeVar

T = TypeVar("T")

ITEM_SHARE = 0.35
"""Share of a draw's variance that belongs to the item, whatever the prompt says."""
ROLLOUT_SHARE = 0.5
"""Standard deviation, at temperature 1, of what a rollout adds to a draw."""

_NORMAL = NormalDist()


def digest(*parts: str) -> str:
    """Sixteen hexadecimal digits for the parts, in order."""
    hasher = hashlib.blake2b(digest_size=8)
    for part in parts:
        hasher.update(part.encode("utf-8", "replace"))
        hasher.update(b"\x1f")
    return hasher.hexdigest()


def uniform(*parts: str) -> float:
    """A number in (0, 1) fixed by the parts."""
    return (int(digest(*parts), 16) + 0.5) / 2.0**64


@functools.lru_cache(maxsize=65536)
def _item_normal(seed: str, item: str, what: str) -> float:
    return _NORMAL.inv_cdf(uniform(seed, item, what))


@functools.lru_cache(maxsize=4096)
def _bar(probability: float) -> float:
    return _NORMAL.inv_cdf(probability)


@dataclass(frozen=True, slots=True)
class Draws:
    """The luck of one call.

    Attributes:
        seed: Which simulated model this is.
        prompt: Digest of everything the prompt says.
        item: Digest of the example the call is about.
        temperature: As requested; 0 means that the rollout changes nothing.
        rollout: Rollout id and candidate index as one text, empty at temperature 0.
    """

    seed: str
    prompt: str
    item: str
    temperature: float = 0.0
    rollout: str = ""

    def happens(self, probability: float, what: str) -> bool:
        """Whether the thing named `what` happens, with the given marginal probability."""
        if probability <= 0.001:
            return False
        if probability >= 0.999:
            return True
        z = math.sqrt(ITEM_SHARE) * _item_normal(self.seed, self.item, what)
        z += math.sqrt(1 - ITEM_SHARE) * _NORMAL.inv_cdf(uniform(self.seed, self.prompt, what))
        if self.rollout:
            spread = ROLLOUT_SHARE * min(self.temperature, 2.0)
            z += spread * _NORMAL.inv_cdf(uniform(self.seed, self.prompt, self.rollout, what))
            z /= math.sqrt(1 + spread * spread)
        return z < _bar(round(probability, 4))

    def number(self, what: str) -> float:
        """A uniform number in (0, 1) of this prompt and rollout."""
        return uniform(self.seed, self.prompt, self.rollout, what)

    def taste(self, what: str) -> float:
        """A uniform number in (0, 1) of the item alone: the same under every instruction."""
        return uniform(self.seed, self.item, what)

    def pick(self, options: Sequence[T], what: str) -> T:
        """One of the options, by the item's taste; varied by the rollout when there is one."""
        number = uniform(self.seed, self.item, self.rollout, what)
        return options[int(number * len(options))]

    def shuffled(self, options: Sequence[T], what: str) -> list[T]:
        """The options in an order of this prompt and rollout."""
        keyed = [(self.number(f"{what}{index}"), index) for index in range(len(options))]
        return [options[index] for _, index in sorted(keyed)]
