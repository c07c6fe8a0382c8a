"""A llama.cpp server in a process of its own, over a model of random weights."""

import http.client
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_PROGRAM = Path(__file__).with_name("llama_server.py")
_FIGURE = re.compile(r"^llamacpp:(\w+) ([\d.e+]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Counted:
    """What the server itself says that it has done, in tokens."""

    prompt: int
    completion: int

    def __sub__(self, before: "Counted") -> "Counted":
        return Counted(self.prompt - before.prompt, self.completion - before.completion)


class RealServer:
    """A server under way.

    Args:
        model: A file of weights.
        context: Tokens that a prompt and its answer may have together.
        slots: Answers it writes at a time; further requests wait.
        port: Where to listen; 0 takes a free port.
    """

    def __init__(self, model: Path, *, context: int = 16_384, slots: int = 4, port: int = 0) -> None:
        self.model, self.context, self.slots = model, context, slots
        words = [str(_PROGRAM), str(model), str(context), str(slots), str(port)]
        self.process = subprocess.Popen(
            [sys.executable, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline().strip()
        assert said.startswith("http://127.0.0.1:"), f"the server did not start: {said!r}"
        self.root = said
        self.url = f"{said}/v1"
        self._held: socket.socket | None = None

    def again(self) -> "RealServer":
        """Another one, at the same address."""
        port = int(self.root.rpartition(":")[2])
        made = RealServer(self.model, context=self.context, slots=self.slots, port=port)
        self._free_port()
        return made

    def counted(self) -> Counted:
        """What it has done so far; it notes that a moment after an answer, so a steady reading is taken."""
        before = self._read()
        while True:
            time.sleep(0.05)
            now = self._read()
            if now == before:
                return now
            before = now

    def _read(self) -> Counted:
        _, said = self.ask("GET", "/metrics")
        figures = {name: int(float(value)) for name, value in _FIGURE.findall(said.decode())}
        prompt = figures["prompt_tokens_total"] + figures["prompt_tokens_cached_total"]
        return Counted(prompt, figures["tokens_predicted_total"])

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """One raw request: the status and the body of the answer."""
        connection = http.client.HTTPConnection(self.root.removeprefix("http://"), timeout=10)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def freeze(self) -> None:
        """It takes connections and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self.process.send_signal(signal.SIGCONT)

    def go_away(self) -> None:
        """It is gone at once, and its port kept for `again`: who knocks is refused, nobody else gets it."""
        held = self._held = socket.socket()
        # Bound and not listening; both sides say that they share, as llama.cpp's does anyway.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._end()
        held.bind(("127.0.0.1", int(self.root.rpartition(":")[2])))

    def kill(self) -> None:
        """It is gone at once."""
        self._end()
        self._free_port()

    def _end(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _free_port(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None
