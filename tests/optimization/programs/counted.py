"""The ticket program, which notes when it is started."""

import threading
import time

import triage

STARTED: list[tuple[float, str]] = []


class CountedProgram(triage.TriageProgram):
    """One predictor; every run of it is noted."""

    def forward(self, ticket: str):
        STARTED.append((time.monotonic(), threading.current_thread().name))
        return self.triage(ticket=ticket)
