#!/usr/bin/env python3
"""Plan and read an A/B test on a proportion. Standard library only.

    python3 ab_test.py plan --baseline 0.04 --relative 0.03 --daily 40000
    python3 ab_test.py read --control 4012/100321 --treatment 4236/100178

`read` refuses to judge (exit 1) when the sizes of the arms contradict the planned split.
Exit codes: 0 done, 1 sample ratio mismatch, 2 unusable input.
"""

import argparse
import json
import sys
from math import ceil, erfc, sqrt
from statistics import NormalDist

NORMAL = NormalDist()


def sample_size(p0: float, p1: float, alpha: float, power: float) -> int:
    """Units per arm for a two-sided z-test of two proportions, equal arms (pooled under the null)."""
    if not (0 < p0 < 1 and 0 < p1 < 1) or p0 == p1:
        raise ValueError("both rates must be between 0 and 1, and differ")
    mean = (p0 + p1) / 2
    under_null = NORMAL.inv_cdf(1 - alpha / 2) * sqrt(2 * mean * (1 - mean))
    under_effect = NORMAL.inv_cdf(power) * sqrt(p0 * (1 - p0) + p1 * (1 - p1))
    return ceil(((under_null + under_effect) / (p1 - p0)) ** 2)


def ratio_p_value(n0: int, n1: int, share: float) -> float:
    """Chi-square (1 degree of freedom) p-value of the arm sizes against the planned share of treatment."""
    total = n0 + n1
    expected1 = total * share
    expected0 = total - expected1
    chi2 = (n0 - expected0) ** 2 / expected0 + (n1 - expected1) ** 2 / expected1
    return erfc(sqrt(chi2 / 2))


def read(control: tuple[int, int], treatment: tuple[int, int], alpha: float, share: float) -> dict:
    (x0, n0), (x1, n1) = control, treatment
    p0, p1 = x0 / n0, x1 / n1
    spread = sqrt(p0 * (1 - p0) / n0 + p1 * (1 - p1) / n1)
    pooled = (x0 + x1) / (n0 + n1)
    spread_null = sqrt(pooled * (1 - pooled) * (1 / n0 + 1 / n1))
    z = NORMAL.inv_cdf(1 - alpha / 2)
    detectable = (z + NORMAL.inv_cdf(0.8)) * spread_null
    return {
        "control": p0,
        "treatment": p1,
        "difference": p1 - p0,
        "interval": [p1 - p0 - z * spread, p1 - p0 + z * spread],
        "relative": (p1 - p0) / p0 if p0 else None,
        "p_value": erfc(abs(p1 - p0) / spread_null / sqrt(2)) if spread_null else 1.0,
        "detectable_difference_80_percent_power": detectable,
        "sample_ratio_p_value": ratio_p_value(n0, n1, share),
    }


def fraction(text: str) -> tuple[int, int]:
    """Successes and units from text like 4012/100321."""
    try:
        successes, units = (int(part) for part in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not successes/units, for example 40/1000") from None
    if units < 1 or not 0 <= successes <= units:
        raise argparse.ArgumentTypeError(f"'{text}': successes must lie between 0 and units")
    return successes, units


def probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' must lie between 0 and 1, both excluded")
    return value


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--alpha", type=probability, default=0.05)
    commands = parser.add_subparsers(dest="command", required=True)
    plan = commands.add_parser("plan", help="units and days needed")
    plan.add_argument("--baseline", type=probability, required=True, help="rate of today")
    effect = plan.add_mutually_exclusive_group(required=True)
    effect.add_argument("--relative", type=float, help="smallest effect, relative: 0.03 is 3 percent")
    effect.add_argument("--absolute", type=float, help="smallest effect in absolute rate")
    plan.add_argument("--power", type=probability, default=0.8)
    plan.add_argument("--daily", type=int, help="units per day over both arms")
    reading = commands.add_parser("read", help="interval, p-value and ratio check")
    reading.add_argument("--control", type=fraction, required=True, metavar="X/N")
    reading.add_argument("--treatment", type=fraction, required=True, metavar="X/N")
    reading.add_argument("--share", type=probability, default=0.5, help="planned share of treatment")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    if given.command == "read":
        result = read(given.control, given.treatment, given.alpha, given.share)
        print(json.dumps(result, indent=2))
        if result["sample_ratio_p_value"] < 0.001:
            print("ab_test: sample ratio mismatch: find the cause before reading any metric", file=sys.stderr)
            return 1
        return 0
    target = given.baseline + (given.absolute if given.relative is None else given.baseline * given.relative)
    try:
        per_arm = sample_size(given.baseline, target, given.alpha, given.power)
    except ValueError as error:
        print(f"ab_test: {error}", file=sys.stderr)
        return 2
    result = {"baseline": given.baseline, "target": target, "units_per_arm": per_arm}
    if given.daily is not None:
        if given.daily < 1:
            print("ab_test: --daily must be at least 1", file=sys.stderr)
            return 2
        days = ceil(2 * per_arm / given.daily)
        result |= {"days": days, "whole_weeks": ceil(days / 7)}
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
