"""What the soak demands of its samples. Pure functions of figures."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.gateway.latency import percentile
from benchmarks.gateway.rows import Bound

__all__ = ["Sample", "percentile_of_histogram", "slope", "verdicts"]

_MB: Final = 1_048_576
_MINUTE_SECONDS: Final = 60
_TEN_MINUTES: Final = 600
_MOST_MB: Final = 1.0
_MOST_GROWTH: Final = 1.2
_PARTS: Final = 3
"""The first and the last third of the samples after the warm-up are compared."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The service at one moment of the load.

    Attributes:
        at_seconds: since the start of the load.
        resident_bytes: its resident memory.
        descriptors: its open file descriptors.
        tasks: of its event loop.
        series: lines with a value in `/metrics`, without those that exist only while a lease or a waiter does.
        leases: requests in flight to the upstream.
        cpu_seconds: CPU time used so far.
        overhead: calls in `tidegate_overhead_seconds` since the start, by upper bound of the bucket, cumulative.
        bare_seconds: how long a bare relay took for each of its probes since the sample before.
        relayed_seconds: the same of the service.
    """

    at_seconds: float
    resident_bytes: int
    descriptors: int
    tasks: int
    series: int
    leases: int
    cpu_seconds: float
    overhead: Mapping[float, float]
    bare_seconds: Sequence[float]
    relayed_seconds: Sequence[float]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the line through points that leaves the least squares; 0 for fewer than two."""
    if len(points) < 2:
        return 0.0
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def percentile_of_histogram(counts: Mapping[float, float], percent: float) -> float:
    """A percentile, interpolated within its bucket, of counts that are cumulative by upper bound.

    The bucket without a bound counts as its lower bound, as in Prometheus. 0 without observations.
    """
    total = max(counts.values(), default=0)
    rank, lower, below = total * percent / 100, 0.0, 0.0
    for upper, count in sorted(counts.items()):
        if count >= rank and count > below:
            return lower if upper == float("inf") else lower + (upper - lower) * (rank - below) / (count - below)
        lower, below = upper, count
    return 0.0


def verdicts(samples: Sequence[Sample], warm_up_seconds: float) -> list[Bound]:
    """The figures under load, each with its bound.

    Memory is the slope of the least-squares line through all samples after the warm-up. Of everything else, the last
    third of the time after the warm-up is compared with the first third: the medians of samples, and for the overhead
    the medians of the p99 of each minute, so that a disturbance of the machine does not decide.
    """
    warm = [sample for sample in samples if sample.at_seconds >= warm_up_seconds]
    third = max(1, len(warm) // _PARTS)
    first, last = warm[:third], warm[-third:]

    def growth(value: Callable[[Sample], float]) -> float:
        return statistics.median(map(value, last)) / max(1, statistics.median(map(value, first)))

    megabytes = slope([(sample.at_seconds, sample.resident_bytes / _MB) for sample in warm])
    more_series = max(sample.series for sample in last) - max(sample.series for sample in first)
    early, late = _minutes_p99(first, _overhead), _minutes_p99(last, _overhead)
    bare = _minutes_p99(last, _bare) / _minutes_p99(first, _bare)
    return [
        Bound("resident memory, MB per 10 minutes", megabytes * _TEN_MINUTES, at_most=_MOST_MB),
        Bound("tasks, last / first third", growth(lambda sample: sample.tasks), at_most=_MOST_GROWTH),
        Bound("file descriptors, last / first third", growth(lambda sample: sample.descriptors), at_most=_MOST_GROWTH),
        Bound("leases, last / first third", growth(lambda sample: sample.leases), at_most=_MOST_GROWTH),
        Bound("more metric series", more_series, at_most=0),
        Bound("overhead p99, first third, ms", early * 1_000),
        Bound("overhead p99, last third, ms", late * 1_000),
        Bound("bare relay p99, last / first third", bare),
        Bound(
            "overhead p99, last / first third, relative to the bare relay", late / early / bare, at_most=_MOST_GROWTH
        ),
    ]


def _minutes_p99(part: Sequence[Sample], p99: Callable[[Sequence[Sample]], float]) -> float:
    """The median of what `p99` finds in each minute, and never 0."""
    length = max(2, sum(sample.at_seconds < part[0].at_seconds + _MINUTE_SECONDS for sample in part))
    minutes = [part[start : start + length] for start in range(0, max(1, len(part) - length + 1), length)]
    return max(1e-9, statistics.median(map(p99, minutes)))


def _overhead(part: Sequence[Sample]) -> float:
    before, after = part[0].overhead, part[-1].overhead
    return percentile_of_histogram({bound: count - before.get(bound, 0) for bound, count in after.items()}, 99)


def _bare(part: Sequence[Sample]) -> float:
    values = [value for sample in part for value in sample.bare_seconds]
    return percentile(values, 99) if values else 0.0
