"""`models test`: one real call, counted, and the cause in words when it fails."""

import signal
import socket
import sqlite3
import ssl
import threading
import time
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from dspy import lm15

from command_programs import script
from skill_fleet.config.settings import ModelSpec
from skill_fleet.llm.failures import explained, understand
from skill_fleet.services.models_diagnosis import connection_problem, diagnosed
from skill_fleet.simulator import Faults, Limits, Price, SimulatorSettings, running
from wires import Reply, generated, message, wire_server

MODEL = "openai/offline/rules-v1"


@pytest.fixture
def registered(cli):
    """Registers a model at an address by the command line."""

    def add(url, *options, model=MODEL):
        ended = cli("models", "add", "it", "--model", model, "--api-base", url, "--force", *options)
        assert ended.code == 0, ended.err
        return ended

    return add


@contextmanager
def answering(status, body=b"<html>nothing here</html>", headers=()):
    """A web server that gives every request the same answer."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            for name, value in (("content-length", str(len(body))), *headers):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def test_one_call_is_made_and_told_of(cli, registered, ws):
    settings = SimulatorSettings(limits=Limits(rpm=600, burst=5), price=Price(1.0, 2.0))
    with running(settings) as server:
        registered(server.url, "--price-in", "1", "--price-out", "2", "--max-tokens", "300")
        one = cli("models", "test", "it", "--json").json["models"][0]
        assert (one["ok"], one["error"], one["simulated"]) == (True, None, True)
        assert one["parsed"]
        assert "[[ ##" not in one["answer"]
        assert one["finish_reason"] == "stop"
        assert one["seed"] == "sent and taken"
        assert one["latency_seconds"] > 0
        assert one["limits"]["limit-requests"] == "600"
        assert one["price"] == {"input_per_million": 1.0, "output_per_million": 2.0}
        tokens = one["tokens"]
        assert one["usd"] == pytest.approx((tokens["input"] + 2 * tokens["output"]) / 1e6)
        served = server.totals()
        assert served.requests == 1
        assert (served.prompt_tokens, served.completion_tokens) == (tokens["input"], tokens["output"])
        said = cli("models", "test", "it")
        assert server.totals().requests == 2, "no stored answer is taken for a real one"
    assert said.code == 0
    assert said.out.startswith(f"it answers: {MODEL} at http://127.0.0.1:")
    assert "a simulator answers, not a language model" in said.out
    with closing(sqlite3.connect(ws / ".skill-fleet" / "ledger.sqlite")) as db:
        booked = db.execute("select run, state from attempt").fetchall()
    assert [state for _, state in booked] == ["settled", "settled"]
    assert all(run.startswith("models-test-") for run, _ in booked)


@pytest.mark.parametrize(
    ("model", "body", "tokens"),
    [
        (
            "gemini/m",
            {
                **generated(),
                "usageMetadata": {
                    "promptTokenCount": 3,
                    "candidatesTokenCount": 2,
                    "thoughtsTokenCount": 500,
                },
            },
            {"input": 3, "output": 502},
        ),
        (
            "anthropic/m",
            {**message(), "usage": {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 400}},
            {"input": 403, "output": 2},
        ),
    ],
)
def test_the_tokens_that_are_told_are_those_that_are_billed(cli, registered, model, body, tokens):
    with wire_server(Reply(body)) as server:
        registered(server.url, "--price-in", "1", "--price-out", "1", model=model)
        one = cli("models", "test", "it", "--json").json["models"][0]
    assert one["tokens"] == tokens
    assert one["usd"] == pytest.approx(sum(tokens.values()) / 1e6)


def test_usage_and_price_that_nobody_tells_are_unknown(cli, registered):
    with running(SimulatorSettings(faults=Faults({"no_usage": 1.0}))) as server:
        registered(server.url)
        one = cli("models", "test", "it", "--json").json["models"][0]
        shown = cli("models", "test", "it").out
    assert one["ok"]
    assert one["tokens"] == {"input": None, "output": None}
    assert one["usd"] is None
    assert one["price"] is None
    assert "cost        unknown" in shown


@pytest.mark.parametrize(
    ("fault", "code", "advice"),
    [
        ("auth", "auth", "FLEET_TEST_KEY"),
        ("quota", "billing", "billing"),
        ("not_found", "unsupported_model", "model's name"),
        ("rate_limit", "rate_limit", "rpm"),
        ("context", "context_window_exceeded", "context"),
        ("server_error", None, "Try again"),
        ("bad_gateway", None, "Try again"),
        ("reset", None, ""),
        ("truncated", None, ""),
        ("length", "truncated", "max_tokens"),
        ("content_filter", "content_filter", ""),
        ("blank", "empty", ""),
    ],
)
def test_each_fault_is_one_request_one_sentence_and_exit_6(cli, registered, fault, code, advice, monkeypatch):
    monkeypatch.setenv("FLEET_TEST_KEY", "planted.key.of.nobody")
    with running(SimulatorSettings(faults=Faults({fault: 1.0}))) as server:
        registered(server.url, "--api-key-env", "FLEET_TEST_KEY", "--max-tokens", "50")
        ended = cli("models", "test", "it", "--json")
        assert server.totals().requests == 1
    assert ended.code == 6
    error = ended.json["models"][0]["error"]
    assert code is None or error["code"] == code, error
    assert advice in error["hint"], error
    assert "esume" not in error["hint"], error
    assert "\n" not in error["message"]
    assert len(error["message"]) < 400
    assert "planted" not in ended.out + ended.err


def test_nothing_listens(cli, registered):
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        registered(f"http://127.0.0.1:{bound.getsockname()[1]}/v1")
        ended = cli("models", "test", "it", "--json")
    one = ended.json["models"][0]
    assert ended.code == 6
    assert one["error"]["code"] == "unreachable"
    assert "Start the server" in one["error"]["hint"]
    assert one["usd"] == 0, "what was never sent costs nothing, for sure"


@pytest.mark.parametrize("status", [404, 405, 200, 302])
def test_a_web_server_that_is_no_provider(cli, registered, status):
    with answering(status, headers=(("location", "/elsewhere"),)) as url:
        registered(url)
        error = cli("models", "test", "it", "--json").json["models"][0]["error"]
    assert error["code"] == "bad_address", error
    assert "/v1" in error["hint"]


def test_a_host_that_nobody_knows(cli, registered, monkeypatch):
    def unknown(*_args, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    registered("http://llm.nowhere.example/v1")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    one = cli("models", "test", "it", "--json").json["models"][0]
    assert one["error"]["code"] == "dns", one
    assert one["error"]["message"] == "The host llm.nowhere.example cannot be looked up."
    assert one["usd"] == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate"), "tls"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "tls"),
        (ConnectionRefusedError(111, "Connection refused"), "unreachable"),
        (OSError(113, "No route to host"), "unreachable"),
        (ValueError("something else"), None),
    ],
)
def test_causes_beneath_an_error(error, code):
    outer = RuntimeError("could not connect")
    outer.__cause__ = error
    found = connection_problem(outer, "https://llm.example/v1", {})
    assert (found and found.code) == code
    assert found is None or found.hint


@pytest.mark.parametrize(("status", "timeout"), [(504, 119), (408, 119), (504, 5)])
def test_a_servers_own_time_out_is_not_taken_for_ours(cli, registered, status, timeout):
    with answering(status, b'{"error": {"message": "upstream timed out"}}') as url:
        registered(f"{url}/v1", "--timeout", str(timeout))
        error = cli("models", "test", "it", "--json").json["models"][0]["error"]
    assert "did not answer within" not in error["message"], error
    assert "upstream timed out" in error["message"]
    assert "timeout (below" not in error["hint"]


@pytest.mark.parametrize(
    ("timeout", "said", "hint"), [(119, "115 s", "See whether"), (50, "50 s", "Raise its")]
)
def test_the_time_that_was_waited_is_the_one_that_is_told(timeout, said, hint):
    spec = ModelSpec(model="openai/m", api_base="http://h.example/v1", timeout=timeout)
    late = lm15.TimeoutError("No complete answer")
    told = explained(late, understand(late), spec.model)
    found = diagnosed(late, told, spec, {})
    assert found.message == f"http://h.example/v1 did not answer within {said}."
    assert found.hint.startswith(hint)


def test_behind_a_proxy_it_is_the_proxy_that_is_away():
    error = ConnectionRefusedError(111, "Connection refused")
    environ = {"HTTPS_PROXY": "http://user:hunter2@proxy.example:3128", "NO_PROXY": "near.example"}
    found = connection_problem(error, "https://llm.example/v1", environ)
    assert found.message == "https://llm.example/v1 cannot be reached through the proxy proxy.example:3128."
    assert "hunter2" not in str(found)
    assert connection_problem(error, "https://near.example/v1", environ).code == "unreachable"


def test_interrupted_while_it_waits(start, cli, registered, ws):
    with running(SimulatorSettings(faults=Faults({"hang": 1.0}))) as server:
        registered(server.url)
        process = start("models", "test", "it")
        until = time.monotonic() + 100
        while server.totals().requests == 0 and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1].startswith("error: Interrupted")
    with closing(sqlite3.connect(ws / ".skill-fleet" / "ledger.sqlite")) as db:
        assert db.execute("select state, possibly_billed from attempt").fetchall() == [("failed", 1)]


def test_tls_asked_of_a_server_that_has_none(cli, registered):
    with answering(200) as url:
        registered(url.replace("http:", "https:"))
        error = cli("models", "test", "it", "--json").json["models"][0]["error"]
    assert error["code"] == "tls", error
    assert "http://" in error["hint"]


def test_a_server_that_never_answers(cli, registered):
    with running(SimulatorSettings(faults=Faults({"hang": 1.0}))) as server:
        registered(server.url, "--timeout", "0.5")
        error = cli("models", "test", "it", "--json").json["models"][0]["error"]
    assert error["code"] == "timeout", error
    assert "0.5 s" in error["message"]


def test_a_key_that_is_missing_is_said_before_anything_is_sent(cli, registered):
    with running(SimulatorSettings()) as server:
        registered(server.url, "--api-key-env", "FLEET_TEST_KEY")
        ended = cli("models", "test", "it", "--json")
        assert server.totals().requests == 0
    one = ended.json["models"][0]
    assert ended.code == 6
    assert one["error"]["code"] == "key_missing"
    assert one["error"]["hint"] == "export FLEET_TEST_KEY=…"
    assert one["latency_seconds"] is None
    assert one["usd"] == 0


def test_an_answer_without_the_fields_is_said_to_be_so(cli, registered):
    body = (
        b'{"id": "x", "object": "chat.completion", "model": "m", "choices": [{"index": 0, '
        b'"finish_reason": "stop", "message": {"role": "assistant", "content": "Blue\\u001b[2J, I think."}}]}'
    )
    with answering(200, body, (("content-type", "application/json"),)) as url:
        registered(url, model="openai/chatty")
        one = cli("models", "test", "it", "--json").json["models"][0]
        shown = cli("models", "test", "it")
    assert (one["ok"], one["parsed"]) == (True, False)
    assert "Blue\\x1b[2J, I think. (the fields that were asked for are not in it)" in shown.out


def test_which_models_are_asked(cli, registered):
    assert [one["name"] for one in cli("models", "test", "--json").json["models"]] == ["offline"]
    with running(SimulatorSettings()) as server:
        registered(server.url, "--phase", "judge")
        asked = cli("models", "test", "--json")
        assert [one["name"] for one in asked.json["models"]] == ["it", "offline"]
        assert [one["name"] for one in cli("models", "test", "--all", "--json").json["models"]] == [
            "it",
            "offline",
        ]
        assert cli("models", "test", "--all", "it").code == 2
        asked = server.totals().requests
        unknown = cli("models", "test", "it", "nobody", "--json")
        assert unknown.code == 2
        assert "There is no model named 'nobody'" in unknown.err
        assert server.totals().requests == asked, "names are looked up before anything is paid"


def test_a_program_that_fails_is_told_of_like_a_provider(cli):
    assert cli("models", "add", "prog", "--command", "/nowhere/program -x").code == 0
    ended = cli("models", "test", "prog", "--json")
    assert ended.code == 6
    assert "/nowhere/program" in ended.json["models"][0]["error"]["message"]


@pytest.mark.parametrize(
    ("text", "code", "said", "advice"),
    [
        (
            "echo half an answer; exit 3",
            "command_failed",
            "status 3, without a word of why; it printed:",
            "by hand",
        ),
        (
            "echo half; echo error: no disk >&2; exit 3",
            "command_failed",
            "status 3: error: no disk.",
            "by hand",
        ),
        ("kill -9 $$", "command_failed", "killed by signal 9", "memory"),
        ("kill -15 $$", "command_failed", "killed by signal 15", "crashed"),
        (r"printf 'caf\351'", "malformed", "no UTF-8 text (byte 3)", "UTF-8"),
        ("head -c 9000000 /dev/zero", "malformed", "more than 8 MB", "the answer alone"),
        ("echo 'Not logged in' >&2; exit 1", "auth", "Not logged in", "Log in with the program"),
        ("echo '429 Too Many Requests' >&2; exit 1", "rate_limit", "429", "in_flight or rpm of this model"),
        ("sleep 30", "timeout", "no answer within 0.5 s", "Raise timeout of this model"),
    ],
)
def test_what_a_program_ended_with_has_its_own_advice(cli, ws, text, code, said, advice):
    (command,) = script(ws / "prog", text)
    added = cli("models", "add", "it", "--command", command, "--timeout", "0.5" if "sleep" in text else "60")
    assert added.code == 0, added.err
    ended = cli("models", "test", "it", "--json")
    assert ended.code == 6
    error = ended.json["models"][0]["error"]
    assert error["code"] == code
    assert said in error["message"]
    assert advice in error["hint"]
    assert "resume" not in error["hint"]
    assert "<name>" not in error["hint"]
