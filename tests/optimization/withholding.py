"""The offline model behind a filter that withholds proposals, by what they ask and by nothing else."""

import hashlib
import re
from collections.abc import Callable
from typing import Any

from dspy.lm15 import Request, Response
from dspy.utils.exceptions import ContextWindowExceededError

from skill_fleet.llm.call_context import current_call
from skill_fleet.llm.failures import UnusableAnswer

Which = Callable[[str], bool]


def share_of(share: float) -> Which:
    """About such a share of all proposals, drawn from what is asked, its rollout and its number."""

    def which(asked: str) -> bool:
        call = current_call()
        drawn = hashlib.sha256(f"{asked} {call.rollout} {call.candidate}".encode()).digest()
        return int.from_bytes(drawn[:4]) < share * 2**32

    return which


def every(_asked: str) -> bool:
    """All proposals."""
    return True


class Withholding:
    """A model that never gives some proposals.

    Args:
        inner: The model.
        which: Of the proposals' whole prompts.
        longest: Characters of a proposal's prompt, above which it is too long; None is no bound.

    Attributes:
        answered: Proposals that it gave.
        withheld: Prompt, rollout and number of each that it did not give, in order.
        told: All words of its answers.
    """

    def __init__(self, inner: Any, which: Which, longest: int | None = None) -> None:
        self.inner = inner
        self.which = which
        self.longest = longest
        self.answered = 0
        self.withheld: list[tuple[str, int | None, int]] = []
        self.told: list[str] = []

    def complete(self, request: Request) -> Response:
        """One attempt."""
        asked = "\n".join([str(request.system), *(one.text or "" for one in request.messages)])
        proposal = "[[ ## ticket ## ]]" not in (request.messages[-1].text or "")
        if proposal and self.longest is not None and len(asked) > self.longest:
            self._note(asked)
            raise ContextWindowExceededError(message="The prompt is too long.")
        if proposal and self.which(asked):
            self._note(asked)
            raise UnusableAnswer("The provider's content filter withheld the answer.", code="content_filter")
        response = self.inner.complete(request)
        self.answered += proposal
        self.told.append(response.message.text or "")
        return response

    async def acomplete(self, request: Request) -> Response:
        """One attempt, awaited."""
        return self.complete(request)

    def _note(self, asked: str) -> None:
        call = current_call()
        self.withheld.append((asked, call.rollout, call.candidate))

    def wrote(self, instructions: str) -> bool:
        """Whether each line of an instruction stands in one of its answers, so far as letters go."""
        said = _letters("".join(self.told))
        return all(_letters(line) in said for line in instructions.splitlines())


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.encode().decode("unicode_escape", "ignore").lower())


def wrapping(made: list[Withholding], which: Which, longest: int | None = None) -> Callable[[Any], Any]:
    """For `Place.optimize`: the model is put into `made`."""

    def wrap(inner: Any) -> Withholding:
        made.append(Withholding(inner, which, longest))
        return made[-1]

    return wrap
