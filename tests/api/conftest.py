"""Apps and clients for the tests of the API."""

import sys
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

sys.path.append(str(Path(__file__).parent))

from api_frame import HandClock, client_of, frame


@pytest.fixture
def hand_clock() -> HandClock:
    return HandClock()


@pytest.fixture
def framed(tmp_path: Path, hand_clock: HandClock) -> FastAPI:
    """The frame of the app around a few routes; no key exists."""
    return frame(tmp_path, hand_clock)


@pytest.fixture
def visitor(framed: FastAPI) -> TestClient:
    """A client of it, in this process."""
    return client_of(framed)
