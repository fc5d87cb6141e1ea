"""Derives from a scenario which parts of its runs are measured."""

from typing import Final

from benchmarks.goodput.metrics import Measurement
from benchmarks.goodput.scenario import LoadScenario
from benchmarks.goodput.workload import WorkloadKind

__all__ = ["measurement_of"]

_COLD_START_SECONDS: Final = 30.0
"""Earlier, limits are still being learned and full buckets are being drained."""


def measurement_of(scenario: LoadScenario) -> Measurement:
    """Changes are new limits, starts and stops of competitors, ends of outages. Parts start and stop with workers."""
    upstream, duration = scenario.upstream, scenario.duration_seconds
    moments = [change.at_seconds for change in upstream.changes]
    moments += [outage.stop_seconds for outage in upstream.outages if outage.stop_seconds is not None]
    for competitor in upstream.competitors:
        moments += [competitor.start_seconds, duration if competitor.stop_seconds is None else competitor.stop_seconds]
    bursts = [each.start_seconds for each in scenario.workloads if each.kind is WorkloadKind.BURST]
    callers = [each for each in scenario.workloads if each.kind is WorkloadKind.WORKERS]
    come_or_go = {moment or 0.0 for each in callers for moment in (each.start_seconds, each.stop_seconds)}
    limits = upstream.limits
    requests, input_tokens, output_tokens = (each / 60 for each in limits.per_minute().values())
    period = limits.enforcement_seconds
    return Measurement(
        steady_from_seconds=_COLD_START_SECONDS,
        until_seconds=duration,
        parts_from_seconds=tuple(sorted(each for each in come_or_go if _COLD_START_SECONDS < each < duration)),
        changes_seconds=tuple(sorted({moment for moment in moments if 0 < moment < duration})),
        buckets_bind=upstream.ramp is None,
        burst_seconds=min(bursts, default=None),
        rates_per_second=(requests, input_tokens, output_tokens),
        capacities=(requests * period, input_tokens * period, output_tokens * period),
    )
