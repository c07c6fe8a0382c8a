"""Many keep-alive connections at once, and none of them waits for another."""

import asyncio
import json

from skill_fleet.simulator import Faults, SimulatorSettings, running

CONNECTIONS = 256
EACH = 2


async def asked(port, number):
    """One connection that asks the same several times; the statuses."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = []
    for _ in range(EACH):
        messages = [{"role": "user", "content": f"Connection {number}."}]
        body = json.dumps({"model": "offline/rules-v1", "messages": messages}).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
        writer.write(head + body)
        said = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(said.partition("content-length: ")[2].partition("\r\n")[0])
        json.loads(await reader.readexactly(length))
        found.append(said.split()[1])
    writer.close()
    await writer.wait_closed()
    return found


def test_256_connections_are_served_at_once():
    # Only the first answer of each is slow: time enough for all to be asked on a busy machine.
    faults = Faults({"slow_first_byte": 1.0}, in_a_row=1, slow_seconds=3)
    with running(SimulatorSettings(faults=faults)) as server:
        port = int(server.url.removesuffix("/v1").rpartition(":")[2])

        async def all_of_them():
            return await asyncio.gather(*(asked(port, number) for number in range(CONNECTIONS)))

        found = asyncio.run(all_of_them())
        totals = server.totals()
    assert found == [["200"] * EACH] * CONNECTIONS
    assert totals.requests == totals.answered == CONNECTIONS * EACH
    assert totals.most_in_flight > CONNECTIONS / 4
