"""Runs a scenario on virtual time: its callers use one kind of client to call the simulated upstream."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Final

from benchmarks.goodput.case import BenchmarkCase
from benchmarks.goodput.clients import replica_count, starter
from benchmarks.goodput.connection import UpstreamConnection
from benchmarks.goodput.fleet import Fleet
from benchmarks.goodput.records import Job, RunRecord
from benchmarks.goodput.sdk_clients import Client
from benchmarks.goodput.workload import Workload, WorkloadKind
from claude_simulator.scenarios.distributions import sample
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.caller import Caller
from tidegate.core.ports.observer import Observer

__all__ = ["Watch", "run"]

_SAMPLE_SECONDS: Final = 0.25
_AFTER_FAILURE_SECONDS: Final = 1.0
"""Pause of a worker after a failed request."""


class _TickingClock(VirtualClock):
    """Advances by a nanosecond with each reading: a wait below the resolution of a float would never end."""

    def monotonic_ns(self) -> int:
        self._now_ns += 1
        return self._now_ns


@dataclass(frozen=True, slots=True)
class Watch:
    """An observer of each replica's engine, and a callback for about every second of virtual time."""

    observer: Observer
    each_second: Callable[[UpstreamConnection, Sequence[Client]], None]


def run(case: BenchmarkCase, kind: str, seed: int, watch: Watch | None = None) -> RunRecord:
    """Run a case once. All kinds of clients get the same arrivals, sizes, latencies and competitors for a seed."""
    clock = _TickingClock(wall_start_s=1_795_000_000 + _rng(seed, "wall").random())

    async def record() -> RunRecord:
        return await _Run(case, kind, seed, clock, watch).record()

    return run_virtual(record(), clock)


class _Run:
    """One run. Made in its event loop."""

    def __init__(self, case: BenchmarkCase, kind: str, seed: int, clock: VirtualClock, watch: Watch | None) -> None:
        self._scenario = case.scenario
        self._seed = seed
        self._watch = watch
        self._connection = UpstreamConnection(case.scenario, self._rng("upstream"), clock)
        self._record = RunRecord(
            frozenset(each.name for each in case.scenario.workloads if each.kind is WorkloadKind.WORKERS),
            sent=self._connection.sent,
        )
        observer = None if watch is None else watch.observer
        start = starter(case, kind, self._connection, clock, self._rng, observer, self._record.waits)
        self._fleet = Fleet(start, replica_count(case, kind))
        self._numbers = count()

    async def record(self) -> RunRecord:
        """Run until the end of the scenario, and drop calls that are still in progress."""
        tasks = [asyncio.create_task(self._ask(workload)) for workload in self._scenario.workloads]
        tasks.append(asyncio.create_task(self._resize()))
        try:
            await self._sample_every_second()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._fleet.aclose()
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        return self._record

    async def _sample_every_second(self) -> None:
        due_seconds = 0.0
        while due_seconds <= self._scenario.duration_seconds:
            await self._connection.sleep_until(due_seconds)
            self._record.samples.append(self._connection.sample())
            if self._watch is not None and due_seconds % 1 == 0:
                self._watch.each_second(self._connection, self._fleet.running)
            due_seconds += _SAMPLE_SECONDS

    async def _resize(self) -> None:
        for change in self._scenario.resizes:
            await self._connection.sleep_until(change.at_seconds)
            self._fleet.resize(change.replicas)

    async def _ask(self, workload: Workload) -> None:
        caller = Caller(workload.name, weight=workload.weight)
        rng = self._rng(workload.name)
        async with asyncio.TaskGroup() as group:
            if workload.workers is not None:
                await self._connection.sleep_until(workload.start_seconds)
                for number in range(workload.workers):
                    group.create_task(self._work(workload, caller, rng, number))
            else:
                shapes = self._rng(f"{workload.name} sizes")
                for number, moment in enumerate(workload.arrival_seconds(self._scenario.duration_seconds, rng)):
                    await self._connection.sleep_until(moment)
                    job = self._job(workload, caller, shapes)
                    group.create_task(self._do(job, number, workload))

    async def _work(self, workload: Workload, caller: Caller, rng: Random, number: int) -> None:
        stop_seconds = workload.stop_seconds or self._scenario.duration_seconds
        while self._connection.now_seconds() < stop_seconds:
            answered = await self._do(self._job(workload, caller, rng), number, workload)
            think_seconds = sample(workload.think_seconds, rng) if answered else _AFTER_FAILURE_SECONDS
            if think_seconds:
                await asyncio.sleep(think_seconds)

    async def _do(self, job: Job, number: int, workload: Workload) -> bool:
        answered = False
        try:
            async with asyncio.timeout(job.patience_seconds):
                answered = await self._fleet.call(job, number, workload.replica_weights)
        except TimeoutError:
            pass
        if not answered:
            job.gave_up_seconds = self._connection.now_seconds()
        return answered

    def _job(self, workload: Workload, caller: Caller, rng: Random) -> Job:
        job = Job(
            next(self._numbers),
            caller,
            self._connection.now_seconds(),
            workload.deadline_seconds,
            workload.draw(self._scenario.lengths, rng),
            workload.max_tokens,
        )
        self._record.jobs.append(job)
        return job

    def _rng(self, purpose: str) -> Random:
        return _rng(self._seed, purpose)


def _rng(seed: int, purpose: str) -> Random:
    """Create a generator for one purpose: drawing from it does not change the others."""
    return Random(f"{seed} {purpose}")  # noqa: S311 - a simulation
