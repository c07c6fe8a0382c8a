"""A simulated provider is told to stop, at whatever moment: it stops then, and says what it served."""

import asyncio
import json
import threading

import pytest

from skill_fleet.simulator import Simulator, SimulatorSettings, server
from skill_fleet.simulator.wire import Connection, HttpRequest

MOMENTS = ("before it serves", "before there is a loop", "once there is one", "once it answers", "later")


@pytest.mark.parametrize("moment", MOMENTS)
def test_it_stops_whenever_it_is_told_to(moment, monkeypatch):
    simulator = Simulator(SimulatorSettings(max_seconds=60))
    real_loop, told = server._loop_factory, []

    def tell(now):
        if now == moment:
            simulator.stop()
            told.append(now)

    def factory():
        tell("before there is a loop")
        made = real_loop() or asyncio.new_event_loop
        loop = made()
        loop.call_soon(tell, "once there is one")
        return lambda: loop

    def ready():
        tell("once it answers")
        asyncio.get_running_loop().call_later(0.05, tell, "later")

    monkeypatch.setattr(server, "_loop_factory", factory)
    tell("before it serves")
    serving = threading.Thread(target=simulator.serve, args=(ready,))
    serving.start()
    serving.join(timeout=30)
    stopped = not serving.is_alive()
    simulator.stop()
    serving.join()
    assert told == [moment]
    assert stopped
    assert simulator.ledger.totals().requests == 0


def test_a_request_that_comes_when_the_books_are_closed_is_in_none_of_them(tmp_path):
    path = tmp_path / "ledger.ndjson"
    simulator = Simulator(SimulatorSettings(max_seconds=0.01, ledger=path))
    simulator.serve()
    body = {"model": "offline/rules-v1", "messages": [{"role": "user", "content": "hello"}]}
    request = HttpRequest("POST", "/v1/chat/completions", {}, json.dumps(body).encode(), "127.0.0.1")
    late = Connection(simulator._handle, 1000, set())  # that of a task which the loop had begun already
    asyncio.run(simulator._handle(request, late))
    assert (simulator.ledger.totals().requests, path.read_text()) == (0, "")
