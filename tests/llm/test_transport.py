"""What a paid attempt must never do: last for ever, go elsewhere, fill the memory, say its key."""

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dspy.lm15 import Config, Message, Request
from dspy.utils.exceptions import LMConfigurationError, LMError, LMProviderError, LMTimeoutError

from certificates import encrypted, self_signed
from skill_fleet.config.settings import ModelSpec
from skill_fleet.llm.failures import Failure, understand
from skill_fleet.llm.providers import attempt_rules, known_inside, transport
from skill_fleet.llm.providers.provider import Provider
from skill_fleet.llm.providers.routes import LONGEST_ATTEMPT, ROUTES
from wires import Reply, Write, chat, chat_events, drip, openai_error, wire_server

REQUEST = Request(model="openai/m", messages=(Message.user("hello"),), config=Config(max_tokens=200))
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
SECONDS = 1.0
SLACK = 15.0  # on a busy machine; the servers here would go on for ever

Ask = Callable[[Provider], Any]


def at_once(provider: Provider) -> Any:
    return provider.complete(REQUEST)


def awaited(provider: Provider) -> Any:
    return asyncio.run(provider.acomplete(REQUEST))


def streamed(provider: Provider) -> Any:
    return list(provider.stream(REQUEST))


def awaited_stream(provider: Provider) -> Any:
    async def all_of_it() -> list[Any]:
        return [event async for event in provider.astream(REQUEST)]

    return asyncio.run(all_of_it())


ASKS = [at_once, awaited, streamed, awaited_stream]


@pytest.fixture
def to() -> Iterator[Callable[..., Provider]]:
    opened: list[Provider] = []

    def make(
        url: str,
        timeout: float = 5.0,
        environ: Mapping[str, str] | None = None,
        told: Any = None,
        **changes: Any,
    ) -> Provider:
        spec = ModelSpec(model="openai/m", api_base=f"{url}/v1", timeout=timeout, **changes)
        opened.append(Provider(spec, environ or {}, told))
        return opened[-1]

    yield make
    for provider in opened:
        provider.close()


def then_silent(data: bytes) -> Callable[[Write, Callable[[], bool]], None]:
    def send(put: Write, go_on: Callable[[], bool]) -> None:
        put(data)
        while go_on():
            time.sleep(0.02)

    return send


SLOW = {
    "no byte at all": then_silent(b""),
    "half an answer": then_silent(HEAD + b'{"a'),
    "a head byte by byte": drip(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 10**4, 0.02),
    "a body byte by byte": drip(b"{", 0.01, HEAD),
    "the length of a chunk byte by byte": drip(b"5;" + b"x" * 10**4, 0.01, CHUNKED),
}


def side_by_side(try_one: Callable[[Ask], None]) -> None:
    """Try something in all ways of asking at once: most of it is waiting."""
    with ThreadPoolExecutor(len(ASKS)) as pool:
        for future in [pool.submit(try_one, ask) for ask in ASKS]:
            future.result()


@pytest.mark.parametrize("slow", SLOW)
def test_an_attempt_ends_with_its_time_however_the_server_spends_it(
    to: Callable[..., Provider], slow: str
) -> None:
    def ends_in_time(ask: Ask) -> None:
        begin = time.monotonic()
        with pytest.raises(LMTimeoutError, match=r"within 1 s") as caught:
            ask(to(server.url, timeout=SECONDS))
        assert SECONDS - 0.05 <= time.monotonic() - begin < SECONDS + SLACK
        assert understand(caught.value) == Failure("timeout", "retry", sent=True)

    with wire_server(Reply(raw=SLOW[slow])) as server:
        side_by_side(ends_in_time)


def test_a_byte_shortly_before_the_end_buys_no_time(to: Callable[..., Provider]) -> None:
    def late(put: Write, go_on: Callable[[], bool]) -> None:
        time.sleep(5.5)
        then_silent(HEAD + b"{")(put, go_on)

    def ends_in_time(ask: Ask) -> None:
        begin = time.monotonic()
        with pytest.raises(LMTimeoutError):
            ask(to(server.url, timeout=6.0))
        assert time.monotonic() - begin < 11.3, "the byte would have bought it 6 s more, to 11.5 s"

    with wire_server(Reply(raw=late)) as server:
        side_by_side(ends_in_time)


def test_every_timeout_that_is_allowed_ends_before_dspy_sends_a_call_again() -> None:
    for seconds in (0.1, 100.0, 119.9):
        rules = attempt_rules.Rules(
            "http://127.0.0.1:1/v1", ModelSpec(model="openai/m", timeout=seconds).timeout
        )
        assert rules.seconds == min(seconds, LONGEST_ATTEMPT)
        assert rules.seconds + 4 < 120


def test_an_attempt_that_found_nobody_was_not_sent(to: Callable[..., Provider]) -> None:
    with wire_server(Reply(chat())) as server:
        gone = server.url
    for ask in ASKS:
        with pytest.raises(LMError) as caught:
            ask(to(gone))
        assert understand(caught.value) == Failure("transport", "retry", sent=False)


@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: ask.__name__)
def test_a_server_that_hears_a_request_and_hangs_up_may_have_billed_it(
    to: Callable[..., Provider], ask: Ask
) -> None:
    with wire_server(Reply(raw=lambda *_: None)) as server:
        with pytest.raises(LMError) as caught:
            ask(to(server.url))
        assert len(server.asked) == 1
    assert understand(caught.value) == Failure("transport", "retry", sent=True)


@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: ask.__name__)
def test_a_redirect_is_not_followed_and_says_what_to_do(to: Callable[..., Provider], ask: Ask) -> None:
    with wire_server(Reply(chat(), headers={})) as elsewhere:
        moved = Reply(b"moved", 307, {"location": f"{elsewhere.url}/v1/chat/completions"})
        with wire_server(moved) as server, pytest.raises(LMConfigurationError, match="redirect") as caught:
            ask(to(server.url))
        assert not elsewhere.asked
        assert elsewhere.connections == 0
    assert understand(caught.value).remedy == "stop"
    assert "api_base" in str(caught.value)


def test_a_request_to_another_origin_is_refused() -> None:
    rules = attempt_rules.Rules("https://api.example/v1", 1.0)
    for url in ("http://api.example/v1", "https://api.example:8443/v1", "https://other.example/v1"):
        request = transport.TransportRequest(method="POST", url=url)
        with pytest.raises(Exception, match="refused"):
            rules.outgoing(request)
    same = transport.TransportRequest(method="POST", url="https://API.example:443/v2/x")
    assert rules.outgoing(same) is same


@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: ask.__name__)
def test_an_answer_without_end_is_given_up(
    to: Callable[..., Provider], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_rules, "LARGEST_ANSWER", 2**20)

    def flood(put: Write, go_on: Callable[[], bool]) -> None:
        put(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9000000000\r\n\r\n")
        while go_on():
            put(b": \n" * 2**16)

    with (
        wire_server(Reply(raw=flood)) as server,
        pytest.raises(LMProviderError, match="longer than 1 MB") as caught,
    ):
        ask(to(server.url))
    assert understand(caught.value) == Failure("provider", "give_up", sent=True)


@pytest.mark.parametrize("ask", [at_once, awaited], ids=lambda ask: ask.__name__)
@pytest.mark.parametrize("status", [200, 429, 500, 302])
def test_the_headers_of_every_response_are_told(to: Callable[..., Provider], ask: Ask, status: int) -> None:
    told: list[Mapping[str, str]] = []
    limits = {"X-RateLimit-Remaining-Requests": "7", "Retry-After": "1"}
    with wire_server(Reply(chat(), status, limits)) as server:
        try:
            ask(to(server.url, told=told.append))
        except LMError:
            assert status != 200
    assert [one["x-ratelimit-remaining-requests"] for one in told] == ["7"]


def test_connections_are_kept_and_there_are_enough_for_256_threads(to: Callable[..., Provider]) -> None:
    together = threading.Event()
    with wire_server(Reply(chat(), hold=together)) as server:
        provider = to(server.url, timeout=90.0)
        answers: list[str] = []
        threads = [
            threading.Thread(target=lambda: answers.append(provider.complete(REQUEST).message.text or ""))
            for _ in range(256)
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len(server.asked) < 256 and time.monotonic() < deadline:
            time.sleep(0.01)
        at_the_server = len(server.asked)
        together.set()
        for thread in threads:
            thread.join()
        assert at_the_server == 256, "all of them were there before the first was answered"
        assert answers == ["fine"] * 256
        opened = server.connections
        for _ in range(5):
            provider.complete(REQUEST)
        assert server.connections == opened


@pytest.mark.parametrize("tasks", [False, True], ids=["threads", "tasks"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("patience", [None, 0.1], ids=["to the end", "for a moment"])
def test_an_attempt_that_finds_no_free_connection_was_not_sent(
    to: Callable[..., Provider],
    tasks: bool,
    stream: bool,
    patience: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The only one belongs to a stream that is read slowly."""
    monkeypatch.setattr(attempt_rules, "CONNECTIONS", 1)
    if patience is not None:
        real = attempt_rules.Rules.options
        monkeypatch.setattr(
            attempt_rules.Rules, "options", lambda rules: {**real(rules), "pool_timeout": patience}
        )

    def in_a_thread(provider: Provider) -> None:
        with contextlib.closing(provider.stream(REQUEST)) as events:  # type: ignore[type-var]
            next(events)
            next(provider.stream(REQUEST)) if stream else provider.complete(REQUEST)

    async def in_a_task(provider: Provider) -> None:
        async with contextlib.aclosing(provider.astream(REQUEST)) as events:  # type: ignore[type-var]
            await anext(events)
            await (anext(provider.astream(REQUEST)) if stream else provider.acomplete(REQUEST))

    with wire_server(Reply(chat_events("fine"))) as server:
        provider = to(server.url, timeout=0.5)
        with pytest.raises(LMError) as caught:
            asyncio.run(in_a_task(provider)) if tasks else in_a_thread(provider)
    assert understand(caught.value) == Failure("transport", "retry", sent=False)
    assert len(server.asked) == 1


def test_streams_that_are_left_early_give_their_places_back(to: Callable[..., Provider]) -> None:
    with wire_server(Reply(chat_events("one", "two", "three"))) as server:
        provider = to(server.url)
        for _ in range(attempt_rules.CONNECTIONS + 1):
            events = provider.stream(REQUEST)
            next(events)
            events.close()
        assert [event.type for event in provider.stream(REQUEST)][-1] == "end"


def test_failed_attempts_give_their_places_back(
    to: Callable[..., Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_rules, "CONNECTIONS", 2)
    cut = HEAD + b"{"
    replies = [Reply(raw=lambda put, _: put(cut)), Reply(b"moved", 302), Reply(b"", 500), Reply(b"{")] * 2
    with wire_server(*replies, Reply(chat())) as server:
        provider = to(server.url, timeout=20.0)
        kept = []
        for _ in replies:
            with pytest.raises(LMError) as caught:
                provider.complete(REQUEST)
            kept.append(caught.value)  # what an error holds on to must not be a place in the pool
        assert provider.complete(REQUEST).message.text == "fine"


def test_many_event_loops_one_after_another_share_a_provider(to: Callable[..., Provider]) -> None:
    with wire_server(Reply(chat())) as server:
        provider = to(server.url)
        for _ in range(3):
            assert awaited(provider).message.text == "fine"

        async def many() -> list[Any]:
            return await asyncio.gather(*(provider.acomplete(REQUEST) for _ in range(20)))

        assert len(asyncio.run(many())) == 20


def test_a_cancelled_task_leaves_its_attempt_at_once(to: Callable[..., Provider]) -> None:
    async def cancelled(provider: Provider) -> float:
        task = asyncio.ensure_future(provider.acomplete(REQUEST))
        while not server.asked:  # noqa: ASYNC110 - told by a thread
            await asyncio.sleep(0.01)
        begin = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - begin

    with wire_server(Reply(raw=then_silent(HEAD))) as server:
        assert asyncio.run(cancelled(to(server.url, timeout=90.0))) < 30.0


def test_proxies_of_the_environment_are_used_but_not_for_this_machine(
    to: Callable[..., Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    with wire_server(Reply(chat())) as proxy, wire_server(Reply(chat())) as server:
        for name in ("no_proxy", "NO_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", proxy.url)
        at_once(to(server.url))
        awaited(to(server.url))
        assert (len(server.asked), len(proxy.asked)) == (2, 0)
        at_once(to("http://models.example"))
        awaited(to("http://models.example"))
        assert {one.path for one in proxy.asked} == {"http://models.example/v1/chat/completions"}
        assert len(proxy.asked) == 2


def test_a_user_name_and_password_in_the_address_are_sent_and_never_shown(
    to: Callable[..., Provider],
) -> None:
    echoing = Reply({"error": {"message": "wrong: someone / pass%word1 Basic c29tZW9uZTpwYXNzJXdvcmQx"}}, 401)
    with wire_server(Reply(chat()), echoing) as server:
        at = server.url.replace("http://", "http://someone:pass%25word1@")
        provider = to(at)
        at_once(provider)
        assert server.asked[0].headers["authorization"] == "Basic c29tZW9uZTpwYXNzJXdvcmQx"
        with pytest.raises(LMError) as caught:
            at_once(provider)
    assert "pass%word1" not in f"{caught.value} {caught.value.__cause__}"
    assert "c29tZW9u" not in f"{caught.value} {caught.value.__cause__}"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of this machine's, and its key in the same file."""
    return self_signed(tmp_path_factory.mktemp("tls"))


def test_encrypted_connections_keep_the_same_rules(
    to: Callable[..., Provider], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    with wire_server(Reply(chat()), Reply(raw=SLOW["half an answer"]), tls=encrypted(certificate)) as server:
        provider = to(server.url, timeout=3.0)
        assert at_once(provider).message.text == "fine"
        begin = time.monotonic()
        with pytest.raises(LMTimeoutError):
            at_once(provider)
        assert time.monotonic() - begin < 3.0 + SLACK


def test_encrypted_connections_of_tasks(
    to: Callable[..., Provider], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    with wire_server(Reply(chat()), tls=encrypted(certificate)) as server:
        assert awaited(to(server.url)).message.text == "fine"


@pytest.mark.parametrize("ask", ASKS[:2], ids=lambda ask: ask.__name__)
def test_a_certificate_that_nobody_signed_stops_at_once(
    to: Callable[..., Provider], certificate: Path, ask: Ask
) -> None:
    with wire_server(Reply(chat()), tls=encrypted(certificate)) as server:
        with pytest.raises(LMConfigurationError, match="certificate verify failed") as caught:
            ask(to(server.url))
        assert not server.asked
    assert understand(caught.value).remedy == "stop"


def test_nothing_is_logged(to: Callable[..., Provider], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with wire_server(Reply(chat()), Reply(b"oops", 500)) as server:
        provider = to(server.url, environ={"K": "planted-key-1"}, api_key_env="K")
        at_once(provider)
        with pytest.raises(LMError):
            at_once(provider)
    assert "planted-key-1" not in caplog.text
    assert "hello" not in caplog.text


def test_the_inside_of_dspys_client_is_the_one_that_is_relied_on() -> None:
    assert known_inside.usable(), "look at llm/providers/known_inside.py before moving the bound of dspy"


@pytest.mark.parametrize(
    ("owner", "name"), [("StdlibTransport", "_open"), ("StdlibAsyncTransport", "_send_request")]
)
def test_a_name_of_dspys_client_that_is_gone_or_another_is_not_relied_on(
    owner: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = getattr(known_inside, owner)
    with monkeypatch.context() as changed:
        changed.setattr(inside, name, lambda self, something, else_: None)
        assert not known_inside.usable()
    with monkeypatch.context() as changed:
        changed.delattr(inside, name)
        assert not known_inside.usable()
    assert known_inside.usable()


def test_a_response_that_keeps_its_body_elsewhere_is_not_relied_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(transport.TransportResponse):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            self._parts = self.__dict__.pop("_chunks")

    class Otherwise(transport.TransportResponse):
        def __init__(self, *, body: Any) -> None:
            pass

    for other in (Elsewhere, Otherwise):
        monkeypatch.setattr(known_inside, "TransportResponse", other)
        assert not known_inside.usable()


@pytest.mark.parametrize(
    "prefix", [route.prefix for route in ROUTES if route.wire == "openai" and route.prefix != "azure"]
)
def test_with_another_inside_dspys_own_model_answers(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_inside, "_OPEN", ("self", "something", "else"))
    assert not known_inside.usable()
    with wire_server(Reply(chat())) as server:
        spec = ModelSpec(model=f"{prefix}/m", api_base=f"{server.url}/v1", api_key_env="K")
        provider = Provider(spec, {"K": "planted-key-1"})
        request = Request(model=spec.model, messages=(Message.user("hello"),))
        assert provider.complete(request).message.text == "fine"
        assert asyncio.run(provider.acomplete(request)).message.text == "fine"
        assert [event.type for event in provider.stream(request)][-1] == "end"
        provider.close()
    assert {one.path for one in server.asked} == {"/v1/chat/completions"}
    assert server.asked[0].headers["authorization"] == "Bearer planted-key-1"


FAILING = {
    "server": Reply({"error": {"message": "down for planted-key-1"}}, 500),
    "auth": Reply({"error": {"message": "no planted-key-1"}}, 401),
    "rate_limit": Reply({"error": {"message": "slower"}}, 429, {"retry-after": "7"}),
    "billing": Reply(openai_error("Your account is not active, please check your billing details."), 429),
    "provider": Reply(b"{no JSON", 200, {"content-type": "application/json"}),
}


@pytest.mark.parametrize("code", FAILING)
def test_with_another_inside_failures_are_understood_as_well(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_inside, "_OPEN", ("self", "something", "else"))
    with wire_server(FAILING[code]) as server:
        spec = ModelSpec(model="openai/m", api_base=f"{server.url}/v1", api_key_env="K")
        provider = Provider(spec, {"K": "planted-key-1"})
        request = Request(model=spec.model, messages=(Message.user("hello"),))
        for ask in (provider.complete, lambda one: asyncio.run(provider.acomplete(one))):
            with pytest.raises(LMError) as caught:
                ask(request)
            failure = understand(caught.value)
            assert failure.code == code
            assert failure.retry_after == (7.0 if code == "rate_limit" else None)
            assert "planted" not in f"{caught.value!r} {caught.value.__cause__!r} {vars(caught.value)}"
        provider.close()
    assert len(server.asked) == 2, "one attempt a call"


def test_with_another_inside_a_silent_server_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_inside, "_OPEN", ("self", "something", "else"))
    hold = threading.Event()
    with wire_server(Reply(chat(), hold=hold)) as server:
        spec = ModelSpec(model="openai/m", api_base=f"{server.url}/v1", timeout=0.3)
        provider = Provider(spec, {})
        began = time.monotonic()
        with pytest.raises(LMError) as caught:
            provider.complete(Request(model=spec.model, messages=(Message.user("hello"),)))
        assert time.monotonic() - began < SLACK
        failure = understand(caught.value)
        assert (failure.remedy, failure.sent, failure.answered) == ("retry", True, False)
        hold.set()
        provider.close()


def slow_names(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    real = socket.getaddrinfo

    def slow(*args: Any, **options: Any) -> Any:
        time.sleep(seconds)
        return real(*args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)


def test_a_name_that_is_looked_up_too_long_ends_with_the_attempt_and_nothing_was_sent(
    to: Callable[..., Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends_in_time(ask: Ask) -> None:
        begin = time.monotonic()
        with pytest.raises(LMError, match=r"No connection within 0\.3 s") as caught:
            ask(to(server.url.replace("127.0.0.1", "localhost"), timeout=0.3))
        if ask in {at_once, streamed}:  # a loop that ends waits for its threads
            assert time.monotonic() - begin < 8.5
        failure = understand(caught.value)
        assert (failure.code, failure.sent, failure.unreached) == ("transport", False, True)

    with wire_server(Reply(chat())) as server:
        slow_names(monkeypatch, 9.0)
        side_by_side(ends_in_time)
        assert not server.asked


def test_a_handshake_without_end_ends_with_the_attempt_and_nothing_was_sent(
    to: Callable[..., Provider],
) -> None:
    def ends_in_time(ask: Ask) -> None:
        begin = time.monotonic()
        with pytest.raises(LMError) as caught:
            ask(to(server.url.replace("http://", "https://"), timeout=0.4))
        assert time.monotonic() - begin < 0.4 + SLACK
        assert not understand(caught.value).sent

    with wire_server(Reply(raw=then_silent(b""))) as server:
        side_by_side(ends_in_time)


def test_a_connection_that_comes_too_late_is_closed(
    to: Callable[..., Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    with wire_server(Reply(chat())) as server:
        provider = to(server.url.replace("127.0.0.1", "localhost"), timeout=0.3)
        slow_names(monkeypatch, 0.6)
        with pytest.raises(LMError, match="No connection"):
            at_once(provider)
        deadline = time.monotonic() + 60
        while any(one.name == "connecting" for one in threading.enumerate()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not any(one.name == "connecting" for one in threading.enumerate())
        assert not server.asked


def held(words: list[str], first: int, go_on: threading.Event) -> Reply:
    """A stream whose first events come at once, and the others when they may."""
    events = [f"{event}\n\n".encode() for event in chat_events(*words)]

    def send(put: Write, _: Callable[[], bool]) -> None:
        put(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        put(b"".join(events[:first]))
        go_on.wait(60)
        put(b"".join(events[first:]))

    return Reply(raw=send)


@pytest.mark.parametrize("tasks", [False, True], ids=["thread", "task"])
def test_the_time_a_reader_takes_is_not_the_providers(to: Callable[..., Provider], tasks: bool) -> None:
    """He is busy for longer than the attempt may take, and only then comes more."""
    go_on = threading.Event()
    kinds: list[str] = []

    async def slowly(provider: Provider) -> None:
        async for event in provider.astream(REQUEST):
            kinds.append(event.type)
            if len(kinds) == 2:
                await asyncio.sleep(2.3)
                go_on.set()

    with wire_server(held(["one", "two", "three"], 1, go_on)) as server:
        provider = to(server.url, timeout=2.0)
        if tasks:
            asyncio.run(slowly(provider))
        else:
            for event in provider.stream(REQUEST):
                kinds.append(event.type)
                if len(kinds) == 2:
                    time.sleep(2.3)
                    go_on.set()
    assert kinds == ["start", "delta", "delta", "delta", "end"]


def test_what_is_known_of_a_loop_goes_when_it_is_closed(to: Callable[..., Provider]) -> None:
    with wire_server(Reply(chat())) as server:
        provider = to(server.url)
        for _ in range(4):
            awaited(provider)
        assert len(provider._client._loops) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: ask.__name__)
def test_a_key_that_an_error_echoes_is_taken_out_whatever_way_it_was_asked(
    to: Callable[..., Provider], ask: Ask
) -> None:
    echo = {"error": {"message": "wrong key plantedkeyone1 given", "type": "invalid_request_error"}}
    with wire_server(Reply(echo, 401)) as server:
        provider = to(server.url, environ={"K": "plantedkeyone1"}, api_key_env="K")
        with pytest.raises(LMError) as caught:
            ask(provider)
    assert "plantedkeyone1" not in f"{caught.value} {caught.value.__cause__} {vars(caught.value)}"
    assert "wrong key" in str(caught.value)
