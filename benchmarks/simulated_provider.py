"""How many requests a second the simulated provider answers, over how many kept-alive connections.

    python benchmarks/simulated_provider.py --connections 16,256 --requests 3000

The server is a process of its own, the client this one: both share the machine. The prompts are DSPy's, of
about 1.4 kB, each another one; the offline model answers.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from urllib.parse import urlsplit

import dspy


class Sort(dspy.Signature):
    """Sort the ticket. Billing: refunds and invoices. Bugs: errors and crashes."""

    ticket: str = dspy.InputField()
    label: str = dspy.OutputField(desc="billing or bugs")


def bodies(count: int) -> list[bytes]:
    """Requests, each with a prompt of its own."""
    demos = [dspy.Example(ticket=f"Refund {number}, please. " * 4, label="billing") for number in range(3)]
    out = []
    for number in range(count):
        messages = dspy.ChatAdapter().format(Sort, demos, {"ticket": f"My invoice {number} is wrong."})
        out.append(
            json.dumps({"model": "offline/rules-v1", "temperature": 0.7, "messages": messages}).encode()
        )
    return out


async def worker(host: str, port: int, waiting: list[bytes], seconds: list[float]) -> None:
    """One connection that asks until nothing waits."""
    reader, writer = await asyncio.open_connection(host, port)
    while waiting:
        body = waiting.pop()
        began = time.perf_counter()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
        writer.write(head + body)
        said = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(said.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        assert said.startswith(b"http/1.1 200 ")
        seconds.append(time.perf_counter() - began)
    writer.close()


async def measured(url: str, connections: int, requests: int) -> str:
    """A row of the table."""
    place = urlsplit(url)
    assert place.hostname
    assert place.port
    waiting, seconds = bodies(requests), list[float]()
    began = time.perf_counter()
    await asyncio.gather(*(worker(place.hostname, place.port, waiting, seconds) for _ in range(connections)))
    wall = time.perf_counter() - began
    seconds.sort()
    half, most = seconds[len(seconds) // 2], seconds[int(0.99 * len(seconds))]
    times = f"{half * 1e3:>8.1f} ms  {most * 1e3:>8.1f} ms"
    return f"{connections:>11}  {requests:>8}  {requests / wall:>8,.0f}/s  {times}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", default="16,256")
    parser.add_argument("--requests", type=int, default=3000)
    options = parser.parse_args()
    command = [sys.executable, "-m", "skill_fleet", "simulate-provider", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        url = json.loads(server.stdout.readline())["url"]
        print("connections  requests    answered   median took      99 % took")
        for connections in options.connections.split(","):
            print(asyncio.run(measured(url, int(connections), options.requests)), flush=True)
        server.terminate()
        assert json.loads(server.stdout.readline())["billed_without_answer"] == 0


if __name__ == "__main__":
    main()
