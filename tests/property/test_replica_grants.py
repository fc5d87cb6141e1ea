"""Four replicas on a shared log, whatever the network, the server and the leader do meanwhile."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from support.memory_log import LogServer
from support.replicas import Replica, replicas
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.demand import Demand, Granted, Outcome
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.errors import Refusal
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.stores.pools import Pools
from tidegate.stores.remote.messages import Results, Steps
from tidegate.stores.steps import Rejoin, Reserve
from tidegate.stores.valkey.log_fold import LogFold, decode_appended
from tidegate.stores.valkey.shared_log import Entry

PER_SECOND, BURST = 8, 8
CONFIGURED = {"p": PoolSettings({Dimension.REQUESTS: LimitSettings(60 * PER_SECOND, BURST)})}

MOST_ALONE = 3 * (BURST + 3 * PER_SECOND) / 4
"""Three of four replicas may use their shares for the two seconds until the leader sets them aside, and the burst."""
MOST_DELAYED = PER_SECOND * 1.5
"""Grants may be late by the time that a command and its answer take if both get lost."""

REPLICA = st.integers(0, 3)
SECONDS = st.sampled_from([0.1, 0.4, 1.0, 2.5])
FAULT = st.one_of(
    st.tuples(st.just("cut"), REPLICA, SECONDS | st.just(7.0)),
    st.tuples(st.just("pause"), REPLICA, SECONDS),
    st.tuples(st.just("pause leader"), st.just(0), SECONDS),
    st.tuples(st.just("server is down"), st.just(0), SECONDS),
)
CALLS = st.tuples(st.just("call"), REPLICA, st.sampled_from([0.0, 0.3, 1.5]), st.sampled_from([None, None, 0.05, 0.9]))
STEPS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.05, 0.5, 1.5]), st.integers(1, 12), CALLS | CALLS | FAULT),
    min_size=3,
    max_size=14,
)


@dataclass
class Books:
    """What became of the calls.

    Attributes:
        granted: the time of each admission, by lease id.
        ended: how many calls were granted or refused.
        left: how many callers have left before.
    """

    granted: dict[str, float] = field(default_factory=dict)
    ended: int = 0
    left: int = 0


async def call(replica: Replica, clock: VirtualClock, books: Books, takes_seconds: float) -> None:
    try:
        lease = await replica.admission.acquire(Demand("p", Caller(replica.name), Cost(1)))
    except Refusal:
        books.ended += 1
        return
    except asyncio.CancelledError:
        books.left += 1
        raise
    books.granted[lease.id] = clock.elapsed_s
    books.ended += 1
    try:
        await asyncio.sleep(takes_seconds)
    finally:
        await lease.end(Outcome.SETTLED, Cost(1))


def begin_fault(kind: str, running: list[Replica], server: LogServer, number: int, seconds: float) -> None:
    """Cuts or pauses something for a time."""
    now_s = server.clock.elapsed_s
    leading = [each for each in running if each.leads]
    replica = leading[0] if kind == "pause leader" and leading else running[number]
    if kind == "server is down":
        server.silent.append((now_s, now_s + seconds))
    elif kind == "cut":
        replica.connection.cut(seconds)
    else:
        replica.connection.pause(seconds)


async def run_steps(
    steps: list[tuple[float, int, tuple[object, ...]]], books: Books, server: LogServer, running: list[Replica]
) -> int:
    """Takes the steps, and waits until nothing is disturbed. Returns how many calls there were."""
    loop, tasks = asyncio.get_running_loop(), []
    for pause_s, count, step in steps:
        await asyncio.sleep(pause_s)
        match step:
            case ("call", int(number), float(takes_seconds), leaves_after):
                for _ in range(count):
                    task = asyncio.create_task(call(running[number], server.clock, books, takes_seconds))
                    tasks.append(task)
                    if isinstance(leaves_after, float):
                        loop.call_later(leaves_after, task.cancel)
            case (str(kind), int(number), float(seconds)):
                begin_fault(kind, running, server, number, seconds)
    await asyncio.sleep(8)
    for each in running:
        each.connection.lost_before = each.connection.lost_after = 0
    if tasks:
        await asyncio.wait(tasks, timeout=120)
    assert [task for task in tasks if not task.done()] == []
    return len(tasks)


@settings(max_examples=12)
@given(st.sampled_from([0.0, 0.02, 0.1]), st.sampled_from([0.0, 0.1]), st.sampled_from([0.0, 0.05]), STEPS)
def test_nothing_exceeds_the_limit_and_no_call_is_lost(
    lost: float, repeated: float, jitter_seconds: float, steps: list[tuple[float, int, tuple[object, ...]]]
) -> None:
    clock, books = VirtualClock(), Books()

    async def main() -> tuple[LogServer, int]:
        async with replicas(clock, CONFIGURED, 4) as (server, running):
            for each in running:
                each.connection.lost_before = each.connection.lost_after = lost
                each.connection.repeated = repeated
                each.connection.jitter_seconds = jitter_seconds
            calls = await run_steps(steps, books, server, running)
            await asyncio.sleep(7)
            (leader,) = [each for each in running if each.leads]
            for pool in await leader.store.snapshot("p"):
                assert (pool.in_flight, pool.waiting) == (0, 0)
        return server, calls

    server, calls = run_virtual(main(), clock)
    assert books.ended + books.left == calls
    folded = grants_of(server)
    # A grant for a caller that has left is given back, and a replica that decides alone makes grants beside the log.
    assert most_above_the_rate([folded[lease_id] for lease_id in books.granted if lease_id in folded]) <= BURST
    assert time_runs_ahead_by(server) <= 0
    assert most_above_the_rate(list(books.granted.values())) <= BURST + MOST_ALONE + MOST_DELAYED


def grants_of(server: LogServer) -> dict[str, float]:
    """All grants, by lease id, with their time by the log: as one process folds it that has never failed."""
    fold = LogFold(Pools(CONFIGURED), "the same")
    granted: dict[str, float] = {}
    reserved: dict[tuple[str, int], str] = {}
    for entry in server.history:
        reserved.update(reservations(entry))
        for replica, messages in fold.apply(entry).messages.items():
            for results in messages:
                if isinstance(results, Results):
                    for lease_id in granted_by(results, replica, reserved):
                        granted.setdefault(lease_id, fold.now_seconds)
    return granted


def reservations(entry: Entry) -> Iterator[tuple[tuple[str, int], str]]:
    """The lease ids of the reservations in an entry, by replica and number: of new ones, and of those that wait."""
    appended = decode_appended(entry.payload)
    batches = [message.batch for message in appended.messages if isinstance(message, Steps)]
    for batch in batches:
        for number, step in enumerate(batch.steps, batch.number):
            if isinstance(step, Reserve):
                yield (appended.replica, number), step.lease_id
            elif isinstance(step, Rejoin):
                yield from (((appended.replica, asked), waiting.lease_id) for asked, waiting in step.waiting)


def granted_by(results: Results, replica: str, reserved: dict[tuple[str, int], str]) -> Iterator[str]:
    for answer in results.answers:
        if isinstance(answer.result, Granted):
            yield reserved[replica, answer.number]
    for change in results.changes:
        yield from change.granted


def most_above_the_rate(times: list[float]) -> float:
    """The most grants in any window, above the window's share of the rate; 0 without any."""
    excess = most = before = 0.0
    for time in sorted(times):
        excess = max(0.0, excess - PER_SECOND * (time - before)) + 1
        most, before = max(most, excess), time
    return round(most, 6)


def time_runs_ahead_by(server: LogServer) -> float:
    """By how much the log's time has ever advanced faster than the server's."""
    fold, times = LogFold(Pools(CONFIGURED), "the same"), []
    for entry in server.history:
        fold.apply(entry)
        times.append((entry.id.unix_ms / 1_000, fold.now_seconds))
    ahead = [(log - log_before) - (now - before) for (before, log_before), (now, log) in pairwise(times)]
    return round(max(ahead, default=0.0), 6)
