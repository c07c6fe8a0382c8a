"""Answers over HTTP: OpenAI's shapes, the offline model's words, nothing that depends on order."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from dspy.lm15 import Config, Message, Request

from skill_fleet.llm.offline.model import OfflineModel
from skill_fleet.simulator import Faults, Price

SCHEMA = {
    "type": "object",
    "properties": {
        "label": {"enum": ["billing", "bug"]},
        "score": {"type": "number"},
        "notes": {"type": "array", "items": {"$ref": "#/$defs/note"}},
    },
    "required": ["label", "score", "notes"],
    "$defs": {"note": {"type": "object", "properties": {"text": {"type": "string"}}}},
}


def text_of(answer):
    return answer.json()["choices"][0]["message"]["content"]


def events_of(answer):
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_an_answer_has_openai_s_shape_and_says_that_it_is_simulated(provider):
    here = provider()
    answer = here.ask(max_tokens=50)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"] == "sim-1"
    value = answer.json()
    assert value["object"] == "chat.completion"
    assert value["model"] == "offline/rules-v1"
    assert value["system_fingerprint"] == "simulated"
    (choice,) = value["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    usage = value["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


@pytest.mark.parametrize("temperature", [None, 0.0, 0.9])
def test_without_a_seed_it_says_what_the_model_says_in_process(provider, temperature):
    said = "Sort this ticket: my refund is late."
    more = {} if temperature is None else {"temperature": temperature}
    config = Config(temperature=temperature)
    asked = Request("offline/rules-v1-s3", messages=(Message.user(said),), system="Be brief.", config=config)
    known = OfflineModel(3).complete(asked)
    answer = provider(models=("offline/rules-v1-s3",)).ask(said, model="offline/rules-v1-s3", **more)
    assert text_of(answer) == known.message.text
    usage = answer.json()["usage"]
    assert usage["prompt_tokens"] == known.usage.input_tokens
    assert usage["completion_tokens"] == known.usage.output_tokens


CHAT = """Your input fields are:
1. `ticket` (str):
Your output fields are:
1. `urgent` (bool):
All interactions will be structured in the following way, with the appropriate values filled in.

[[ ## ticket ## ]]
{ticket}

[[ ## urgent ## ]]
{urgent}

[[ ## completed ## ]]
In adhering to this structure, your objective is:
        Say whether a ticket is urgent."""


def sorted_by(here, ticket, **more):
    messages = [
        {"role": "system", "content": CHAT},
        {"role": "user", "content": f"[[ ## ticket ## ]]\n{ticket}"},
    ]
    return text_of(here.ask(messages=messages, **more))


def test_the_seed_tells_rollouts_apart_above_temperature_0_only(provider):
    here = provider()
    tickets = [f"Ticket {number}: the page is blank after I log in" for number in range(30)]

    def run(**more):
        return [sorted_by(here, ticket, **more) for ticket in tickets]

    assert run(temperature=1.5, seed=1) == run(temperature=1.5, seed=1)
    assert run(temperature=1.5, seed=1) != run(temperature=1.5, seed=2)
    assert run(temperature=0, seed=1) == run(temperature=0, seed=2)


def test_several_choices_are_several_candidates(provider):
    here = provider()
    messages = [
        {"role": "system", "content": CHAT},
        {"role": "user", "content": "[[ ## ticket ## ]]\nIt is slow."},
    ]
    value = here.ask(messages=messages, n=8, temperature=2.0, seed=5).json()
    assert [choice["index"] for choice in value["choices"]] == list(range(8))
    assert len({choice["message"]["content"] for choice in value["choices"]}) > 1
    assert here.server.totals().completion_tokens == value["usage"]["completion_tokens"]


def test_same_answers_and_faults_in_any_order_and_in_any_number_of_threads(provider):
    """A law of the product: runs against two simulators of one seed can be compared."""
    faults = Faults({"server_error": 0.2, "blank": 0.2, "rate_limit": 0.1, "reset": 0.1, "malformed": 0.1})
    asked = [
        (f"Task {number}", seed, attempt) for number in range(8) for seed in (None, 7) for attempt in range(3)
    ]

    def outcomes(order, threads):
        here = provider(seed=11, faults=faults)

        def one(case):
            prompt, seed, _ = case
            try:
                answer = here.ask(prompt, temperature=1.0, **({} if seed is None else {"seed": seed}))
            except Exception as error:  # noqa: BLE001 - a reset is an outcome
                return type(error).__name__
            return answer.status_code, answer.text.partition('"choices"')[2]

        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(one, order))
        told: dict[tuple[str, int | None], list[str]] = {}
        for (prompt, seed, _), outcome in zip(order, found, strict=True):
            told.setdefault((prompt, seed), []).append(str(outcome))
        # Equal requests at one time may be numbered either way: what they meet together is the same.
        return {key: sorted(many) for key, many in told.items()}

    first = outcomes(asked, 1)
    assert len(set(itertools.chain(*first.values()))) > 5
    assert outcomes(asked[::-1], 8) == first
    assert outcomes(asked, 3) == first


def test_a_text_that_is_too_long_is_cut_off(provider):
    value = provider().ask("Say something about rivers.", max_completion_tokens=2).json()
    assert value["choices"][0]["finish_reason"] == "length"
    assert value["usage"]["completion_tokens"] <= 2
    assert len(value["choices"][0]["message"]["content"]) <= 8


def test_who_asks_for_json_gets_an_object(provider):
    here = provider()
    plain = json.loads(text_of(here.ask(response_format={"type": "json_object"})))
    assert plain["answer"] == text_of(here.ask(response_format={"type": "text"}))
    form = {"type": "json_schema", "json_schema": {"name": "sorted", "schema": SCHEMA, "strict": True}}
    made = json.loads(text_of(here.ask("my refund never came", response_format=form)))
    assert made["label"] in {"billing", "bug"}
    assert isinstance(made["score"], float)
    assert isinstance(made["notes"][0]["text"], str)


def test_a_stream_says_the_same_in_pieces(provider):
    here = provider()
    said = "Write down what to bring to a long walk."
    events = events_of(here.ask(said, stream=True, n=2, temperature=0.0))
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert {event["system_fingerprint"] for event in events} == {"simulated"}
    assert not any("usage" in event for event in events)
    whole = here.ask(said, n=2, temperature=0.0).json()
    for index, choice in enumerate(whole["choices"]):
        mine = [event["choices"][0] for event in events if event["choices"][0]["index"] == index]
        assert "".join(piece["delta"].get("content", "") for piece in mine) == choice["message"]["content"]
        assert len(mine) > 3
        assert mine[0]["delta"]["role"] == "assistant"
        assert [piece["finish_reason"] for piece in mine] == [None] * (len(mine) - 1) + ["stop"]


def test_a_stream_ends_with_its_usage_where_that_was_asked_for(provider):
    here = provider()
    events = events_of(here.ask(stream=True, stream_options={"include_usage": True}))
    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == here.ask().json()["usage"]
    assert all(event["usage"] is None for event in events[:-1])


def test_models_are_listed_and_said_to_be_simulated(provider):
    here = provider(models=("offline/rules-v1", "simulated/big-one"))
    value = here.http.get(f"{here.server.url}/models").json()
    assert [each["id"] for each in value["data"]] == ["offline/rules-v1", "simulated/big-one"]
    assert all(each["simulated"] for each in value["data"])
    assert here.http.get(f"{here.server.url}/models/simulated/big-one").json()["id"] == "simulated/big-one"
    assert here.http.get(f"{here.server.url}/models/gpt-5").status_code == 404
    assert here.ask(model="simulated/big-one").json()["model"] == "simulated/big-one"


def test_parts_tools_and_unknown_parameters_are_taken(provider):
    here = provider()
    parts = [{"type": "text", "text": "Say "}, {"type": "text", "text": "hello."}]
    plain = here.ask("Say hello.")
    same = here.ask(messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}])
    assert text_of(same) == text_of(plain)
    odd = here.ask(
        tools=[{"type": "function"}], top_p=0.5, user="me", logprobs=None, unheard_of={"a": 1}, n=None
    )
    assert odd.status_code == 200
    image = [*parts, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    called = {"role": "assistant", "content": None, "tool_calls": []}
    told = {"role": "tool", "content": "12", "tool_call_id": "x"}
    assert here.ask(messages=[{"role": "user", "content": image}, called, told]).status_code == 200
    assert here.ask(messages=[{"role": "system", "content": "only this"}]).status_code == 200


def test_what_is_billed_is_what_the_answers_say(provider):
    here = provider(price=Price(2.0, 5.0))
    used = [here.ask(f"Task {number}").json()["usage"] for number in range(5)]
    totals = here.server.totals()
    assert totals.billed_prompt_tokens == totals.prompt_tokens == sum(each["prompt_tokens"] for each in used)
    assert totals.billed_completion_tokens == sum(each["completion_tokens"] for each in used)
    expected = (2.0 * totals.prompt_tokens + 5.0 * totals.completion_tokens) / 1e6
    assert totals.billed_usd == pytest.approx(expected, abs=1e-12)
    assert sum(record.usd or 0 for record in here.server.records()) == pytest.approx(expected, abs=1e-12)
