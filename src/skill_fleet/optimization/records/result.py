"""What came of a run: the JSON of the contract."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skill_fleet.llm.offline.notice import SIMULATED_NOTICE


@dataclass
class RunResult:
    """The result as it grows while the run goes on; every field is there from the start, null until known.

    Scores are mean quality in [0, 1].
    """

    run_id: str
    program: str
    optimizer: str
    model: str
    simulated: bool
    seed: int
    examples: Mapping[str, int]
    recommendation: Mapping[str, Any] | None = None
    status: str = "running"
    stop_reason: str | None = None
    baseline: dict[str, float | None] = field(default_factory=lambda: {"validation": None, "test": None})
    optimized: dict[str, float | None] = field(default_factory=lambda: {"validation": None, "test": None})
    accuracy: dict[str, float | None] = field(
        default_factory=lambda: {"baseline": None, "optimized": None, "target": None}
    )
    verdict: str = "not_shown"
    interval: list[float] | None = None
    p_value: float | None = None
    alpha: float | None = None
    method: str | None = None
    minimum_detectable_effect: float | None = None
    expected_minimum_detectable_effect: float | None = None
    rounds: list[dict[str, Any]] = field(default_factory=list)
    instructions: dict[str, str] | None = None
    folds: dict[str, Any] | None = None
    selection: dict[str, Any] | None = None
    cost_per_answer: dict[str, Any] = field(default_factory=lambda: {"baseline": None, "optimized": None})
    pareto: list[dict[str, Any]] = field(default_factory=list)
    published: str | None = None
    test_reads: int | None = None
    warnings: list[dict[str, str]] = field(default_factory=list)
    calls: dict[str, Any] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    tokens_range: list[int | None] = field(default_factory=lambda: [0, 0])
    usd: float | None = None
    usd_range: list[float | None] = field(default_factory=lambda: [0.0, 0.0])
    usd_unknown_calls: int = 0
    by_phase: dict[str, dict[str, Any]] = field(default_factory=dict)
    estimate: dict[str, Any] | None = None
    program_hash: str | None = None
    seconds: float = 0.0
    artifact: str | None = None
    manifest: str | None = None
    report: str | None = None
    resume: str | None = None
    resumed_over: list[str] = field(default_factory=list)
    error: dict[str, Any] | None = None

    def warn(self, code: str, message: str) -> None:
        """Something the reader should know; said once."""
        if not any(warning["message"] == message for warning in self.warnings):
            self.warnings.append({"code": code, "message": message})

    def to_json(self) -> dict[str, Any]:
        """The JSON value; a simulated result says so in words too."""
        value = dict(self.__dict__)
        if self.simulated:
            value["notice"] = SIMULATED_NOTICE
        return value
