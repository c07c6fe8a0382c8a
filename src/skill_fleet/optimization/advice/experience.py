"""What past runs of a workspace took and gained, by optimizer: evidence for the next choice."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.errors import DataError, StorageError
from skill_fleet.foundation.files import read_json
from skill_fleet.optimization.records.runs import RunFolder, list_runs, status_of

ENOUGH = 3
"""Runs from which evidence counts; fewer are shown and decide nothing."""
_SPARED = 0.1
MEASURES = ("calls", "tokens", "usd", "minutes")


@dataclass(frozen=True)
class Occasion:
    """What evidence must be about to count: another program or model says little about this one."""

    program: str
    metric: str | None
    model: str


@dataclass(frozen=True)
class Past:
    """What one optimizer's finished runs took and gained.

    Attributes:
        optimizer: Its name.
        runs: Runs that succeeded, repetitions of one run counted once.
        better: Of them with the verdict `better`.
        gain: Median difference of the means on the sealed test; None where none was measured.
        calls: Median calls made.
        usd: Median dollars; None where a price was unknown.
        minutes: Median minutes.
        priced: Of the runs those that ratios are taken from.
        ratios: Median of actual to estimated by measure; what was not estimated, or as free, is left out, and
            so are runs that were mostly spared calls by answers of earlier runs.
    """

    optimizer: str
    runs: int
    better: int
    gain: float | None
    calls: float
    usd: float | None
    minutes: float
    priced: int
    ratios: Mapping[str, float]

    @property
    def fruitless(self) -> bool:
        """Tried often enough, and never shown to be better."""
        return self.runs >= ENOUGH and self.better == 0

    @property
    def proven(self) -> bool:
        """Tried often enough, and better in most runs."""
        return self.runs >= ENOUGH and 2 * self.better > self.runs

    def to_json(self) -> dict[str, Any]:
        """The values by their names."""
        return asdict(self)


def past_runs(runs: Path, occasion: Occasion) -> tuple[dict[str, Past], list[str]]:
    """The evidence of a workspace.

    Args:
        runs: The folder of runs.
        occasion: What it must be about.

    Returns:
        By optimizer; and the names of runs that cannot be read, which count for nothing.
    """
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    damaged = []
    for folder in reversed(list_runs(runs)):  # of equal runs the oldest paid; later ones were answered
        try:
            result = _succeeded(folder, occasion)
            known = None if result is None else _facts(result)
            name = "" if known is None else digest(read_json(folder.identity, what="run identity"))
        except (DataError, StorageError, KeyError, TypeError, ValueError):
            damaged.append(folder.run_id)
            continue
        if known is not None:
            found.setdefault(known["optimizer"], {}).setdefault(name, known)
    return {name: _past(name, list(each.values())) for name, each in sorted(found.items())}, damaged


def _succeeded(folder: RunFolder, occasion: Occasion) -> Mapping[str, Any] | None:
    status, result = status_of(folder)
    request = read_json(folder.request, what="run request")
    if not isinstance(request, dict):
        raise DataError(f"The request of the run {folder.run_id} is no object.")
    if result is None or status != "succeeded":
        return None
    about = Occasion(request["program"], request["metric"], result["model"])
    return result if about == occasion else None


def _facts(result: Mapping[str, Any]) -> dict[str, Any]:
    before, after = result["baseline"]["test"], result["optimized"]["test"]
    actual = {
        "calls": float(result["calls"]["made"]),
        "tokens": float(sum(result["tokens"].values())),
        "usd": result["usd"],
        "minutes": result["seconds"] / 60,
    }
    return {
        "optimizer": str(result["optimizer"]),
        "better": result["verdict"] == "better",
        "gain": None if before is None or after is None else after - before,
        "ratios": {} if _spared(result["calls"]) else _ratios(result["estimate"], actual),
        **actual,
    }


def _spared(calls: Mapping[str, Any]) -> bool:
    """Whether so many answers had been paid for that what the run took says little of what one takes."""
    reused = calls.get("reused", 0)
    return bool(reused > _SPARED * (calls["made"] + reused))


def _ratios(estimate: Mapping[str, Any] | None, actual: Mapping[str, float | None]) -> dict[str, float]:
    ratios = {}
    for measure in MEASURES:
        expected = None if estimate is None else estimate[measure]
        took = actual[measure]
        if expected is not None and took is not None and sum(expected) > 0:
            ratios[measure] = took / (sum(expected) / 2)
    return ratios


def _past(optimizer: str, runs: Sequence[Mapping[str, Any]]) -> Past:
    dollars = [run["usd"] for run in runs]
    return Past(
        optimizer=optimizer,
        runs=len(runs),
        better=sum(run["better"] for run in runs),
        gain=_median(run["gain"] for run in runs),
        calls=statistics.median(run["calls"] for run in runs),
        usd=None if None in dollars else statistics.median(dollars),
        minutes=statistics.median(run["minutes"] for run in runs),
        priced=sum(bool(run["ratios"]) for run in runs),
        ratios={
            measure: statistics.median(known)
            for measure in MEASURES
            if (known := [run["ratios"][measure] for run in runs if measure in run["ratios"]])
        },
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
