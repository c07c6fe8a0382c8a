"""What a call costs in this process beside the time of the provider: our client, and `dspy.LM`.

    python benchmarks/provider.py [--threads 1,8,64] [--calls 600]

The provider runs in a process of its own; both clients make the same calls over kept connections.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from typing import Any

from dspy.lm15 import Message, Request

from skill_fleet.config.settings import ModelSpec
from skill_fleet.llm.providers.plain_client import PlainClient
from skill_fleet.llm.providers.provider import NO_KEY, Provider

MODEL = "openai/offline/rules-v1"
REQUEST = Request(model=MODEL, messages=(Message.user("Say hello."),))


def measured(client: Any, threads: int, calls: int) -> tuple[float, float]:
    """Calls a second, and milliseconds of this process's processor time a call."""
    share = max(1, calls // threads)

    def work() -> None:
        for _ in range(share):
            client.complete(REQUEST)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    begin, used = time.perf_counter(), time.process_time()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    made = share * threads
    return made / (time.perf_counter() - begin), 1000 * (time.process_time() - used) / made


def main() -> None:
    """Print a line for each client and number of threads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--threads", default="1,8,64")
    parser.add_argument("--calls", type=int, default=600)
    asked = parser.parse_args()
    words = [sys.executable, "-m", "skill_fleet", "simulate-provider", "--json", "--quiet"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        spec = ModelSpec(model=MODEL, api_base=json.loads(server.stdout.readline())["url"])
        clients = {"skill-fleet": Provider(spec, {}), "dspy.LM": PlainClient(spec, NO_KEY)}
        print(f"{'client':12} {'threads':>7} {'calls/s':>8} {'CPU ms a call':>14}")
        for name, client in clients.items():
            client.complete(REQUEST)
            for threads in map(int, asked.threads.split(",")):
                rate, processor = measured(client, threads, asked.calls)
                print(f"{name:12} {threads:7} {rate:8.0f} {processor:14.2f}")
            client.close()
        server.terminate()


if __name__ == "__main__":
    main()
