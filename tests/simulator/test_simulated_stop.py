"""A simulated provider is told to stop, at whatever moment: it stops then, and says what it served."""

import asyncio
import threading

import pytest

from skill_fleet.simulator import Simulator, SimulatorSettings, server

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
