"""What the call path relies on of DSPy 3.4. Where one fails, look before moving the version bound."""

import importlib
import importlib.metadata
import inspect
import tomllib
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.lm15 import Config, FunctionTool, Message, Request, Response, TextPart, Usage
from packaging.requirements import Requirement
from packaging.version import Version

from skill_fleet.config.load import environment
from skill_fleet.config.settings import ModelSpec
from skill_fleet.llm.call_context import CallContext, Calling
from skill_fleet.llm.halt import Halt


class Engine:
    """An engine of one's own, as DSPy knows it; notes what it is given."""

    def __init__(
        self, text: str = "[[ ## answer ## ]]\nfine\n\n[[ ## completed ## ]]", error: Any = None
    ) -> None:
        self.requests: list[Request] = []
        self._text = text
        self._error = error

    def complete(self, request: Request) -> Response:
        self.requests.append(request)
        if self._error is not None:
            raise self._error
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant([TextPart(self._text)]),
            finish_reason="stop",
            usage=Usage(input_tokens=1, output_tokens=1),
        )


def lm_over(engine: Engine) -> Any:
    return dspy.LM("own/m", engine=engine, cache=False, num_retries=0)


def test_the_version_is_one_that_was_proven() -> None:
    pyproject = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())
    bound = next(
        Requirement(text) for text in pyproject["project"]["dependencies"] if text.startswith("dspy")
    )
    assert bound.specifier.contains(Version(importlib.metadata.version("dspy")))
    assert not bound.specifier.contains("3.5.0"), "3.5 removes what this file pins"


@pytest.mark.parametrize("name", ["request_to_dict", "response_to_dict", "response_from_dict"])
def test_the_private_names_that_are_used_are_there(name: str) -> None:
    module = importlib.import_module("dspy._vendor.lm15.serde")
    assert callable(getattr(module, name))


def test_what_is_called_of_the_price_list_is_there() -> None:
    from dspy.clients.costs import estimate_cost
    from dspy.clients.model_metadata import model_info, rate

    environment()
    assert {"provider", "requested_model", "request"} <= set(inspect.signature(estimate_cost).parameters)
    assert rate(model_info("nobody", "nothing"), "input_cost_per_token") is None


PLAIN = Request(model="openai/m", messages=(Message.user("What is 漢?"),))
RICH = Request(
    model="openai/m",
    system="Be brief.",
    messages=(Message.user("x"), Message.assistant("y"), Message.user("")),
    tools=(FunctionTool(name="look", description="up", parameters={"type": "object"}),),
    config=Config(max_tokens=100, temperature=0.0, stop=("END",), response_format={"type": "json_object"}),
)
HOSTED = ModelSpec(model="openai/gpt-4o-mini")
LOCAL = ModelSpec(model="openai/m", api_base="http://localhost:8000/v1", temperature=0.7)
COMMAND = ModelSpec(model="command/mine", command=("mine", "--print"))


@pytest.mark.parametrize(
    ("spec", "request_", "call", "key"),
    [
        (
            HOSTED,
            PLAIN,
            CallContext("evaluation"),
            "d101825e6d1beaa77eb7bc8014e9861bc574e941d9a4999eafd3994a8a88b7ee",
        ),
        (
            HOSTED,
            PLAIN,
            CallContext("judge", rollout=7),
            "c2ea983e971ad6d36e610c6e927eadeed71498d8b5bf0e1b813361caf486d708",
        ),
        (
            HOSTED,
            PLAIN,
            CallContext("judge", rollout=7, candidate=2),
            "b8da91f97667d26cf811800a72718c98346f343f6c6c9e499af0c19602aa6f30",
        ),
        (
            LOCAL,
            PLAIN,
            CallContext("evaluation"),
            "bcd0d07fb064a04dacfdcc40766df13e77565cb5825e610536d4a4f86cf892ec",
        ),
        (
            LOCAL,
            RICH,
            CallContext("optimization"),
            "dc575c4a4e2bffa3caab016f70a2cddf224bb4848059bdfcbb80ecc2b6e6da24",
        ),
        (
            COMMAND,
            RICH,
            CallContext("evaluation"),
            "85a32705a9c41f35e7bf5d68dd17b7bb99f1e7c991c0614c51272f30006c827d",
        ),
    ],
    ids=["hosted", "rollout", "candidate", "local", "rich", "command"],
)
def test_the_key_of_a_call_is_what_it_was(
    rig: Any, spec: ModelSpec, request_: Request, call: CallContext, key: str
) -> None:
    """With another key every answer that is stored is paid again, by every run that goes on."""
    engine = rig(spec=spec).engine
    with Calling(call):
        assert engine.keyed(request_)[1] == key


def test_a_response_comes_back_whole_from_its_json() -> None:
    from dspy._vendor.lm15.serde import response_from_dict, response_to_dict

    response = Response(
        id="i",
        model="m",
        message=Message.assistant([TextPart("text é 漢 🎈")]),
        finish_reason="stop",
        usage=Usage(input_tokens=3, output_tokens=4, cache_read_tokens=1),
    )
    import json

    assert response_from_dict(json.loads(json.dumps(response_to_dict(response)))) == response


def test_a_rollout_does_not_reach_an_engine() -> None:
    engine = Engine()
    lm = lm_over(engine)
    lm("x", rollout_id=1, temperature=1.0)
    lm("x", rollout_id=2, temperature=1.0)
    assert engine.requests[0] == engine.requests[1], "so it has to travel beside the request"


def test_n_completions_are_n_equal_requests_one_after_the_other() -> None:
    engine = Engine("x")
    lm_over(engine)("x", n=3)
    assert len(engine.requests) == 3
    assert len(set(map(repr, engine.requests))) == 1


def test_an_answer_that_does_not_parse_is_asked_again_as_json_and_nothing_else_is() -> None:
    program = dspy.Predict("question -> answer")
    unparsed = Engine("no marks at all")
    with dspy.context(lm=lm_over(unparsed)), pytest.raises(dspy.AdapterParseError):
        program(question="x")
    assert len(unparsed.requests) == 2
    for error in (
        dspy.LMServerError("x"),
        dspy.LMRateLimitError("x"),
        dspy.ContextWindowExceededError(message="x"),
    ):
        failing = Engine(error=error)
        with dspy.context(lm=lm_over(failing)), pytest.raises(type(error)):
            program(question="x")
        assert len(failing.requests) == 1


def test_an_error_of_dspys_own_passes_unchanged() -> None:
    error = dspy.LMServerError("x", status=503)
    with pytest.raises(dspy.LMServerError) as caught:
        lm_over(Engine(error=error))("x")
    assert caught.value is error


@pytest.mark.parametrize("threads", [1, 4])
def test_evaluate_turns_an_exception_into_zero_and_lets_a_base_exception_through(
    threads: int, caplog: pytest.LogCaptureFixture
) -> None:
    from skill_fleet.foundation.errors import BudgetExhausted

    data = [dspy.Example(question=str(number)).with_inputs("question") for number in range(5)]
    evaluate = dspy.Evaluate(
        devset=data, metric=lambda gold, pred: 1.0, num_threads=threads, display_progress=False, max_errors=99
    )
    program = dspy.Predict("question -> answer")
    with dspy.context(lm=lm_over(Engine(error=dspy.LMServerError("x")))):
        assert evaluate(program).score == 0.0, "a failure that DSPy calls a score"
    halt = Halt("budget", BudgetExhausted("x"))
    with dspy.context(lm=lm_over(Engine(error=halt))), pytest.raises(Halt):
        evaluate(program)


def test_a_copy_shares_the_engine_and_has_options_of_its_own() -> None:
    lm = lm_over(Engine())
    copied = lm.copy(rollout_id=3, temperature=1.0)
    assert copied.engine is lm.engine
    assert copied.kwargs["rollout_id"] == 3
    assert "rollout_id" not in lm.kwargs


def test_half_a_character_is_refused_before_any_engine() -> None:
    engine = Engine()
    with pytest.raises(ValueError, match="not valid Unicode"):
        lm_over(engine)("broken \ud83d")
    assert not engine.requests


def test_the_native_engine_never_falls_back_to_litellm() -> None:
    import sys

    lm = dspy.LM("nobody-knows/m", engine="lm15", cache=False, num_retries=0)
    with pytest.raises(dspy.LMError):
        lm("x")
    assert "litellm" not in sys.modules
