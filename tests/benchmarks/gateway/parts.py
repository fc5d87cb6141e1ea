"""The parts of the benchmark: each measures the contenders in turn, and returns the rows of its table."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from statistics import linear_regression, mean, median, stdev
from typing import Final

from benchmarks.gateway.contenders import BARE, DIRECT, LITELLM, OURS, WITH_LEDGER, Contender, Started
from benchmarks.gateway.latency import first_event_ms, percentile, steady_ms
from benchmarks.gateway.ledger_cost import cpu_microseconds_each
from benchmarks.gateway.overhead import overhead_points
from benchmarks.gateway.rows import Bound, Rounds, Row
from benchmarks.gateway.start import FirstAnswer, first_answer
from benchmarks.gateway.streams import events_per_cpu_second, open_streams
from benchmarks.gateway.throughput import Load, measure_throughput

__all__ = ["PARTS", "Bench", "Sizes"]

_FIRST_EVENT_CALLS: Final = 100
_EVENT_STREAMS: Final = 50
_EVENT_DELTAS: Final = 200
_LEDGER_PAIRS: Final = 4
"""Pairs of processes per round."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Duration and number of measurements."""

    rounds: int = 5
    seconds: float = 3.0
    streams: int = 2_000
    stream_seconds: float = 12.0


@dataclass(frozen=True, slots=True)
class Bench:
    """The setup: the relays share one core, the upstream and the load another."""

    directory: Path
    upstream_port: int
    relay_core: int
    load_core: int
    contenders: Sequence[Contender]
    sizes: Sizes

    @property
    def direct(self) -> Started:
        """The upstream itself."""
        return Started(DIRECT, self.upstream_port, None)

    @asynccontextmanager
    async def fresh(self, *without: str) -> AsyncIterator[tuple[list[Started], dict[str, FirstAnswer]]]:
        """Start a new process of every contender, one after another, and measure the starts."""
        async with AsyncExitStack() as stack:
            started, answers = [], {}
            for contender in self.contenders:
                if contender.name not in without:
                    since = time.perf_counter()
                    one = stack.enter_context(contender.started(self.directory, self.upstream_port, self.relay_core))
                    answers[one.name] = await first_answer(one, since)
                    started.append(one)
            yield started, answers


async def throughput(bench: Bench) -> list[Row]:
    """Measure requests per second at full load, and CPU time per request."""
    sizes, rounds = bench.sizes, Rounds()
    loads = {
        "32 connections, 2 KB": Load(32, 2_000, sizes.seconds),
        "32 connections, 100 KB": Load(32, 100_000, sizes.seconds),
        "256 connections, 2 KB": Load(256, 2_000, sizes.seconds),
    }
    async with bench.fresh(WITH_LEDGER) as (targets, _):
        for number in range(sizes.rounds):
            for label, load in loads.items():
                for target in targets:
                    one = load
                    if target.name == LITELLM:  # two rounds suffice, but it is too slow for short ones
                        if number >= 2 or load.connections > 32:
                            continue
                        one = replace(load, seconds=max(5.0, load.seconds))
                    figure = await asyncio.to_thread(measure_throughput, target, one, bench.load_core, bench.directory)
                    rounds.add(label, target.name, figure.per_second)
                    rounds.add(f"{label}, CPU", target.name, figure.cpu_microseconds)
    rows = []
    for label in loads:
        served, cpu = rounds.medians(label), rounds.medians(f"{label}, CPU")
        bounds = []
        if label.startswith("256"):
            before = rounds.medians("32 connections, 2 KB")
            bounds.append(Bound("of its own figure for 32 connections", served[OURS] / before[OURS], at_least=0.9))
        else:
            least = 1.0 if "2 KB" in label else 0.9
            bounds.append(Bound("of the bare relay's", served[OURS] / served[BARE], at_least=least))
            if LITELLM in served and "2 KB" in label:
                bounds.append(Bound("times litellm's", served[OURS] / served[LITELLM], at_least=50))
        rows.append(Row(f"requests/s, {label}", served, tuple(bounds)))
        rows.append(Row("  CPU µs each", cpu, (Bound("of the bare relay's", cpu[OURS] / cpu[BARE]),)))
    return rows


async def latency(bench: Bench) -> list[Row]:
    """Measure the latency that a relay adds to calls and to the first event of streams."""
    sizes, rounds = bench.sizes, Rounds()
    async with bench.fresh(LITELLM, WITH_LEDGER) as (targets, _):
        for _ in range(sizes.rounds):
            for target in [bench.direct, *targets]:
                for per_second in (200, 1_000):
                    values = await steady_ms(target, per_second, sizes.seconds)
                    rounds.add(f"{per_second}/s p50", target.name, percentile(values, 50))
                    rounds.add(f"{per_second}/s p99", target.name, percentile(values, 99))
                first = await first_event_ms(target, _FIRST_EVENT_CALLS)
                rounds.add("first event, p50", target.name, percentile(first, 50))
    rows = []
    for label in ("200/s p50", "200/s p99", "1000/s p50", "1000/s p99", "first event, p50"):
        added = _added(rounds.medians(label))
        most = 2.0 if "p99" in label else 1.3
        bound = Bound("of the bare relay's", added[OURS] / added[BARE], at_most=most)
        rows.append(Row(f"added ms, {label}", added, (bound,)))
    return rows


async def streams(bench: Bench) -> list[Row]:
    """Measure the CPU time of events, and the memory of open streams."""
    sizes, rounds = bench.sizes, Rounds()
    async with bench.fresh(LITELLM, WITH_LEDGER) as (targets, _):
        for _ in range(sizes.rounds):
            for target in targets:
                figure = await events_per_cpu_second(target, _EVENT_STREAMS, _EVENT_DELTAS)
                rounds.add("events", target.name, figure)
    async with bench.fresh(LITELLM, WITH_LEDGER) as (
        targets,
        _,
    ):  # memory that is already allocated would hide that of streams
        for target in targets:
            figures = await open_streams(target, sizes.streams, sizes.stream_seconds)
            rounds.add("finished", target.name, figures.finished)
            rounds.add("memory", target.name, figures.kilobytes_each)
    events, finished, memory = map(rounds.medians, ("events", "finished", "memory"))
    ratio = events[OURS] / events[BARE]
    return [
        Row("SSE events per CPU-second", events, (Bound("of the bare relay's", ratio, at_least=0.8),)),
        Row(
            f"of {sizes.streams:,} slow streams at once finished",
            finished,
            (Bound("share", finished[OURS] / sizes.streams, at_least=1.0),),
        ),
        Row("  KB resident each, above idle", memory, (Bound("KB", memory[OURS], at_most=30),)),
    ]


async def start(bench: Bench) -> list[Row]:
    """Measure the time from start to the first response, and the memory of an idle process."""
    rounds = Rounds()
    for _ in range(bench.sizes.rounds):
        async with bench.fresh() as (_, answers):
            for name, answer in answers.items():
                rounds.add("seconds", name, answer.seconds)
                rounds.add("CPU", name, answer.cpu_seconds)
                rounds.add("idle", name, answer.idle_megabytes)
    seconds, cpu, idle = map(rounds.medians, ("seconds", "CPU", "idle"))
    return [
        Row("start to first answer, s", seconds, (Bound("s", seconds[OURS], at_most=1.0),)),
        Row("  CPU seconds", cpu),
        Row("idle, MB resident", idle, (Bound("MB", idle[OURS], at_most=90),)),
    ]


async def ledger(bench: Bench) -> list[Row]:
    """Compare the CPU time of a call with that of one that is recorded in a ledger and counts in a budget.

    Each pair of processes is new: the addresses of its memory alone make one process some percent faster than another.
    So the result is only as exact as there are many pairs; its standard error says how exact.
    """
    names = {one.name for one in bench.contenders}
    if WITH_LEDGER not in names:
        return []
    random, pairs = Random(1), list[dict[str, float]]()  # noqa: S311 - the order of turns
    for _ in range(_LEDGER_PAIRS * bench.sizes.rounds):
        async with bench.fresh(*names - {OURS, WITH_LEDGER}) as (targets, _):
            pairs.append(await cpu_microseconds_each(targets, random))
    ratios = [pair[WITH_LEDGER] / pair[OURS] for pair in pairs]
    figures = {name: median(pair[name] for pair in pairs) for name in (OURS, WITH_LEDGER)}
    error = stdev(ratios) / len(ratios) ** 0.5
    bounds = (Bound("with a ledger, of without", median(ratios), at_most=1.05), Bound("mean", mean(ratios)))
    return [Row("CPU µs of a call", figures, (*bounds, Bound("its standard error", error)))]


async def overhead(bench: Bench) -> list[Row]:
    """Compare `tidegate_overhead_seconds` with the added latency, for calls that take increasing work."""
    async with bench.fresh(*(one.name for one in bench.contenders if one.name != OURS)) as (targets, _):
        points = await overhead_points(targets[0], bench.direct, bench.sizes.rounds)
    line = linear_regression([told for told, _ in points], [seen for _, seen in points])
    rows = [Row(f"by the metric {told:.2f} ms, seen added ms", {OURS: seen}) for told, seen in points]
    bounds = (Bound("slope", line.slope, at_least=0.9, at_most=1.1), Bound("constant, ms", line.intercept))
    return [*rows, Row("overhead_seconds", {}, bounds)]


def _added(latencies: Mapping[str, float]) -> dict[str, float]:
    direct = latencies[DIRECT]
    return {name: value - direct for name, value in latencies.items() if name != DIRECT}


PARTS: Final[Mapping[str, Callable[[Bench], Coroutine[None, None, list[Row]]]]] = {
    "throughput": throughput,
    "latency": latency,
    "streams": streams,
    "start": start,
    "ledger": ledger,
    "overhead": overhead,
}
"""All parts by name, in the order of the report."""
