"""A provider with limits and faults, around the offline model: for tests and demonstrations."""

from skill_fleet.simulator.faults import CATALOGUE
from skill_fleet.simulator.ledger import Record, Totals
from skill_fleet.simulator.server import Running, Simulator, running
from skill_fleet.simulator.settings import Faults, Limits, Price, SimulatorSettings

__all__ = [
    "CATALOGUE",
    "Faults",
    "Limits",
    "Price",
    "Record",
    "Running",
    "Simulator",
    "SimulatorSettings",
    "Totals",
    "running",
]
