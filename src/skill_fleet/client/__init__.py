"""The service from Python: a small client of its REST API, with its errors as this package's own."""

from skill_fleet.client.client import DEFAULT_URL, Client
from skill_fleet.client.records import Budget, Creation, Event, Job, JobPage, Optimization, Started

__all__ = [
    "DEFAULT_URL",
    "Budget",
    "Client",
    "Creation",
    "Event",
    "Job",
    "JobPage",
    "Optimization",
    "Started",
]
