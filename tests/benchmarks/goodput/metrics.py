"""The figures of one run, from its record alone. Pure."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from benchmarks.goodput.records import DIMENSIONS, Amounts, Job, PredictedWait, RunRecord, Sample

__all__ = ["Figures", "Question", "figures", "jain_index", "percentile", "seconds_to_settle"]

LIGHT_CALLER: Final = "light"
"""The name of the caller, where there is one, whose wait beside the others is of interest."""

_STAYS_SECONDS: Final = 5.0
"""Settled is who uses, from then on for this long, all but `_SETTLED_SHARE` of what can be had."""
_SETTLED_SHARE: Final = 0.95
_SETTLED_REFUSALS: Final = 0.05
"""And is not buying it with refusals: at most this share of the attempts in that time."""
_SHORT_WAIT_SECONDS: Final = 5.0
"""Nobody reads the prediction of a shorter wait."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a run. Times are seconds since its start.

    Attributes:
        steady_from_seconds: from here on to `until_seconds`, shares of the quota are counted.
        parts_from_seconds: where the callers change, and with them perhaps the dimension that binds: shares are taken
            of each part, in the dimension that binds there, and weighted by its length.
        until_seconds: here callers stop asking.
        changes_seconds: when what can be had changes.
        buckets_bind: what came out of a bucket whose level is lower at the end than it was at the start is then no use
            of the quota of that time: it is drained only once, and a run is short beside what a full bucket is worth.
        burst_seconds: when the burst comes whose makespan is of interest; None: there is none.
        rates_per_second: of the limits, for the ideal makespan.
        capacities: of the limits, likewise.
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
    """What is judged. None where the question does not arise, or nothing was answered.

    Attributes:
        share: used of what could be had, in the dimension that binds in each part of the time.
        binding: the dimension that binds over the whole time.
        refused_per_1000: attempts that the upstream answered with 429, for 1,000 answers.
        given_up_per_1000: requests that ended without an answer, of 1,000 that ended.
        wait_p50_seconds: from a request's first wish to the attempt that was answered.
        settle_seconds: the longest time to settle after a change; infinite if some change was never settled.
        jain: Jain's index of what the saturating callers were given, by weight; 1 is perfectly fair.
        makespan: time that the burst took, in multiples of the ideal.
        prediction_error_p90: of the waits above 5 s, the difference between prediction and wait, divided by the wait.
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


def figures(record: RunRecord, question: Question) -> Figures:
    """Everything that is asked, of one run."""
    samples, jobs = record.samples, record.jobs
    shares = _shares(*_between(samples, question), question)
    binding = max(range(len(shares)), key=shares.__getitem__)
    answers, refusals = samples[-1].answers, samples[-1].refusals
    gave_up = sum(job.gave_up_seconds is not None for job in jobs)
    waits = _waits(jobs)
    light = _waits(job for job in jobs if job.caller.name == LIGHT_CALLER)
    return Figures(
        share=_share(samples, question),
        binding=DIMENSIONS[binding],
        refused_per_1000=1000 * refusals / max(1, answers),
        given_up_per_1000=1000 * gave_up / max(1, gave_up + answers),
        answers=answers,
        wait_p50_seconds=percentile(waits, 0.5),
        wait_p99_seconds=percentile(waits, 0.99),
        light_p99_seconds=percentile(light, 0.99),
        settle_seconds=max(
            (seconds_to_settle(samples, change, binding) for change in question.changes_seconds), default=None
        ),
        jain=_fairness(record, question),
        makespan=_makespan(jobs, question),
        prediction_error_p90=percentile(_prediction_errors(record.waits), 0.9),
    )


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest of the ordered values that this share does not exceed; None if there are none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def jain_index(values: Sequence[float]) -> float:
    """(Σx)² ÷ n·Σx²: 1 when all are equal, 1/n when one has all. Jain, Chiu and Hawe, DEC-TR-301, 1984."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def seconds_to_settle(samples: Sequence[Sample], change_seconds: float, binding: int) -> float:
    """How long after a change the use is back near what can be had, without refusals, and stays so for five seconds.

    Infinite if it never is. As fine as the samples.
    """
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


def _share(samples: Sequence[Sample], question: Question) -> float:
    """What was used of what could be had, in the dimension that bound in each part of the time in question."""
    moments = [question.steady_from_seconds, *question.parts_from_seconds, question.until_seconds]
    whole_seconds = moments[-1] - moments[0]
    parts = (
        (until - start, max(_shares(_at(samples, start), _at(samples, until), question)))
        for start, until in pairwise(moments)
    )
    return sum(seconds * share for seconds, share in parts) / whole_seconds


def _shares(first: Sample, last: Sample, question: Question) -> list[float]:
    """What was used of what could be had, in each dimension, between two samples."""
    shares = []
    for index in range(len(DIMENSIONS)):
        drained = max(0.0, first.level[index] - last.level[index]) if question.buckets_bind else 0.0
        attainable = last.attainable[index] - first.attainable[index]
        if question.buckets_bind:  # what pays off a debt was used before, and nobody can have it again
            attainable -= max(0.0, min(0.0, last.level[index]) - min(0.0, first.level[index]))
        shares.append((last.used[index] - first.used[index] - drained) / attainable if attainable else 0.0)
    return shares


def _between(samples: Sequence[Sample], question: Question) -> tuple[Sample, Sample]:
    return _at(samples, question.steady_from_seconds), _at(samples, question.until_seconds)


def _at(samples: Sequence[Sample], moment_seconds: float) -> Sample:
    """The first from that moment on, or the last of all."""
    first = bisect_left(samples, moment_seconds, key=lambda sample: sample.seconds)
    return samples[min(first, len(samples) - 1)]


def _waits(jobs: Iterable[Job]) -> list[float]:
    return sorted(job.accepted_seconds - job.submitted_seconds for job in jobs if job.accepted_seconds is not None)


def _prediction_errors(waits: Iterable[PredictedWait]) -> list[float]:
    long = (each for each in waits if each.waited_seconds > _SHORT_WAIT_SECONDS)
    return sorted(abs(each.predicted_seconds / each.waited_seconds - 1) for each in long)


def _fairness(record: RunRecord, question: Question) -> float | None:
    """Over callers that always want more: what each was given, in the dimension where that is most, by weight."""
    if len(record.saturating) < 2:
        return None
    given = dict.fromkeys(record.saturating, 0.0)
    first, last = _between(record.samples, question)
    wholes = [b - a for a, b in zip(first.attainable, last.attainable, strict=True)]
    for job in record.jobs:
        sent_seconds = -1.0 if job.accepted_seconds is None else job.accepted_seconds
        if job.caller.name in given and first.seconds <= sent_seconds <= last.seconds:
            dominant = max(part / whole for part, whole in zip(job.charged, wholes, strict=True) if whole)
            given[job.caller.name] += dominant / job.caller.weight
    return jain_index(list(given.values()))


def _makespan(jobs: Sequence[Job], question: Question) -> float | None:
    """How long a burst took until its last request was sent, in multiples of the least time that the limits allow."""
    start = question.burst_seconds
    burst = [job for job in jobs if start is not None and abs(job.submitted_seconds - start) < 1e-6]
    if start is None or not burst:
        return None
    if any(job.accepted_seconds is None for job in burst):
        return math.inf
    ideal_seconds = max(
        (sum(job.charged[index] for job in burst) - capacity) / rate
        for index, (rate, capacity) in enumerate(zip(question.rates_per_second, question.capacities, strict=True))
    )
    took_seconds = max(job.accepted_seconds or 0.0 for job in burst) - start
    return took_seconds / ideal_seconds if ideal_seconds > 0 else None
