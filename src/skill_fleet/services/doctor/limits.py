"""Limits of models against what a run would do: what would wait, time out, or look like an outage."""

from collections.abc import Iterator, Mapping

from skill_fleet.config.settings import ModelSpec
from skill_fleet.services.context import Context
from skill_fleet.services.doctor.check import Check

# Few models write faster for one caller, in tokens a second.
_TOKENS_A_SECOND = 250
_LONG_WAIT = 60
_SHORT_TIMEOUT = 5.0


def limits(context: Context, chosen: Mapping[str, ModelSpec]) -> Iterator[Check]:
    """What of the chosen models' limits does not go together."""
    for name, spec in chosen.items():
        if spec.offline:
            continue
        for said, hint in _clashes(context, name, spec):
            yield Check("limits", "warning", f"{name}: {said}", hint)


def _clashes(context: Context, name: str, spec: ModelSpec) -> Iterator[tuple[str, str]]:
    threads = context.settings.optimization.num_threads
    own = f"models.registry.{name}"
    if spec.at_once is not None and spec.at_once < threads:
        yield (
            f"{threads} threads, but {spec.at_once} at once: the others wait.",
            f"Set optimization.num_threads to {spec.at_once}, or raise {own}.in_flight.",
        )
    if spec.rpm is not None and threads * _LONG_WAIT / spec.rpm > _LONG_WAIT:
        wait = threads * 60 / spec.rpm
        yield (
            f"{spec.rpm} requests a minute for {threads} threads: each waits about {wait:.0f} s in turn.",
            f"Set optimization.num_threads to {spec.rpm} or fewer.",
        )
    if spec.tpm is not None and spec.max_tokens is not None and spec.max_tokens > spec.tpm:
        yield (
            f"one answer may take {spec.max_tokens} tokens, and a minute has {spec.tpm}.",
            f"Lower {own}.max_tokens, or raise {own}.tpm.",
        )
    if spec.timeout < _SHORT_TIMEOUT:
        yield (
            f"a timeout of {spec.timeout:g} s is short for a language model; late answers are paid and lost.",
            f"Raise {own}.timeout.",
        )
    elif spec.max_tokens is not None and spec.max_tokens > spec.timeout * _TOKENS_A_SECOND:
        yield (
            f"{spec.max_tokens} tokens rarely come within its timeout of {spec.timeout:g} s; late is lost.",
            f"Lower {own}.max_tokens, or raise {own}.timeout (below 120).",
        )
    outage = context.settings.calls.outage_seconds
    if outage < spec.timeout:
        yield (
            f"one slow answer (timeout {spec.timeout:g} s) outlasts calls.outage_seconds, {outage:g}.",
            f"Raise calls.outage_seconds above {spec.timeout:g}, or lower {own}.timeout.",
        )
