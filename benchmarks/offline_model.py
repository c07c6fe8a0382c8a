"""Milliseconds a call of the offline model, on the requests that writing skills makes.

python benchmarks/offline_model.py [--tasks 60] [--rounds 5]
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import dspy

from skill_fleet.core.programs.skill_creator import SkillCreationProgram
from skill_fleet.llm.offline.model import OfflineModel, model_name

DATA = Path(__file__).resolve().parents[1] / "config" / "training" / "trainset.json"
INPUTS = ("task_description", "user_context", "taxonomy_structure", "existing_skills")


class Recorder(OfflineModel):
    """The model, with the requests it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []

    def complete(self, request: Any) -> Any:
        self.requests.append(request)
        return super().complete(request)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    recorder = Recorder()
    with dspy.context(lm=dspy.LM(model_name(), engine=recorder, cache=False)):
        for item in json.loads(DATA.read_text(encoding="utf-8"))[: asked.tasks]:
            SkillCreationProgram()(**{name: item[name] for name in INPUTS})
    print("| seed | calls | ms a call |\n|---|---|---|")
    for seed in range(1, asked.rounds + 1):
        model, start = OfflineModel(seed), time.perf_counter()
        for request in recorder.requests:
            model.complete(request)
        spent = (time.perf_counter() - start) / len(recorder.requests)
        print(f"| {seed} | {len(recorder.requests)} | {spent * 1000:.2f} |")


if __name__ == "__main__":
    main()
