"""A real HTTP server on this machine with the faults of real providers, behind the whole call path."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dspy
import pytest
from dspy.lm15 import Message, Request
from dspy.utils.exceptions import LMAuthError

from skill_fleet.config.settings import ModelSpec, PriceOverride
from skill_fleet.foundation.errors import KeyMissing
from skill_fleet.llm.calls.engine import Retry
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.providers.provider import Provider
from wires import chat_events

# Of no shape that a pattern would know.
KEY = "planted.key.of.nobody"


def answer(text: str, **changes: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    choice.update({key: value for key, value in changes.items() if key == "finish_reason"})
    body = {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice]}
    if changes.get("usage", True):
        body["usage"] = {"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50}
    return body


@dataclass
class Server:
    """What the server was asked, and what it does to the next requests, one each; then it answers."""

    url: str = ""
    plan: list[str] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            state.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            state.keys.append(self.headers.get("authorization"))
            step = state.plan.pop(0) if state.plan else "ok"
            if step == "hang":
                time.sleep(2.0)
                self.close_connection = True
                return
            if step == "cut":
                self.send_response(200)
                self.send_header("content-length", "500")
                self.end_headers()
                self.wfile.write(b'{"id": ')
                self.close_connection = True
                return
            echoed = f"Incorrect API key provided: {self.headers.get('authorization')}"
            status, body, headers = {
                "ok": (200, answer("fine"), {}),
                "fields": (200, answer("[[ ## answer ## ]]\nfine words\n\n[[ ## completed ## ]]"), {}),
                "no usage": (200, answer("fine", usage=False), {}),
                "length": (200, answer("half an", finish_reason="length"), {}),
                "filter": (200, answer("", finish_reason="content_filter"), {}),
                "empty": (200, answer(""), {}),
                "malformed": (200, b'{"id": ', {}),
                "html": (502, b"<html>Bad gateway</html>", {}),
                "429": (429, {"error": {"message": "slow down"}}, {"retry-after": "7"}),
                "500": (500, {"error": {"message": "oops"}}, {}),
                "401": (401, {"error": {"message": echoed, "code": "invalid_api_key"}}, {}),
                "quota": (429, {"error": {"message": "no money", "code": "insufficient_quota"}}, {}),
                "long": (400, {"error": {"message": "too long", "code": "context_length_exceeded"}}, {}),
            }[step]
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            if state.asked[-1].get("stream") and step == "fields":
                words = body["choices"][0]["message"]["content"].split(" ")
                data = "".join(
                    f"{event}\n\n" for event in chat_events(words[0], *(f" {w}" for w in words[1:]))
                ).encode()
            self.send_response(status)
            for name, value in {
                "content-type": "application/json",
                "content-length": str(len(data)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.daemon_threads = True
        state.url = f"http://127.0.0.1:{httpd.server_port}/v1"
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield state
        httpd.shutdown()
        thread.join()


@pytest.fixture
def through(server: Server, rig: Any) -> Iterator[Callable[..., Any]]:
    """The call path over a real provider at the server."""
    opened: list[Provider] = []

    def make(*plan: str, timeout: float = 5.0, **options: Any) -> Any:
        server.plan[:] = plan
        spec = ModelSpec(
            model="openai/m",
            api_base=server.url,
            api_key_env="FLEET_KEY",
            timeout=timeout,
            temperature=0.5,
            max_tokens=200,
            price=PriceOverride(input_per_million=100, output_per_million=100),
        )
        provider = Provider(spec, {"FLEET_KEY": KEY})
        opened.append(provider)
        return rig(provider, spec=spec, retry=options.pop("retry", Retry(base=0.0)), **options)

    yield make
    for provider in opened:
        provider.close()


def outcomes(made: Any) -> list[tuple[Any, ...]]:
    query = "select state, reason, possibly_billed from ledger.attempt order by id"
    return made.journal._db.execute(query).fetchall()


def test_a_call_reaches_the_server_with_key_and_settings_and_is_paid_once(
    server: Server, through: Any
) -> None:
    made = through()
    assert made.lm("hello") == ["fine"]
    assert made.lm("hello") == ["fine"]
    assert len(server.asked) == 1
    assert server.keys == [f"Bearer {KEY}"]
    sent = server.asked[0]
    assert (sent["model"], sent["temperature"]) == ("m", 0.5)
    assert sent.get("max_tokens", sent.get("max_completion_tokens")) == 200
    spent = made.spent
    assert (spent.input_tokens, spent.output_tokens) == (30, 20)
    assert spent.usd == pytest.approx(0.005)
    assert made.account._spent.usd == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("fault", "reason", "billed"),
    [
        ("429", "rate_limit", 0),
        ("500", "server", 1),
        ("html", "server", 1),
        ("malformed", "provider", 1),
        ("cut", "transport", 1),
        ("length", "truncated", 1),
        ("empty", "empty", 1),
    ],
)
def test_a_passing_fault_costs_one_more_attempt_and_no_answer(
    server: Server, through: Any, fault: str, reason: str, billed: int
) -> None:
    made = through(fault)
    assert made.lm("hello") == ["fine"]
    assert len(server.asked) == 2
    assert outcomes(made) == [("failed", reason, billed), ("settled", None, 0)]


def test_a_server_that_hangs_may_have_billed(server: Server, through: Any) -> None:
    made = through("hang", timeout=1.0)
    assert made.lm("hello") == ["fine"]
    assert outcomes(made)[0][0] == "failed"
    assert outcomes(made)[0][2] == 1


def test_a_servers_retry_after_is_waited_out(through: Any, clock: Any) -> None:
    made = through("429")
    begin = clock.time
    made.lm("hello")
    assert clock.time - begin == pytest.approx(7.0)


@pytest.mark.parametrize(("fault", "code"), [("401", "auth"), ("quota", "billing")])
def test_a_refused_key_or_account_stops_after_one_request(
    server: Server, through: Any, fault: str, code: str
) -> None:
    made = through(*[fault] * 5)
    with pytest.raises(Halt) as caught:
        made.lm("hello")
    assert len(server.asked) == 1
    assert caught.value.error.code == code
    assert made.spent.usd_unknown_calls == 0


@pytest.mark.parametrize("fault", ["filter", "long"])
def test_what_this_request_will_always_meet_is_asked_once(server: Server, through: Any, fault: str) -> None:
    made = through(*[fault] * 5)
    with pytest.raises(Halt):
        made.lm("hello")
    assert len(server.asked) == 1


def test_the_json_adapter_does_not_pay_a_second_time_for_a_withheld_answer(
    server: Server, through: Any
) -> None:
    made = through("filter", on_failure="raise")
    with dspy.context(lm=made.lm), pytest.raises(dspy.LMError):
        dspy.Predict("question -> answer")(question="x")
    assert len(server.asked) == 1


def test_no_usage_in_the_answer_is_an_unknown_cost(through: Any) -> None:
    made = through("no usage")
    made.lm("hello")
    spent = made.spent
    assert (spent.usd, spent.usd_unknown_calls) == (0.0, 1)
    assert spent.bound_usd > 0, "and counts at its worst against a cap"
    assert made.account._spent.usd == pytest.approx(spent.bound_usd)


def test_a_key_that_a_server_echoes_is_in_no_error_and_no_cause_of_it(through: Any) -> None:
    made = through("401")
    with pytest.raises(Halt) as caught:
        made.lm("hello")
    link: BaseException | None = caught.value
    links = 0
    while link is not None:
        assert KEY not in f"{link} {link!r} {vars(link)}"
        links, link = links + 1, link.__cause__ or link.__context__
    assert links > 2
    assert "[key]" in str(caught.value)


def test_a_key_is_kept_out_of_errors_of_single_calls_too(through: Any) -> None:
    provider = through("401").model
    with pytest.raises(LMAuthError) as caught:
        provider.complete(Request(model="openai/m", messages=(Message.user("x"),)))
    assert KEY not in f"{caught.value} {caught.value.message} {caught.value.__cause__}"


def test_the_provider_below_counts_nothing_a_second_time(through: Any) -> None:
    started: list[Any] = []

    class Counting(dspy.utils.BaseCallback):
        def on_lm_start(self, call_id: str, instance: Any, inputs: Any) -> None:
            started.append(instance)

    made = through()
    with dspy.context(callbacks=[Counting()]), dspy.track_usage() as usage:
        made.lm("hello")
    assert started == [made.lm]
    assert len(made.lm.history) == 1
    assert [entry["total_tokens"] for entry in usage.get_total_tokens().values()] == [50]


def test_the_provider_below_streams_no_word_a_second_time(server: Server, through: Any) -> None:
    made = through("fields")
    listeners = [dspy.streaming.StreamListener(signature_field_name="answer")]

    async def chunks() -> list[Any]:
        stream = dspy.streamify(dspy.Predict("question -> answer"), stream_listeners=listeners)
        with dspy.context(lm=made.lm):
            return [part async for part in stream(question="x")]

    parts = asyncio.run(chunks())
    assert parts[-1].answer == "fine words"
    assert "".join(part.chunk for part in parts[:-1]) == "fine words"
    assert len(server.asked) == 1


def test_a_named_key_that_is_empty_is_told_before_any_call() -> None:
    spec = ModelSpec(model="openai/m", api_key_env="FLEET_KEY")
    for environ in ({}, {"FLEET_KEY": ""}):
        with pytest.raises(KeyMissing, match="FLEET_KEY") as caught:
            Provider(spec, environ)
        assert caught.value.exit_code == 6
        assert "export FLEET_KEY" in caught.value.hint
