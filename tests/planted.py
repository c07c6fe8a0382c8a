"""Secrets to plant, a provider that echoes whatever it is shown, and where any of it came out again."""

import base64
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

# Of no shape that a pattern knows, in base64 too, and with characters that addresses write otherwise.
KEY = "set~key+of=Alpha"
UNUSED = "un~used+key=Beta"
LOGIN = "lo~gin=word.Gamma"
PROXY = "pro~xy+word.Delta"
COMMAND = "com~mand=w.Epsilon"
DATABASE = "data~base.word.Zeta"
SERVICE = "ser~vice+key.Eta"
ALL = (KEY, UNUSED, LOGIN, PROXY, COMMAND, DATABASE, SERVICE)


def environ() -> dict[str, str]:
    """Variables as a user has them, some used, some only there."""
    return {
        "MY_MODEL_KEY": KEY,
        "ANTHROPIC_API_KEY": UNUSED,
        "HTTPS_PROXY": f"http://me:{quote(PROXY, safe='')}@127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
        "MY_LOGIN": COMMAND,
    }


def forms(secret: str) -> set[str]:
    """How a secret can look in a text: plain, percent-encoded, in base64 wherever it stands in it."""
    found = {secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1]}
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + secret.encode()).decode()
        inside = whole[4 if before else 0 : len(whole) // 4 * 4 - 4]
        found |= {inside, inside.replace("+", "-").replace("/", "_")}
    return found


def leaks(text: str, place: str) -> list[str]:
    """Which secrets are in a text, and where."""
    return [
        f"{secret} in {place}: …{text[max(0, at - 80) : at + 80]!r}…"
        for secret in ALL
        for form in forms(secret)
        if (at := text.find(form)) >= 0
    ]


def leaks_below(root: Path, but: frozenset[str] = frozenset()) -> list[str]:
    """Which secrets are in the files below a folder, databases read row by row too."""
    found = []
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.relative_to(root).as_posix() not in but:
            found += leaks(path.read_bytes().decode("latin-1"), str(path.relative_to(root)))
            found += leaks(str(path.relative_to(root)), "a file's name")
            if path.suffix == ".sqlite":
                with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
                    found += leaks("\n".join(db.iterdump()), f"rows of {path.name}")
    return found


@dataclass
class Echo:
    """What the provider is to do: the status of the next answers, 200 when there is none left.

    Attributes:
        url: Its address.
        plan: Statuses, one a request.
        always: Answered when the plan is empty.
        shown: Every secret that a request brought to it.
    """

    url: str = ""
    plan: list[int] = field(default_factory=list)
    always: int = 200
    shown: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def status(self) -> int:
        with self.lock:
            return self.plan.pop(0) if self.plan else self.always


def _answer(body: dict[str, Any]) -> str:
    from dspy.lm15 import Message, Request

    from skill_fleet.llm.offline.model import OfflineModel

    makers = {"user": Message.user, "assistant": Message.assistant}
    system = "".join(one["content"] for one in body["messages"] if one["role"] in {"system", "developer"})
    turns = tuple(makers[one["role"]](one["content"]) for one in body["messages"] if one["role"] in makers)
    return (
        OfflineModel(0).complete(Request(model="m", messages=turns, system=system or None)).message.text or ""
    )


@contextmanager
def echoing() -> Iterator[Echo]:
    """A provider like OpenAI's that tells everybody what it was shown, in bodies and in headers."""
    state = Echo()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._say(200, {"data": []})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status = state.status()
            if status == 200:
                usage = {"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50}
                message = {"role": "assistant", "content": _answer(body)}
                choice = {"index": 0, "finish_reason": "stop", "message": message}
                self._say(200, {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})
            else:
                said = f"Incorrect API key provided: {'; '.join(self._echoes())}. Ask {self.path}."
                self._say(status, {"error": {"message": said, "code": said, "param": said, "type": said}})

        def _echoes(self) -> list[str]:
            shown = self.headers.get("authorization", "").partition(" ")[2]
            try:
                opened = base64.b64decode(shown, validate=True).decode()
            except ValueError:
                opened = shown
            with state.lock:
                state.shown |= {secret for secret in ALL if secret in shown + opened}
            twice = base64.b64encode(f"user:{opened}".encode()).decode()
            return [base64.b64encode(opened.encode()).decode(), twice, quote(opened, safe=""), opened, shown]

        def _say(self, status: int, value: Any) -> None:
            data = json.dumps({"model": "m", **value}).encode()
            self.send_response(status)
            for number, echo in enumerate(self._echoes()):
                self.send_header(f"x-echo-{number}", echo)
            self.send_header("www-authenticate", f'Bearer realm="{self._echoes()[3]}"')
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
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


def configuration(echo: Echo, command: tuple[str, ...]) -> str:
    """A configuration with a model of each kind; the login of one stands in its address."""
    login = echo.url.replace("http://", f"http://me:{quote(LOGIN, safe='')}@")
    more = {"max_tokens": 3000, "price": {"input_per_million": 1, "output_per_million": 1}}
    registry = {
        "keyed": {"model": "openai/keyed", "api_base": echo.url, "api_key_env": "MY_MODEL_KEY", **more},
        "login": {"model": "openai/login", "api_base": login, **more},
        "mine": {"model": "command/mine", "command": command, "command_env": ["MY_LOGIN"]},
    }
    calls = {"first_pause": 0.01, "longest_pause": 0.05}
    return json.dumps({"models": {"default": "keyed", "registry": registry}, "calls": calls})
