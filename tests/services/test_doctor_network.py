"""The doctor's questions to providers: what they say, how long they take, and whom they reach."""

import contextlib
import socket
import threading
import time
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from certificates import encrypted, self_signed
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.services.doctor import examination, examine
from skill_fleet.services.doctor.network import Question, Questions, names_in
from skill_fleet.services.proxies import proxy_for
from skill_fleet.simulator import SimulatorSettings, running

KEY = "planted.key.of.nobody"
SECONDS = examination.NETWORK_SECONDS


@contextmanager
def serving(status=200, body=b'{"data": []}', headers=(), wait=0.0, tls=None):
    """A web server that answers every GET alike; yields its address and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def date_time_string(self, timestamp=None):
            return dict(headers).get("date") or super().date_time_string(timestamp)

        def do_GET(self):
            asked.append((self.path, dict(self.headers)))
            time.sleep(wait)
            self.send_response(status)
            for name, value in headers:
                if name != "date":
                    self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            asked.append(("a paid call", {}))

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.daemon_threads = True
        if tls is not None:
            httpd.socket = tls.wrap_socket(httpd.socket, server_side=True)
            httpd.handle_error = lambda *_: None  # who does not trust the certificate hangs up
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{httpd.server_port}", asked
        httpd.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A server here answers at once, but for a busy machine."""
    monkeypatch.setattr(examination, "NETWORK_SECONDS", 60.0)


@pytest.fixture
def found(workspace, monkeypatch):
    """The checks of one name in a workspace with one model at an address."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(workspace / "xdg"))
    monkeypatch.setenv("FLEET_TEST_KEY", KEY)

    def checks(address, *names, model="openai/m", **options):
        (workspace / "config" / "config.yaml").write_text(
            f"models: {{default: it, registry: {{it: {{model: {model}, api_base: '{address}', "
            "api_key_env: FLEET_TEST_KEY, max_tokens: 100}}}\n"
        )
        return [check for check in examine(workspace, **options) if check.name in names]

    return checks


def test_a_provider_is_asked_for_its_models_with_its_key_and_nothing_else(found):
    with serving(body=b'{"data": [{"id": "m"}, {"id": "n"}]}') as (url, asked):
        (check,) = found(f"{url}/v1", "provider")
    assert check.status == "ok"
    assert check.message == f"it: {url}/v1 answers, and has m."
    ((path, headers),) = asked
    assert path == "/v1/models"
    assert headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("model", "path", "header"),
    [
        ("anthropic/m", "/v1/models", "x-api-key"),
        ("gemini/m", "/v1beta/models", "x-goog-api-key"),
        ("hosted_vllm/m", "/v1/models", "authorization"),
    ],
)
def test_each_wire_has_its_address_and_header(found, model, path, header):
    with serving(body=b'{"data": [{"id": "m"}]}') as (url, asked):
        (check,) = found(url, "provider", model=model)
    assert check.status == "ok"
    assert asked[0][0].partition("?")[0] == path
    assert KEY in asked[0][1][header]
    assert [name for name, value in asked[0][1].items() if KEY in value and name != header] in (
        [],
        ["api-key"],
    )


@pytest.mark.parametrize(("model", "page"), [("gemini/m", "pageSize=1000"), ("anthropic/m", "limit=1000")])
def test_a_model_beyond_the_first_page_of_a_list_is_found(found, model, page):
    with serving(body=b'{"data": [{"id": "m"}]}') as (url, asked):
        found(url, "provider", model=model)
    assert asked[0][0].endswith(f"/models?{page}")


def test_azure_with_a_host_only_is_asked_where_its_calls_go(found):
    with serving(body=b'{"data": [{"id": "m"}]}') as (url, asked):
        (check,) = found(url, "provider", model="azure/m")
    assert check.status == "ok"
    assert asked[0][0] == "/openai/v1/models"


def test_a_question_is_shown_without_its_headers():
    assert KEY not in repr(Question("http://h/models", {"authorization": f"Bearer {KEY}"}))


def test_an_address_with_a_key_among_its_parameters_is_not_shown_nor_asked(found):
    with serving() as (url, asked):
        checks = found(f"{url}/v1?api_key={KEY}", "model", "provider")
    assert [(check.name, check.status) for check in checks] == [("model", "error")]
    assert KEY not in str(checks)
    assert asked == []


def test_the_simulator_is_asked_without_a_call(found):
    with running(SimulatorSettings()) as server:
        _, check = found(server.url, "model", "provider", model="openai/offline/rules-v1")
        assert server.totals().requests == 0
    assert check.status == "ok"
    assert "has offline/rules-v1" in check.message


def test_a_model_that_is_not_there_is_told_with_those_that_are_like_it(found):
    with serving(body=b'{"data": [{"id": "qwen3:8b"}, {"id": "zzz"}]}') as (url, _):
        (check,) = found(url, "provider", model="ollama_chat/qwen3")
        assert check.status == "warning"
        assert "does not list qwen3" in check.message
        assert "such as qwen3:8b" in check.hint
    with serving(body=b'{"data": [{"id": "qwen3:latest"}]}') as (url, _):
        assert found(url, "provider", model="ollama_chat/qwen3")[0].status == "ok"


@pytest.mark.parametrize(
    ("status", "level", "said"),
    [
        (401, "error", "refuses the key (401)"),
        (403, "error", "refuses the key (403)"),
        (404, "warning", "no list of models (404)"),
        (302, "error", "sends elsewhere (302)"),
        (429, "warning", "status 429"),
        (500, "warning", "status 500"),
    ],
)
def test_what_a_status_means(found, status, level, said):
    with serving(status, headers=(("location", "http://127.0.0.1:9/"),)) as (url, asked):
        (check,) = found(url, "provider")
    assert (check.status, len(asked)) == (level, 1)
    assert said in check.message
    assert KEY not in check.message + check.hint


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 100_000, b"[1]", b'{"data": 3}', b"<html>Welcome</html>", b"x" * 70_000]
)
def test_what_is_no_list_of_models_is_no_provider(found, body):
    with serving(body=body) as (url, _):
        (check,) = found(url, "provider")
    assert check.status == "warning"
    assert "answers, but not with a list of models; is it the right api_base?" in check.message
    assert check.hint == "See whether a call does: skill-fleet models test."


@pytest.mark.parametrize("body", [b'{"data": []}', b'{"models": []}', b'{"data": [{"id": 3}, 4]}'])
def test_a_list_without_names_is_no_trouble(found, body):
    with serving(body=body) as (url, _):
        (check,) = found(url, "provider")
    assert check.status == "ok"
    assert check.message.endswith("answers.")


def test_a_body_without_an_end_is_not_taken_for_an_answer(found):
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def pour():
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
                while True:
                    connection.sendall(b"0" * 65536)

        thread = threading.Thread(target=pour)
        thread.start()
        (check,) = found(f"http://127.0.0.1:{listening.getsockname()[1]}", "provider")
        thread.join(10)
        assert not thread.is_alive(), "it is not read to no end"
    assert check.status == "warning"
    assert "not with a list of models" in check.message


@pytest.mark.parametrize(
    ("status", "advice"), [(400, "models test"), (422, "models test"), (429, "Wait"), (503, "Wait")]
)
def test_waiting_is_advised_where_it_helps(found, status, advice):
    with serving(status) as (url, _):
        (check,) = found(url, "provider")
    assert advice in check.hint


def test_models_that_no_phase_uses_are_counted_or_looked_at(workspace, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(workspace / "xdg"))
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)

    def checks(extra, **options):
        (workspace / "config" / "config.yaml").write_text(
            f"models: {{default: it, registry: {{"
            f"it: {{model: openai/m, api_base: '{url}', max_tokens: 100}}{extra}}}}}\n"
        )
        return [one for one in examine(workspace, **options) if one.name in {"model", "models", "provider"}]

    with serving(body=b'{"data": [{"id": "m"}]}') as (url, asked):
        assert not [one for one in checks("") if one.name == "models"], "the offline model needs no look"
        second = f", spare: {{model: openai/n, api_base: '{url}', api_key_env: NO_SUCH_KEY, max_tokens: 1}}"
        third = f", third: {{model: openai/o, api_base: '{url}', max_tokens: 1}}"
        (told,) = [one for one in checks(second) if one.name == "models"]
        assert (told.status, told.message) == (
            "ok", "1 registered model that no phase uses is not looked at."
        )  # fmt: skip
        assert told.hint == "With them: skill-fleet doctor --all."
        (told,) = [one for one in checks(second + third) if one.name == "models"]
        assert told.message.startswith("2 registered models that no phase uses are")
        asked.clear()
        found = [(one.name, one.status) for one in checks(second + third, every=True)]
        assert found == [
            ("model", "ok"), ("model", "error"), ("model", "ok"), ("provider", "ok"), ("provider", "warning")
        ]  # fmt: skip
        assert len(asked) == 2, "without its key it is not asked"


def test_clocks_that_differ_by_more_than_a_minute(found):
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() - 300))
    with serving(headers=(("date", date),)) as (url, _):
        (check,) = found(url, "clock")
    assert check.status == "warning"
    assert "s ahead of that of it's provider" in check.message
    with serving() as (url, _):
        assert not found(url, "clock")
    with serving(headers=(("date", "yesterday"),)) as (url, _):
        assert not found(url, "clock")


def test_nothing_listens(found):
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        (check,) = found(f"http://127.0.0.1:{bound.getsockname()[1]}", "provider")
    assert check.status == "error"
    assert "Nothing listens" in check.message


def test_tls_where_there_is_none(found):
    with serving() as (url, _):
        (check,) = found(url.replace("http:", "https:"), "provider")
    assert check.status == "error"
    assert "does not speak TLS" in check.message


def test_a_certificate_that_nobody_signed(found, tmp_path, monkeypatch):
    certificate = self_signed(tmp_path)
    with serving(tls=encrypted(certificate)) as (url, asked):
        (check,) = found(url, "provider")
        assert check.status == "error"
        assert "The certificate of 127.0.0.1 is not accepted" in check.message
        assert "SSL_CERT_FILE" in check.hint
        assert asked == [], "the key is not shown to whoever that is"
        monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
        (check,) = found(url, "provider")
        assert check.status == "ok"
        assert [path for path, _ in asked] == ["/models"]


def test_a_silent_provider_takes_two_seconds_and_not_more(found, monkeypatch):
    monkeypatch.setattr(examination, "NETWORK_SECONDS", SECONDS)
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        (check,) = found(f"http://127.0.0.1:{silent.getsockname()[1]}", "provider")
        seconds = time.monotonic() - began
    assert check.status == "error"
    assert "did not answer within 2 s" in check.message
    # Two seconds of waiting; the rest is the first import of the optimizers, on a loaded machine.
    assert 2 <= seconds < 60


def test_many_silent_servers_take_no_longer_than_one():
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(100)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/models"
        began = time.monotonic()
        questions = Questions({str(n): Question(address) for n in range(40)}, {}, 0.5, SYSTEM_CLOCK)
        replies = questions.replies()
        seconds = time.monotonic() - began
    assert 0.5 <= seconds < 18, "one after the other it would be twenty"
    assert len(replies) == 40
    assert all(isinstance(reply.error, TimeoutError) for reply in replies.values())


def test_a_server_that_drips_is_not_waited_for():
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        over = threading.Event()

        def drip():
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
                for _ in range(1000):
                    if over.wait(0.1):
                        return
                    connection.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        questions = Questions({"it": Question(address)}, {}, 0.5, SYSTEM_CLOCK)
        assert isinstance(questions.replies()["it"].error, TimeoutError)
        assert time.monotonic() - began < 30
        over.set()
        thread.join()
        for asking in threading.enumerate():
            if asking.daemon and asking.name == "doctor-it":
                asking.join(10)


def test_offline_asks_nobody(found):
    with serving() as (url, asked):
        assert not found(url, "provider", "clock", offline=True)
    assert not asked


def test_a_model_without_its_key_is_not_asked(found, monkeypatch):
    monkeypatch.setenv("FLEET_TEST_KEY", "")
    with serving() as (url, asked):
        checks = found(url, "provider", "model")
    assert not asked
    assert [(check.name, check.status) for check in checks] == [("model", "error")]


def test_the_service_that_clients_talk_to(found, monkeypatch):
    with serving() as (url, asked):
        monkeypatch.setenv("SKILL_FLEET_SERVER", f"{url}/")
        (check,) = found("http://127.0.0.1:9", "service")
        assert (check.status, check.message) == ("ok", f"{url} answers.")
        assert [path for path, _ in asked] == ["/healthz"]
    (check,) = found("http://127.0.0.1:9", "service")
    assert check.status == "error"
    assert "unset SKILL_FLEET_SERVER" in check.hint


def test_through_a_proxy_but_never_to_this_machine():
    with serving(body=b'{"data": []}') as (proxy, asked):
        environ = {
            "HTTP_PROXY": proxy.replace("http://", "http://user:pass%20word@"),
            "NO_PROXY": "b.example",
        }
        questions = {"a": Question("http://a.example/v1/models"), "b": Question(f"{proxy}/v1/models")}
        replies = Questions(questions, environ, 5.0, SYSTEM_CLOCK).replies()
    assert [replies[name].status for name in "ab"] == [200, 200]
    assert sorted(path for path, _ in asked) == ["/v1/models", "http://a.example/v1/models"]


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        ("https://a.example/", {}, None),
        ("https://a.example/", {"https_proxy": "http://p:3128"}, ("p", 3128, {})),
        ("https://a.example/", {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "example"}, None),
        ("https://a.example/", {"ALL_PROXY": "http://p:3128", "no_proxy": "x, .example"}, None),
        ("https://a.example/", {"ALL_PROXY": "http://p:3128", "NO_PROXY": "*"}, None),
        ("https://a.example/", {"ALL_PROXY": "http://p", "NO_PROXY": "ample"}, ("p", 80, {})),
        ("http://localhost:1/", {"ALL_PROXY": "http://p:3128"}, None),
        (
            "https://a.example/",
            {"ALL_PROXY": "http://u:p%40@p:1"},
            ("p", 1, {"Proxy-Authorization": "Basic dTpwQA=="}),
        ),
    ],
)
def test_which_proxy(url, environ, expected):
    assert proxy_for(url, environ) == expected


def test_names_in_lists_of_all_wires():
    assert names_in({"data": [{"id": "a"}]}) == ["a"]
    assert names_in({"models": [{"name": "models/gemini-x"}]}) == ["gemini-x"]
    assert names_in(None) is None
