"""How many skills a second are validated, in one process: the frontmatter rules alone, and everything.

Usage: python benchmarks/validate.py DIR [REPEATS]
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from skill_fleet.domain.finding import Finding
from skill_fleet.domain.library import find_skill_files
from skill_fleet.domain.skill import Skill
from skill_fleet.domain.spec import check, check_frontmatter


def frontmatter(file: Path) -> tuple[Finding, ...]:
    return check_frontmatter(Skill.read(file), folder_name=file.parent.name)


def everything(file: Path) -> tuple[Finding, ...]:
    return check(Skill.read(file), folder=file.parent)


def measure(
    files: list[Path], rules: Callable[[Path], tuple[Finding, ...]], repeats: int
) -> tuple[float, float, int]:
    """Best skills per second by the wall clock and by processor time, and how many skills have an error."""
    wall, cpu, invalid = 0.0, 0.0, 0
    for _ in range(repeats):
        started, used = time.perf_counter(), time.process_time()
        findings = [rules(file) for file in files]
        wall = max(wall, len(files) / (time.perf_counter() - started))
        cpu = max(cpu, len(files) / (time.process_time() - used))
        invalid = sum(any(found.severity == "error" for found in each) for each in findings)
    return wall, cpu, invalid


def main() -> int:
    if len(sys.argv) not in {2, 3}:
        print(__doc__, file=sys.stderr)
        return 2
    files = list(find_skill_files(Path(sys.argv[1])))
    if not files:
        print(f"There is no SKILL.md below {sys.argv[1]}.", file=sys.stderr)
        return 3
    repeats = int(sys.argv[2]) if len(sys.argv) == 3 else 3
    print(f"{len(files)} skills, {sum(file.stat().st_size for file in files):,} bytes, best of {repeats}")
    for name, rules in (("frontmatter", frontmatter), ("everything", everything)):
        wall, cpu, invalid = measure(files, rules, repeats)
        print(f"{name:<12} {wall:8,.0f} skills/s (wall) {cpu:8,.0f} skills/s (cpu)   {invalid} invalid")
    return 0


if __name__ == "__main__":
    sys.exit(main())
