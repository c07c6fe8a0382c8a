"""`FleetLM`: a `dspy.LM` that tells its engine what each call is part of, and remembers whole calls.

DSPy's own cache stays off (it is a pickle, and has no single-flight); the journal in the engine replaces it.
DSPy drops `rollout_id` before an engine sees the request, so it travels in a context variable.
"""

import asyncio
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, Self

import dspy
from dspy.lm15 import Request
from dspy.utils.callback import with_callbacks

from skill_fleet.config.settings import Phase
from skill_fleet.llm.call_context import CallContext, Calling
from skill_fleet.llm.calls.engine import AsyncMeteredEngine, MeteredEngine
from skill_fleet.llm.calls.proposals import Withheld
from skill_fleet.llm.calls.remembered import memo_key, remembered
from skill_fleet.llm.commands.known import identity_of
from skill_fleet.llm.dspy_steps import Steps, steps


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
        if steps() is not None:
            return self._in_steps(prompt, messages=messages, **options)
        with self._context(options):
            return super().__call__(prompt, messages=messages, **options)

    async def acall(self, prompt: Any = None, *, messages: Any = None, **options: Any) -> Any:
        """One call, awaited; `rollout_id` reaches the engine."""
        if steps() is not None:
            return await self._awaited_in_steps(prompt, messages=messages, **options)
        with self._context(options):
            return await super().acall(prompt, messages=messages, **options)

    # Callbacks are told the parameters by their names: these are the names that `dspy.LM` has.
    @with_callbacks
    def _in_steps(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        taken, call, key = self._begun(prompt, messages, kwargs)
        result = self._recalled(key, call)
        if result is None:
            with self._context(kwargs) as context:
                try:
                    result = taken.execute(self, call)
                except Withheld:
                    if call.n == 1:
                        raise
                    result, key = self._those_not_withheld(taken, call, context), None
            self._remember(key, context, result)
        return taken.finalize(self, call, result)

    @with_callbacks
    async def _awaited_in_steps(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        media = "request" in kwargs or isinstance(prompt, Request)  # prepared, it reads files
        begin = functools.partial(self._begun, prompt, messages, kwargs, asynchronous=True)
        taken, call, key = await asyncio.to_thread(begin) if media else begin()
        result = self._recalled(key, call)
        if result is None:
            with self._context(kwargs) as context:
                try:
                    result = await taken.aexecute(self, call)
                except Withheld:
                    if call.n == 1:
                        raise
                    result, key = await self._awaited_those_not_withheld(taken, call, context), None
            self._remember(key, context, result)
        return taken.finalize(self, call, result)

    def _begun(
        self, prompt: Any, messages: Any, kwargs: dict[str, Any], *, asynchronous: bool = False
    ) -> tuple[Steps, Any, bytes | None]:
        """The steps, the call as DSPy prepares it, and the key that it is remembered by."""
        taken = _taken()
        call = taken.prepare(self, prompt, messages, kwargs, asynchronous=asynchronous)
        call.cache = False  # also where a call asks for DSPy's own cache
        taken.warn(self, messages)
        return taken, call, self._memo_key(call)

    def _memo_key(self, call: Any) -> bytes | None:
        engine = self.engine
        if call.request is not None or not isinstance(engine, MeteredEngine):
            return None
        if dspy.settings.send_stream is not None:
            return None  # the words are sent on their way
        place = [engine.spec.model, engine.spec.api_base, identity_of(engine.spec)]
        return memo_key([*place, self.phase, self.model_type], call.legacy)

    def _recalled(self, key: bytes | None, call: Any) -> Any:
        """DSPy's result of a call that is remembered; None when it has to be made."""
        entry = None if key is None else self.engine.line.memo.get(key)
        if entry is None or not self.engine.confirm(entry.answers):
            return None
        taken = _taken()
        results = [taken.result(self, response, call, None) for response in entry.responses()]
        return results[0] if len(results) == 1 else taken.combine(results, model_type=self.model_type)

    def _remember(self, key: bytes | None, context: CallContext, result: Any) -> None:
        entry = None if key is None else remembered(context.answers, result.responses)
        if entry is not None:
            self.engine.line.memo.put(key, entry, entry.size)

    def _those_not_withheld(self, taken: Steps, call: Any, context: CallContext) -> Any:
        """The completions of a call one by one, without those that are withheld for good.

        Raises:
            Withheld: All are.
        """
        found, withheld = [], []
        for one in _one_by_one(call, context):
            try:
                found.append(taken.execute(self, one))
            except Withheld as error:
                withheld.append(error)
        return self._combined(taken, found, withheld)

    async def _awaited_those_not_withheld(self, taken: Steps, call: Any, context: CallContext) -> Any:
        """The same, awaited."""
        found, withheld = [], []
        for one in _one_by_one(call, context):
            try:
                found.append(await taken.aexecute(self, one))
            except Withheld as error:
                withheld.append(error)
        return self._combined(taken, found, withheld)

    def _combined(self, taken: Steps, found: list[Any], withheld: list[Withheld]) -> Any:
        if not found:
            raise withheld[-1]
        return found[0] if len(found) == 1 else taken.combine(found, model_type=self.model_type)

    def _context(self, options: dict[str, Any]) -> Calling:
        return Calling(CallContext(self.phase, options.get("rollout_id", self.kwargs.get("rollout_id"))))


def _one_by_one(call: Any, context: CallContext) -> Iterator[Any]:
    """The completions of a call as calls of their own, each with its number."""
    for number in range(call.n):
        context.candidate = number
        yield dataclasses.replace(call, n=1)


def _taken() -> Steps:
    taken = steps()
    assert taken is not None  # noqa: S101 - looked at before every call
    return taken
