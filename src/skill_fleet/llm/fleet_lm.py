"""`FleetLM`: a `dspy.LM` that tells its engine what each call is part of.

DSPy's own cache stays off (it is a pickle, and has no single-flight); the journal in the engine replaces it.
DSPy drops `rollout_id` before an engine sees the request, so it travels in a context variable.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import dspy

from skill_fleet.config.settings import Phase
from skill_fleet.llm.call_context import CURRENT_CALL, CallContext
from skill_fleet.llm.engine import AsyncMeteredEngine, MeteredEngine


class FleetLM(dspy.LM):
    """The language model of one phase.

    Args:
        engine: Where the calls go.
        phase: What they are booked as.
        temperature: Default sampling temperature.
        max_tokens: Default longest answer.
        **options: Further defaults of `dspy.LM`.
    """

    def __init__(
        self,
        engine: MeteredEngine,
        *,
        phase: Phase = "evaluation",
        temperature: float | None = None,
        max_tokens: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            engine.spec.model,
            engine=engine,
            async_engine=AsyncMeteredEngine(engine),
            cache=False,
            num_retries=0,
            temperature=temperature,
            max_tokens=max_tokens,
            **options,
        )
        self.phase: Phase = phase

    @property
    def simulated(self) -> bool:
        """Whether the built-in offline model answers."""
        return bool(self.engine.spec.simulated)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # DSPy deep-copies programs; a model inside one is a reference to shared machinery, not state.
        return self

    def __call__(self, prompt: Any = None, *, messages: Any = None, **options: Any) -> Any:
        """One call; `rollout_id` reaches the engine."""
        with self._context(options):
            return super().__call__(prompt, messages=messages, **options)

    async def acall(self, prompt: Any = None, *, messages: Any = None, **options: Any) -> Any:
        """One call, awaited; `rollout_id` reaches the engine."""
        with self._context(options):
            return await super().acall(prompt, messages=messages, **options)

    @contextmanager
    def _context(self, options: dict[str, Any]) -> Iterator[None]:
        rollout = options.get("rollout_id", self.kwargs.get("rollout_id"))
        token = CURRENT_CALL.set(CallContext(self.phase, rollout))
        try:
            yield
        finally:
            CURRENT_CALL.reset(token)
