"""What Prometheus reads: how the service's requests, jobs, workers and optimizers do.

Label values come from lists of ours (route templates, statuses, codes, optimizers), never from a client.
"""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from skill_fleet.api.refusals import METHODS
from skill_fleet.jobs.counts import Counts
from skill_fleet.jobs.outcomes import ROUND_SECONDS, LastResult, Rounds

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Latency:
    """How long answers took, by method, route and status."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "skill_fleet_http_request_seconds",
            "From the first line of a request to the end of its answer.",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note an answer."""
        known = method if method in METHODS else "other"
        self._seconds.labels(known, route, str(status)).observe(seconds)

    def text(self) -> bytes:
        """All of it, in the text format."""
        return generate_latest(self._registry)


def text_of(families: Iterable[Metric]) -> bytes:
    """Families of figures in the text format."""
    registry = CollectorRegistry()
    registry.register(_Once(families))
    return generate_latest(registry)


class _Once(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    @override
    def collect(self) -> list[Metric]:
        """What was counted."""
        return self._families


def families(counts: Counts) -> Iterator[Metric]:
    """What is known of jobs, workers and spending, as Prometheus counts it."""
    jobs = GaugeMetricFamily("skill_fleet_jobs", "Jobs there are.", labels=("kind", "status"))
    for (kind, status), number in sorted(counts.jobs.items()):
        jobs.add_metric((kind, status), number)
    yield jobs
    queued = sum(number for (_, status), number in counts.jobs.items() if status == "queued")
    yield GaugeMetricFamily("skill_fleet_queue_depth", "Jobs that wait for a worker.", value=queued)
    yield GaugeMetricFamily(
        "skill_fleet_oldest_queued_seconds",
        "For how long the first of them has waited; 0 where none does.",
        value=max(counts.oldest_queued_seconds or 0.0, 0.0),
    )
    workers = GaugeMetricFamily("skill_fleet_workers", "Workers by state.", labels=("state",))
    for state, number in sorted(counts.workers.items()):
        workers.add_metric((state,), number)
    yield workers
    yield CounterMetricFamily("skill_fleet_model_calls", "Model calls made by jobs.", value=counts.calls)
    yield CounterMetricFamily("skill_fleet_spent_usd", "Known US dollars spent by jobs.", value=counts.usd)
    yield CounterMetricFamily(
        "skill_fleet_model_calls_of_unknown_price",
        "Model calls that may have cost something nobody knows.",
        value=counts.usd_unknown_calls,
    )
    failures = CounterMetricFamily("skill_fleet_job_failures", "Jobs that did not succeed.", labels=("code",))
    for code, number in sorted(counts.failures.items()):
        failures.add_metric((code,), number)
    yield failures
    yield _rounds(counts.rounds)
    yield from _last(counts.last_results)


def _rounds(found: Mapping[str, Rounds]) -> Metric:
    family = HistogramMetricFamily(
        "skill_fleet_round_seconds", "How long rounds of optimization took.", labels=("optimizer",)
    )
    for optimizer, rounds in sorted(found.items()):
        within = zip(map(str, ROUND_SECONDS), rounds.within, strict=True)
        family.add_metric((optimizer,), [*within, ("+Inf", rounds.count)], rounds.seconds)
    return family


def _last(found: Mapping[str, LastResult]) -> Iterator[Metric]:
    """What the last successful run of each optimizer came to; what was not measured has no line."""
    labels = ("optimizer", "simulated")
    accuracy = GaugeMetricFamily(
        "skill_fleet_last_accuracy", "Share of test examples that pass, 0 to 1.", labels=labels
    )
    quality = GaugeMetricFamily("skill_fleet_last_quality", "Mean test quality, 0 to 1.", labels=labels)
    ended = GaugeMetricFamily("skill_fleet_last_run_timestamp_seconds", "When it ended.", labels=labels)
    verdict = GaugeMetricFamily(
        "skill_fleet_last_verdict", "1 for the verdict there was.", labels=(*labels, "verdict")
    )
    for optimizer, last in sorted(found.items()):
        of = (optimizer, str(last.simulated).lower())
        ended.add_metric(of, last.at)
        for family, value in ((accuracy, last.accuracy), (quality, last.quality)):
            if value is not None:
                family.add_metric(of, value)
        if last.verdict is not None:
            verdict.add_metric((*of, last.verdict), 1.0)
    yield from (accuracy, quality, verdict, ended)
