"""Computes the figures of a run from its record. Pure."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from benchmarks.goodput.records import DIMENSIONS, Amounts, Job, PredictedWait, RunRecord, Sample, Sent

__all__ = ["Figures", "Measurement", "figures", "jain_index", "most_in_a_window", "percentile", "seconds_to_settle"]

LIGHT_CALLER: Final = "light"
"""The caller, if there is one, whose wait is reported separately."""

_STAYS_SECONDS: Final = 5.0
"""A client has settled when it uses at least `_SETTLED_SHARE` of the attainable usage for this long."""
_SETTLED_SHARE: Final = 0.95
_SETTLED_REFUSALS: Final = 0.05
"""While settled, at most this share of the attempts may be refused."""
_SHORT_WAIT_SECONDS: Final = 5.0
"""Predictions of shorter waits are not measured."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The parts of a run that are measured. Times are seconds since its start.

    Attributes:
        steady_from_seconds: Start of the period in which the share of the quota is measured.
        until_seconds: End of that period: callers send no more requests.
        parts_from_seconds: Times at which callers start or stop, so that another dimension may bind. The share is taken
            for each part, in its binding dimension, and weighted by the length of the part.
        changes_seconds: Times at which the attainable usage changes.
        buckets_bind: Whether draining a full bucket is subtracted from the usage. It happens only once, and the run is
            short compared with the content of a full bucket.
        burst_seconds: Time of the burst whose makespan is measured; None without a burst.
        rates_per_second: Of the limits, for the ideal makespan.
        capacities: Of the limits, likewise.
    """

    steady_from_seconds: float
    until_seconds: float
    parts_from_seconds: tuple[float, ...] = ()
    changes_seconds: tuple[float, ...] = ()
    buckets_bind: bool = True
    burst_seconds: float | None = None
    rates_per_second: Amounts = (0, 0, 0)
    capacities: Amounts = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a run. None if a figure does not apply, or nothing was answered.

    Attributes:
        share: Usage divided by attainable usage, in the binding dimension of each part.
        binding: The dimension that binds over the whole period.
        refused_per_1000: 429s per 1,000 responses.
        given_up_per_1000: Requests that ended without a response, per 1,000 that ended.
        wait_p50_seconds: From the submission of a request to its successful attempt.
        settle_seconds: The longest time to settle after a change; infinite if the client never settled.
        jain: Jain's index of the usage of saturating callers, by weight; 1 is perfectly fair.
        makespan: Duration of the burst, in multiples of the ideal.
        prediction_error_p90: Of waits above 5 s that begin in the steady state, the difference between prediction and
            wait, divided by the wait.
        largest_window: The most that was sent in any window of time, less what the limit grants in that window, in
            multiples of the capacity. Above 1 the limit was exceeded. None if limits change, or do not fill buckets.
    """

    share: float
    binding: str
    refused_per_1000: float
    given_up_per_1000: float
    answers: int
    wait_p50_seconds: float | None
    wait_p99_seconds: float | None
    light_p99_seconds: float | None
    settle_seconds: float | None
    jain: float | None
    makespan: float | None
    prediction_error_p90: float | None = None
    largest_window: float | None = None


def figures(record: RunRecord, measurement: Measurement) -> Figures:
    """Compute all figures of a run."""
    samples, jobs = record.samples, record.jobs
    shares = _shares(*_between(samples, measurement), measurement)
    binding = max(range(len(shares)), key=shares.__getitem__)
    answers, refusals = samples[-1].answers, samples[-1].refusals
    gave_up = sum(job.gave_up_seconds is not None for job in jobs)
    waits = _waits(jobs)
    light = _waits(job for job in jobs if job.caller.name == LIGHT_CALLER)
    return Figures(
        share=_share(samples, measurement),
        binding=DIMENSIONS[binding],
        refused_per_1000=1000 * refusals / max(1, answers),
        given_up_per_1000=1000 * gave_up / max(1, gave_up + answers),
        answers=answers,
        wait_p50_seconds=percentile(waits, 0.5),
        wait_p99_seconds=percentile(waits, 0.99),
        light_p99_seconds=percentile(light, 0.99),
        settle_seconds=max(
            (seconds_to_settle(samples, change, binding) for change in measurement.changes_seconds), default=None
        ),
        jain=_fairness(record, measurement),
        makespan=_makespan(jobs, measurement),
        prediction_error_p90=percentile(_prediction_errors(record.waits, measurement.steady_from_seconds), 0.9),
        largest_window=_largest_window(record, measurement),
    )


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that is not exceeded by this share of the sorted values; None without values."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def jain_index(values: Sequence[float]) -> float:
    """(Σx)² ÷ n·Σx²: 1 if all are equal, 1/n if one has everything. Jain, Chiu and Hawe, DEC-TR-301, 1984."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def seconds_to_settle(samples: Sequence[Sample], change_seconds: float, binding: int) -> float:
    """Time from a change until the client has settled, at the resolution of the samples; infinite if it never does."""
    times = [sample.seconds for sample in samples]
    first = bisect_left(times, change_seconds)
    for start in range(first, len(samples)):
        end = bisect_left(times, times[start] + _STAYS_SECONDS)
        if end == len(samples):
            break
        begin, finish = samples[start], samples[end]
        used = finish.used[binding] - begin.used[binding]
        refusals, answers = finish.refusals - begin.refusals, finish.answers - begin.answers
        if (
            used >= _SETTLED_SHARE * (finish.attainable[binding] - begin.attainable[binding])
            and refusals <= _SETTLED_REFUSALS * (refusals + answers)
            and answers
        ):
            return round(times[start] - change_seconds, 3)
    return math.inf


def _share(samples: Sequence[Sample], measurement: Measurement) -> float:
    """Usage divided by attainable usage, in the binding dimension of each part."""
    moments = [measurement.steady_from_seconds, *measurement.parts_from_seconds, measurement.until_seconds]
    whole_seconds = moments[-1] - moments[0]
    parts = (
        (until - start, max(_shares(_at(samples, start), _at(samples, until), measurement)))
        for start, until in pairwise(moments)
    )
    return sum(seconds * share for seconds, share in parts) / whole_seconds


def _shares(first: Sample, last: Sample, measurement: Measurement) -> list[float]:
    """Usage divided by attainable usage between two samples, by dimension."""
    shares = []
    for index in range(len(DIMENSIONS)):
        drained = max(0.0, first.level[index] - last.level[index]) if measurement.buckets_bind else 0.0
        attainable = last.attainable[index] - first.attainable[index]
        if measurement.buckets_bind:  # refill that pays a debt was used earlier
            attainable -= max(0.0, min(0.0, last.level[index]) - min(0.0, first.level[index]))
        shares.append((last.used[index] - first.used[index] - drained) / attainable if attainable else 0.0)
    return shares


def _between(samples: Sequence[Sample], measurement: Measurement) -> tuple[Sample, Sample]:
    return _at(samples, measurement.steady_from_seconds), _at(samples, measurement.until_seconds)


def _at(samples: Sequence[Sample], moment_seconds: float) -> Sample:
    """The first sample at or after a time, or the last one."""
    first = bisect_left(samples, moment_seconds, key=lambda sample: sample.seconds)
    return samples[min(first, len(samples) - 1)]


def _waits(jobs: Iterable[Job]) -> list[float]:
    return sorted(job.accepted_seconds - job.submitted_seconds for job in jobs if job.accepted_seconds is not None)


def _prediction_errors(waits: Iterable[PredictedWait], from_seconds: float) -> list[float]:
    """In order, without those of the cold start: before the first answer no limit is known to predict by."""
    long = (each for each in waits if each.since_seconds >= from_seconds and each.waited_seconds > _SHORT_WAIT_SECONDS)
    return sorted(abs(each.predicted_seconds / each.waited_seconds - 1) for each in long)


def _fairness(record: RunRecord, measurement: Measurement) -> float | None:
    """Jain's index over saturating callers: the usage of each by weight, in the dimension with the highest share."""
    if len(record.saturating) < 2:
        return None
    given = dict.fromkeys(record.saturating, 0.0)
    first, last = _between(record.samples, measurement)
    wholes = [b - a for a, b in zip(first.attainable, last.attainable, strict=True)]
    for job in record.jobs:
        sent_seconds = -1.0 if job.accepted_seconds is None else job.accepted_seconds
        if job.caller.name in given and first.seconds <= sent_seconds <= last.seconds:
            dominant = max(part / whole for part, whole in zip(job.charged, wholes, strict=True) if whole)
            given[job.caller.name] += dominant / job.caller.weight
    return jain_index(list(given.values()))


def _makespan(jobs: Sequence[Job], measurement: Measurement) -> float | None:
    """Time until the last request of a burst was sent, in multiples of the minimum that the limits allow."""
    start = measurement.burst_seconds
    burst = [job for job in jobs if start is not None and abs(job.submitted_seconds - start) < 1e-6]
    if start is None or not burst:
        return None
    if any(job.accepted_seconds is None for job in burst):
        return math.inf
    ideal_seconds = max(
        (sum(job.charged[index] for job in burst) - capacity) / rate
        for index, (rate, capacity) in enumerate(zip(measurement.rates_per_second, measurement.capacities, strict=True))
    )
    took_seconds = max(job.accepted_seconds or 0.0 for job in burst) - start
    return took_seconds / ideal_seconds if ideal_seconds > 0 else None


def _largest_window(record: RunRecord, measurement: Measurement) -> float | None:
    if measurement.changes_seconds or not measurement.buckets_bind or not record.sent:
        return None
    windows = [
        most_in_a_window([(each.seconds, each[1 + index]) for each in record.sent], rate) / capacity
        for index, (rate, capacity) in enumerate(zip(measurement.rates_per_second, measurement.capacities, strict=True))
        if index < len(Sent._fields) - 1
    ]
    return max(windows)


def most_in_a_window(sent: Iterable[tuple[float, float]], rate_per_second: float) -> float:
    """The largest sum of amounts in any window, less the rate times its length. Amounts are in order of time."""
    most = excess = before_seconds = 0.0
    for seconds, amount in sent:
        excess = max(0.0, excess - rate_per_second * (seconds - before_seconds)) + amount
        before_seconds = seconds
        most = max(most, excess)
    return most
