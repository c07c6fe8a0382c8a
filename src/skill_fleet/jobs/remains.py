"""What a process leaves behind for whoever asks why it died: its last words, and the memory it took."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

from skill_fleet.foundation.redaction import secrets_of, without_keys, without_secrets

_KEPT_BYTES = 4096
_FIRST_LOOK_SECONDS = 0.1
_LOOK_SECONDS = 1.0


class Remains:
    """Filled while the process lives.

    Attributes:
        peak_megabytes: The most memory it was seen to hold; None where the system does not tell.
    """

    def __init__(self) -> None:
        self._stderr = b""
        self.peak_megabytes: float | None = None

    async def hear(self, stderr: asyncio.StreamReader) -> None:
        """Keep the end of what it says, so that it can always say more."""
        while said := await stderr.read(_KEPT_BYTES):
            self._stderr = (self._stderr + said)[-_KEPT_BYTES:]

    async def measure(self, pid: int) -> None:
        """Look at its memory now and then; the system keeps the peak between two looks."""
        pause = _FIRST_LOOK_SECONDS
        while True:
            self.peak_megabytes = _peak_megabytes(pid) or self.peak_megabytes
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LOOK_SECONDS)

    def last_words(self, environment: Mapping[str, str]) -> str:
        """The end of its standard error, at most 4 kB, without the secrets of its environment."""
        text = self._stderr.decode("utf-8", "replace").strip()
        return without_keys(without_secrets(text, secrets_of(environment)))


def _peak_megabytes(pid: int) -> float | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None  # no Linux, or it is gone
    peak = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return round(int(peak[1]) / 1024, 1) if peak else None
