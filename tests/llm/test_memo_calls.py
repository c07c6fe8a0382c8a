"""Calls that a process remembers whole: faster, and in nothing else different from asking the journal."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import dspy
import orjson
import pydantic
import pytest
from dspy._vendor.lm15.serde import response_from_dict, response_to_dict
from dspy.lm15 import (
    Adaptation,
    ContinuationState,
    Message,
    Request,
    Response,
    TextPart,
    TokenLogprob,
    ToolCallPart,
    Usage,
)
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.config.settings import ModelSpec
from skill_fleet.llm import dspy_steps, fleet_lm
from skill_fleet.llm.calls.engine import Line
from skill_fleet.llm.calls.remembered import remembered, unchangeable
from skill_fleet.llm.dspy_steps import steps
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.journal import Journal
from skill_fleet.llm.journal.memo import Memo
from skill_fleet.llm.testing import ScriptedModel


@pytest.fixture(params=["remembered", "asked again"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the memory, and as `dspy.LM` has it: what a caller sees must be the same."""
    if request.param == "asked again":
        monkeypatch.setattr(fleet_lm, "steps", lambda: None)
    return str(request.param)


class Reached:
    """Counts the requests that reach the engine of a rig."""

    def __init__(self, made: Any) -> None:
        self.count = 0
        complete = made.engine.complete

        def counted(request: Request) -> Response:
            self.count += 1
            return complete(request)

        made.engine.complete = counted


class Ear(dspy.utils.BaseCallback):
    """Everything DSPy tells of calls, without the ids that are new each time."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.open: set[str] = set()

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.open.add(call_id)
        self.heard.append(("start", instance, inputs))

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self.open.remove(call_id)
        self.heard.append(("end", outputs, type(exception)))


class Rich(ScriptedModel):
    """Answers with a tool call and data of the provider: things that can be changed."""

    def _respond(self, request: Request) -> Response:
        return Response(
            id="x",
            model=request.model,
            message=Message.assistant(
                [TextPart("look"), ToolCallPart(id="1", name="search", input={"for": ["a"]})]
            ),
            finish_reason="tool_call",
            usage=Usage(input_tokens=1, output_tokens=2),
            provider_data={"deep": {"list": [1]}},
        )


def test_a_call_made_before_does_not_reach_the_engine(rig: Any) -> None:
    made = rig()
    reached = Reached(made)
    first = made.lm("hello")
    assert [made.lm("hello") for _ in range(3)] == [first] * 3
    assert asyncio.run(made.lm.acall("hello")) == first
    assert reached.count == 1
    assert (made.line.traffic.made, made.line.traffic.from_journal) == (1, 4)
    assert made.spent.calls == 1


def test_callbacks_hear_every_call_the_same(rig: Any, way: str) -> None:
    made = rig()
    ear, own = Ear(), Ear()
    lm = made.lm.copy(callbacks=[own])
    with dspy.context(callbacks=[ear]):
        for _ in range(3):
            lm("hello", temperature=0.3)
        asyncio.run(lm.acall("hello", temperature=0.3))
    first, *others = zip(ear.heard[::2], ear.heard[1::2], strict=True)
    assert first[0] == (
        "start",
        lm,
        {"prompt": "hello", "messages": None, "kwargs": {"temperature": 0.3}},
    )
    assert len(others) == 3
    assert all(other == first for other in others)
    assert own.heard == ear.heard
    assert not ear.open, "every start has its end"


def test_history_and_usage_are_told_the_same(rig: Any, way: str) -> None:
    made = rig()
    program = dspy.Predict("question -> answer")
    with dspy.context(lm=made.lm), dspy.track_usage() as usage:
        for _ in range(3):
            program(question="why")
        totals = usage.get_total_tokens()
    histories = (made.lm.history, program.history)
    for history in histories:
        assert len(history) == 3
        plain = [{k: v for k, v in one.items() if k not in {"timestamp", "uuid"}} for one in history]
        assert plain[0] == plain[1] == plain[2]
        assert plain[0]["response"].message.text
        assert plain[0]["usage"]["total_tokens"] * 3 == totals["offline/scripted"]["total_tokens"]
        assert len({one["uuid"] for one in history}) == 3
    with dspy.context(disable_history=True):
        made.lm("hello")
        made.lm("hello")
    assert len(made.lm.history) == 3


def test_what_a_caller_changes_is_its_own(rig: Any, way: str) -> None:
    made = rig(Rich())
    answers = []
    for _ in range(3):
        (answer,) = made.lm("hello")
        entry = made.lm.history[-1]
        answers.append((repr(answer), repr(entry["usage"]), repr(entry["response"].provider_data)))
        entry["response"].provider_data["deep"]["list"].append(2)
        entry["response"].tool_calls[0].input["for"].append("b")
        entry["usage"]["prompt_tokens"] = -1
        entry["outputs"].clear()
        answer["text"] = "changed"
        answer["tool_calls"][0]["function"]["name"] = "changed"
        answer["tool_calls"].append("changed")
    assert len(set(answers)) == 1, answers
    assert answer["tool_calls"][0].function.name == "changed", "fields are attributes, too"
    plain = rig(run="plain")
    for _ in range(3):
        outputs = plain.lm("hello")
        assert len(outputs) == 1
        outputs.append("changed")


def test_many_threads_are_each_given_their_own(rig: Any) -> None:
    made = rig()
    names = [f"item {number}" for number in range(20)]
    expected = {name: made.lm(name)[0] for name in names}

    def ask(number: int) -> bool:
        name = names[number % 20]
        outputs = made.lm(name)
        right = outputs == [expected[name]]
        outputs.clear()
        return right

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(400)))
    assert made.model.attempts == 20
    assert made.line.traffic.from_journal == 400


@pytest.mark.parametrize("options", [{}, {"n": 3}, {"rollout_id": 2}, {"n": 2, "rollout_id": 5}])
def test_what_tells_calls_apart_in_the_journal_tells_them_apart_here(
    rig: Any, options: dict[str, Any]
) -> None:
    made = rig()
    others: list[dict[str, Any]] = [
        {},
        {"n": 3},
        {"n": 2},
        {"rollout_id": 2},
        {"rollout_id": 3},
        {"temperature": 0.1},
        {"max_tokens": 9},
        {"n": 2, "rollout_id": 5},
        {"stop": ["x"]},
    ]
    first = {repr(other): made.lm("hello", **other) for other in others}
    attempts = made.model.attempts
    counted = made.line.traffic.from_journal
    assert made.lm("hello", **options) == first[repr(options)]
    assert made.lm.copy(**options)("hello") == first[repr(options)]
    assert made.line.traffic.from_journal == counted + 2 * options.get("n", 1), "each candidate is an answer"
    assert made.model.attempts == attempts
    assert made.lm("hello", messages=None, **options) == first[repr(options)]


def test_phases_and_models_have_memories_of_their_own_and_journals_too(rig: Any, tmp_path: Any) -> None:
    made = rig()
    made.lm("hello")
    judge = rig(line=made.line, phase="judge")
    reached = Reached(judge)
    judge.lm("hello")
    assert reached.count == 1, "another phase looks for itself"
    assert judge.model.attempts == 0, "and finds it in the journal"
    for spec in (
        ModelSpec(model="offline/other", temperature=0.7),
        ModelSpec(model="offline/scripted", temperature=0.7, api_base="http://127.0.0.1:1/v1"),
        ModelSpec(model="offline/scripted", temperature=0.2),
    ):
        other = rig(line=made.line, spec=spec)
        other.lm("hello")
        assert other.model.attempts == 1, spec
    elsewhere = Journal(tmp_path / "l", tmp_path / "r")
    apart = rig(store=elsewhere)
    apart.lm("hello")
    assert apart.model.attempts == 1
    elsewhere.close()


def test_it_answers_nothing_that_the_journal_would_not(rig: Any, way: str) -> None:
    made = rig()
    first = made.lm("hello")
    made.journal.clear_responses()
    assert made.lm("hello") == first
    assert made.model.attempts == 2, "cleared answers are paid again"
    made.journal._db.execute("update response set body=replace(body, 'hello', 'hullo')")
    made.journal._db.execute("update response set body=replace(body, '\"stop\"', '\"length\"')")
    made.journal._memo.clear()
    made.lm("hello")
    assert made.lm.history[-1]["response"].finish_reason == "length", "what is stored, not what was"


def test_after_the_end_a_remembered_call_halts_like_any_other(rig: Any, way: str) -> None:
    made = rig()
    made.lm("hello")
    ear = Ear()
    made.gate.interrupt()
    counted = made.line.traffic.from_journal
    with dspy.context(callbacks=[ear]), pytest.raises(Halt) as caught:
        made.lm("hello")
    assert caught.value.cause == "interrupted"
    assert ear.heard[-1] == ("end", None, Halt)
    with pytest.raises(Halt):
        asyncio.run(made.lm.acall("hello"))
    assert made.line.traffic.from_journal == counted


def test_a_callback_that_ends_the_run_ends_it_before_the_answer(rig: Any, way: str) -> None:
    made = rig()
    made.lm("hello")

    class Closing(dspy.utils.BaseCallback):
        def on_lm_start(self, call_id: str, instance: Any, inputs: Any) -> None:
            made.gate.interrupt()

    with dspy.context(callbacks=[Closing()]), pytest.raises(Halt):
        made.lm("hello")


def test_a_stream_is_streamed_each_time(rig: Any, way: str) -> None:
    made = rig()
    program = dspy.Predict("question -> answer")
    listeners = [dspy.streaming.StreamListener(signature_field_name="answer", allow_reuse=True)]

    async def words() -> list[str]:
        stream = dspy.streamify(program, stream_listeners=listeners)
        return [part.chunk async for part in stream(question="why") if hasattr(part, "chunk")]

    with dspy.context(lm=made.lm):
        program(question="why")
        first = asyncio.run(words())
        assert "".join(first).strip()
        assert asyncio.run(words()) == first


def test_a_request_that_cannot_be_told_exactly_is_asked_again(rig: Any) -> None:
    class Shape(pydantic.BaseModel):
        answer: str

    made = rig(ScriptedModel(answer=lambda _: '{"answer": "x"}'))
    reached = Reached(made)
    request = Request(model="offline/scripted", messages=(Message.user("x"),))
    for _ in range(2):
        made.lm("hello", response_format=Shape)
        made.lm(request)
        asyncio.run(made.lm.acall(request=request))
    assert reached.count == 4, "and twice by the async engine"
    assert made.model.attempts == 2
    assert made.lm(request) is not made.lm(request)


def test_a_call_cannot_ask_for_the_cache_of_dspy(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a pickle."""

    class Refusing:
        def get(self, *_: Any) -> None:
            raise AssertionError("DSPy's cache was read")

        put = get

    monkeypatch.setitem(dspy.__dict__, "cache", Refusing())
    made = rig()
    assert made.lm("hello", cache=True) == made.lm("hello", cache=False) == made.lm("hello")
    asyncio.run(made.lm.acall("hello", cache=True))
    assert made.model.attempts == 1


def test_what_is_forgotten_for_want_of_room_is_in_the_journal(rig: Any, journal: Any, clock: Any) -> None:
    line = Line(journal, "run", clock, memo=Memo(3, 10**6))
    made = rig(line=line)
    first = [made.lm(f"item {number}") for number in range(10)]
    assert len(line.memo) == 3
    assert [made.lm(f"item {number}") for number in range(10)] == first
    assert made.model.attempts == 10
    assert made.line.traffic.from_journal == 10


def test_wrong_options_are_refused_each_time(rig: Any, way: str) -> None:
    made = rig()
    made.lm("hello")
    for _ in range(2):
        with pytest.raises(ValueError, match="positive"):
            made.lm("hello", n=0)
        with pytest.raises(ValueError, match="api_key"):
            made.lm("hello", api_key="x")


def test_a_way_of_calling_that_dspy_gives_up_is_warned_of_each_time(rig: Any, way: str) -> None:
    made = rig()
    for _ in range(2):
        with pytest.warns(DeprecationWarning, match="message dictionaries"):
            made.lm(messages=[{"role": "user", "content": "hello"}])


def test_the_steps_are_those_of_the_dspy_that_is_here() -> None:
    assert dspy.__version__ in dspy_steps.CHECKED, "run this file, then add the version"
    assert steps() is not None


def test_another_dspy_is_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "3.4.999" in (dspy_steps._problem("3.4.999") or "")
    from dspy.clients import execution

    monkeypatch.setattr(execution, "finalize", lambda lm, call: None)
    assert "finalize takes lm, call" in (dspy_steps._problem(dspy_steps.CHECKED[0]) or "")
    monkeypatch.delattr(execution, "execute")
    assert "execute cannot be used" in (dspy_steps._problem(dspy_steps.CHECKED[0]) or "")


counts = st.none() | st.integers(0, 10**12)


@given(
    text=st.text(min_size=1),
    parts=st.integers(1, 3),
    ident=st.none() | st.text(min_size=1),
    reason=st.sampled_from(["stop", "tool_call"]),
    tokens=st.tuples(counts, counts, counts, counts),
)
def test_what_many_share_comes_back_whole_from_its_json(
    text: str, parts: int, ident: str | None, reason: Any, tokens: Any
) -> None:
    """So the one who paid may keep the answer it has: who replays it reads the same."""
    response = Response(
        id=ident,
        model="m",
        message=Message.assistant([TextPart(text)] * parts),
        finish_reason=reason,
        usage=Usage(*tokens),
    )
    assert unchangeable(response)
    body = orjson.dumps(response_to_dict(response, include_provider_data=True))
    assert response_from_dict(orjson.loads(body)) == response


CONTINUED = ContinuationState(provider="openai", kind="reasoning", data={"a": [1]})


@pytest.mark.parametrize(
    "more",
    [
        {"provider_data": {"a": [1]}},
        {"logprobs": (TokenLogprob("a", -0.5),)},
        {"adaptations": (Adaptation("config.stop", "clamped", "too many", asked=["a"]),)},
        {"message": Message.assistant([TextPart("text", continuation=(CONTINUED,))])},
        {"message": replace(Message.assistant("text"), continuation=(CONTINUED,))},
        {"message": Message.assistant([ToolCallPart("id", "name", {"a": [1]})])},
    ],
    ids=["provider_data", "logprobs", "adaptations", "part", "message", "tool_call"],
)
def test_what_holds_more_than_words_and_numbers_is_read_anew_for_each(more: dict[str, Any]) -> None:
    words = Response(None, "m", Message.assistant("text"), "stop", Usage())
    body = orjson.dumps(response_to_dict(replace(words, **more), include_provider_data=True)).decode()
    paid = response_from_dict(orjson.loads(body))
    assert paid != words, "there is something to share"
    entry = remembered([("key", body)], (paid,))
    assert entry is not None
    (one,), (other,) = entry.responses(), entry.responses()
    assert one == other == paid
    assert one is not other
    assert paid is not one
    plain = remembered([("key", "{}")], (words,))
    assert plain is not None
    assert plain.responses() == (words,)
    assert plain.responses()[0] is words


def test_half_a_character_is_the_same_for_who_paid_and_who_replays(rig: Any) -> None:
    made = rig(ScriptedModel(answer=lambda _: "broken \ud83d"))
    assert made.lm("hello") == ["broken ?"]
    again = rig(made.model)
    assert again.lm("hello") == ["broken ?"]
    assert made.model.attempts == 1
