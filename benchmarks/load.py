"""A load generator for HTTP/1.1 over kept connections: one request again and again, in a process of its own.

    python benchmarks/load.py HOST PORT PATH --connections 16 --seconds 5 [--rate 500]

Without a rate, each connection sends its next request when it has its answer: the most the server can do.
With one, requests are due at even intervals, and each time counts from when it was due: a server that stalls
is not excused by the requests that were not sent meanwhile. Prints one JSON object: requests, seconds, rate,
p50, p99, worst (ms), and how many answers had which status.
"""

import argparse
import asyncio
import collections
import json
import time


class Connection(asyncio.Protocol):
    """One kept connection; a request at a time."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = b""
        self._waiter: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(exc or ConnectionResetError("closed"))

    def ask(self) -> "asyncio.Future[int]":
        """Send the request; its status."""
        self._waiter = asyncio.get_running_loop().create_future()
        self.transport.write(self._request)
        return self._waiter

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        place = head.lower().find(b"content-length:")
        length = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
        if len(body) >= length and self._waiter is not None:
            self._received = body[length:]
            self._waiter.set_result(int(head[9:12]))


async def load(host: str, port: int, request: bytes, connections: int, seconds: float, rate: float | None):
    """Times in seconds and statuses of all requests, and how long it took."""
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(lambda: Connection(request), host, port))[1] for _ in range(connections)
    ]
    times: list[float] = []
    statuses: collections.Counter[int] = collections.Counter()
    began = time.perf_counter()
    until = began + seconds
    due = iter(lambda: None, 0)  # never ends
    if rate is not None:
        due = iter([began + number / rate for number in range(int(seconds * rate))])

    async def work(connection: Connection) -> None:
        for moment in due:
            sent = time.perf_counter()
            if sent >= until and moment is None:
                return
            if moment is not None:
                await asyncio.sleep(max(moment - sent, 0.0))
                sent = moment
            statuses[await connection.ask()] += 1
            times.append(time.perf_counter() - sent)

    await asyncio.gather(*(work(connection) for connection in opened))
    return times, statuses, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--header", action="append", default=[])
    asked = parser.parse_args()
    extra = "".join(f"{header}\r\n" for header in asked.header)
    request = f"GET {asked.path} HTTP/1.1\r\nHost: {asked.host}:{asked.port}\r\n{extra}\r\n".encode()
    times, statuses, took = asyncio.run(
        load(asked.host, asked.port, request, asked.connections, asked.seconds, asked.rate)
    )
    times.sort()
    print(
        json.dumps(
            {
                "requests": len(times),
                "seconds": round(took, 3),
                "rate": round(len(times) / took, 1),
                "p50": round(times[len(times) // 2] * 1000, 2),
                "p99": round(times[min(int(len(times) * 0.99), len(times) - 1)] * 1000, 2),
                "worst": round(times[-1] * 1000, 2),
                "statuses": {str(status): number for status, number in statuses.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
