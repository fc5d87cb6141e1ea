"""Runs a scenario on virtual time: its callers, through one kind of client, before the simulated upstream."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Final

from benchmarks.goodput.line import Line
from benchmarks.goodput.oracle_client import OracleClient
from benchmarks.goodput.records import Job, RunRecord
from benchmarks.goodput.scenario import LoadScenario
from benchmarks.goodput.sdk_clients import Client, LimitedSdkClient, SdkClient
from benchmarks.goodput.tidegate_client import TidegateClient
from benchmarks.goodput.workload import Workload, WorkloadKind
from claude_simulator.scenarios.distributions import sample
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.claude.rate_limit_groups import model_pool
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.dimension import DIMENSIONS
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.ports.observer import Observer

__all__ = ["CLIENTS", "Situation", "Watch", "run"]

CLIENTS: Final = ("tidegate", "oracle", "sdk", "aiolimiter")
"""Ours, who knows everything, and the field."""

_SAMPLE_SECONDS: Final = 0.25
_AFTER_FAILURE_SECONDS: Final = 1.0
"""A worker whose request came to nothing pauses before its next one."""


class _TickingClock(VirtualClock):
    """Each look takes a nanosecond, so that who waits for less than a float can tell does not wait for ever."""

    def monotonic_ns(self) -> int:
        self.advance(1e-9)
        return super().monotonic_ns()


@dataclass(frozen=True, slots=True)
class Situation:
    """A scenario, its name, and how the limiter under test is configured.

    Attributes:
        configured: whether it is configured with the scenario's true limits.
        configured_seconds: how many seconds of its rate the configured bucket holds; None: as many as the upstream's.
    """

    name: str
    scenario: LoadScenario
    configured: bool = False
    configured_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """Who looks on: an observer of each replica's engine, and what is called about once a second of virtual time."""

    observer: Observer
    each_second: Callable[[Line, Sequence[Client]], None]


def run(situation: Situation, kind: str, seed: int, watch: Watch | None = None) -> RunRecord:
    """One run; the same seed gives the same arrivals, sizes, latencies and competitors to every kind of client."""
    clock = _TickingClock(wall_start_s=1_795_000_000 + _rng(seed, "wall").random())
    return run_virtual(_Run(situation, kind, seed, clock, watch).record(), clock)


class _Run:
    def __init__(self, situation: Situation, kind: str, seed: int, clock: VirtualClock, watch: Watch | None) -> None:
        self._scenario = situation.scenario
        self._seed = seed
        self._clock = clock
        self._watch = watch
        self._line = Line(situation.scenario, self._rng("upstream"), clock)
        self._record = RunRecord(
            frozenset(each.name for each in situation.scenario.workloads if each.kind is WorkloadKind.WORKERS)
        )
        self._clients = self._make_clients(situation, kind)
        self._numbers = count()

    async def record(self) -> RunRecord:
        """Everything that happened until the end of the scenario; what is under way then is dropped."""
        tasks = [asyncio.create_task(self._ask(workload)) for workload in self._scenario.workloads]
        try:
            await self._look_on()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for client in self._clients:
                await client.aclose()
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        return self._record

    async def _look_on(self) -> None:
        due_seconds = 0.0
        while due_seconds <= self._scenario.duration_seconds:
            await self._line.sleep_until(due_seconds)
            self._record.samples.append(self._line.sample())
            if self._watch is not None and due_seconds % 1 == 0:
                self._watch.each_second(self._line, self._clients)
            due_seconds += _SAMPLE_SECONDS

    async def _ask(self, workload: Workload) -> None:
        caller = Caller(workload.name, weight=workload.weight)
        rng = self._rng(workload.name)
        async with asyncio.TaskGroup() as group:
            if workload.workers is not None:
                await self._line.sleep_until(workload.start_seconds)
                for number in range(workload.workers):
                    group.create_task(self._work(workload, caller, rng, self._client(number)))
            else:
                shapes = self._rng(f"{workload.name} sizes")
                for number, moment in enumerate(workload.arrival_seconds(self._scenario.duration_seconds, rng)):
                    await self._line.sleep_until(moment)
                    job = self._job(workload, caller, shapes)
                    group.create_task(self._do(job, self._client(number)))

    async def _work(self, workload: Workload, caller: Caller, rng: Random, client: Client) -> None:
        stop_seconds = workload.stop_seconds or self._scenario.duration_seconds
        while self._line.now_seconds() < stop_seconds:
            answered = await self._do(self._job(workload, caller, rng), client)
            think_seconds = sample(workload.think_seconds, rng) if answered else _AFTER_FAILURE_SECONDS
            if think_seconds:
                await asyncio.sleep(think_seconds)

    async def _do(self, job: Job, client: Client) -> bool:
        answered = False
        try:
            async with asyncio.timeout(job.patience_seconds):
                answered = await client.call(job)
        except TimeoutError:
            pass
        if not answered:
            job.gave_up_seconds = self._line.now_seconds()
        return answered

    def _job(self, workload: Workload, caller: Caller, rng: Random) -> Job:
        job = Job(
            next(self._numbers),
            caller,
            self._line.now_seconds(),
            workload.deadline_seconds,
            workload.draw(self._scenario.lengths, rng),
            workload.max_tokens,
        )
        self._record.jobs.append(job)
        return job

    def _client(self, number: int) -> Client:
        return self._clients[number % len(self._clients)]

    def _rng(self, purpose: str) -> Random:
        return _rng(self._seed, purpose)

    def _make_clients(self, situation: Situation, kind: str) -> list[Client]:
        replicas = range(situation.scenario.replicas)
        line, limits = self._line, situation.scenario.upstream.limits
        match kind:
            case "tidegate":
                pools = {model_pool(line.model): _configured(situation)} if situation.configured else {}
                observer = self._watch.observer if self._watch is not None else None
                return [
                    TidegateClient(
                        line, self._rng(f"replica {number}"), self._clock, pools, observer, self._record.waits
                    )
                    for number in replicas
                ]
            case "oracle":
                return [OracleClient(line)]
            case "sdk":
                return [SdkClient(line, self._rng(f"replica {number}")) for number in replicas]
            case "aiolimiter":
                return [
                    LimitedSdkClient(line, self._rng(f"replica {number}"), limits.requests_per_minute)
                    for number in replicas
                ]
            case _:
                raise ValueError(f"client: {kind!r} was given; allowed are {', '.join(CLIENTS)}")


def _rng(seed: int, purpose: str) -> Random:
    """Random numbers of their own for each purpose: what one client draws does not shift the arrivals."""
    return Random(f"{seed} {purpose}")  # noqa: S311 - a simulation


def _configured(situation: Situation) -> PoolSettings:
    """The settings of an operator who knows the limits a minute, and perhaps what the upstream's bucket holds."""
    limits = situation.scenario.upstream.limits
    seconds = situation.configured_seconds or limits.enforcement_seconds
    return PoolSettings(
        limits={
            dimension: LimitSettings(per_minute, max(1.0, per_minute * seconds / 60))
            for dimension, per_minute in zip(DIMENSIONS, limits.per_minute().values(), strict=True)
        }
    )
