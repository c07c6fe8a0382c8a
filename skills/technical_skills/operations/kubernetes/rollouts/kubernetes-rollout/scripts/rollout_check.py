#!/usr/bin/env python3
"""Report what will hurt when a Kubernetes Deployment is updated.

Reads a Deployment, or a List holding Deployments, as JSON:

    kubectl get deployment web -o json | python3 rollout_check.py -

Exit codes: 0 nothing found, 1 findings at or above --fail-on, 2 the input cannot be used.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

LEVELS = ("warning", "error")


def surge_and_gap(strategy: dict, replicas: int) -> tuple[int, int]:
    """(pods added, pods taken away) during the update; percentages round up and down as Kubernetes does."""
    rolling = strategy.get("rollingUpdate") or {}
    numbers = []
    for key, up in (("maxSurge", True), ("maxUnavailable", False)):
        value = rolling.get(key, "25%")
        if isinstance(value, str) and value.endswith("%"):
            product = replicas * int(value[:-1])
            numbers.append(-(-product // 100) if up else product // 100)
        else:
            numbers.append(int(value))
    return numbers[0], numbers[1]


def prestop_seconds(container: dict) -> int | None:
    hook = (container.get("lifecycle") or {}).get("preStop")
    if not hook:
        return None
    if "sleep" in hook:
        return int(hook["sleep"].get("seconds", 0))
    words = " ".join((hook.get("exec") or {}).get("command", []))
    found = re.search(r"\bsleep\s+(\d+)", words)
    return int(found.group(1)) if found else 0


def floating(image: str) -> bool:
    """Whether the same reference may give another image tomorrow."""
    if "@sha256:" in image:
        return False
    last = image.rsplit("/", 1)[-1]
    return ":" not in last or last.endswith(":latest")


def check_container(container: dict, grace: int) -> Iterator[tuple[str, str]]:
    name = container.get("name", "?")
    readiness, liveness = container.get("readinessProbe"), container.get("livenessProbe")
    if floating(container.get("image", "")):
        yield "error", f"{name}: image has no fixed tag, so undo may start the same bad image"
    if not readiness:
        yield "error", f"{name}: no readinessProbe, traffic arrives before the process listens"
    if (
        liveness
        and readiness
        and liveness.get("httpGet") == readiness.get("httpGet")
        and "httpGet" in liveness
    ):
        yield "warning", f"{name}: liveness equals readiness, a slow dependency restarts every pod"
    if liveness and not container.get("startupProbe") and "initialDelaySeconds" not in liveness:
        yield "warning", f"{name}: liveness without startupProbe may kill a slow start"
    if "memory" not in (container.get("resources") or {}).get("requests", {}):
        yield "warning", f"{name}: no memory request, the surge pod may land on a full node"
    sleep = prestop_seconds(container)
    if sleep is None and container.get("ports"):
        yield "warning", f"{name}: no preStop sleep, requests in flight meet a closed socket"
    elif sleep is not None and sleep >= grace:
        yield "error", f"{name}: preStop of {sleep} s uses up terminationGracePeriodSeconds {grace}"


def check(deployment: dict) -> Iterator[tuple[str, str]]:
    spec = deployment.get("spec") or {}
    pod = (spec.get("template") or {}).get("spec") or {}
    replicas = int(spec.get("replicas", 1))
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        yield "error", "strategy Recreate stops every pod before the first new one starts"
    else:
        surge, gap = surge_and_gap(strategy, replicas)
        if surge == 0 and gap == 0:
            yield "error", "maxSurge and maxUnavailable both come to 0: the update cannot move"
        if replicas and gap >= replicas:
            yield "error", f"maxUnavailable of {gap} may take away all {replicas} pods"
    if replicas == 1:
        yield "warning", "one replica: any node drain is an outage"
    if spec.get("paused"):
        yield "warning", "the Deployment is paused: changes will not roll out"
    if spec.get("revisionHistoryLimit") == 0:
        yield "error", "revisionHistoryLimit 0 leaves nothing to undo to"
    containers = pod.get("containers") or []
    if not containers:
        yield "error", "no containers in the pod template"
    for container in containers:
        yield from check_container(container, int(pod.get("terminationGracePeriodSeconds", 30)))


def deployments(document: object) -> list[dict]:
    if not isinstance(document, dict):
        raise ValueError("expected a JSON object")
    items = document.get("items", [document]) if document.get("kind", "").endswith("List") else [document]
    found = [item for item in items if isinstance(item, dict) and item.get("kind") == "Deployment"]
    if not found:
        raise ValueError("there is no Deployment in it")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="JSON file, or - for standard input")
    parser.add_argument(
        "--fail-on", choices=LEVELS, default="error", help="lowest level that makes exit code 1"
    )
    arguments = parser.parse_args()
    try:
        text = sys.stdin.read() if arguments.file == "-" else Path(arguments.file).read_text(encoding="utf-8")
        found = [
            (item.get("metadata", {}).get("name", "?"), *finding)
            for item in deployments(json.loads(text))
            for finding in check(item)
        ]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        print(f"rollout_check: {arguments.file}: {error}", file=sys.stderr)
        return 2
    for name, level, message in found:
        print(f"{level:8}{name}: {message}")
    lowest = LEVELS.index(arguments.fail_on)
    return int(any(LEVELS.index(level) >= lowest for _, level, _ in found))


if __name__ == "__main__":
    sys.exit(main())
