"""Replicas that share a log lose no call and no lease, and keep the limit, whatever fails around them."""

import asyncio
from collections.abc import Sequence

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from support.memory_log import LogServer
from support.replica_calls import BURST, CONFIGURED, PER_SECOND, Calls
from support.replicas import Replica, replicas
from support.virtual_time import VirtualClock, run_virtual

REPLICAS, CALLS = 3, 90
FAULTS = ["cut", "mute", "lossy", "slow", "server down", "flush", "failover"]


async def fail(kind: str, which: int, seconds: float, server: LogServer, running: list[Replica]) -> None:
    """Lets something fail for a time, and everything work again."""
    connection = running[which].connection
    if kind == "cut":
        connection.is_cut = True
    elif kind == "mute":
        connection.is_mute = True
    elif kind == "lossy":
        connection.lost_before = connection.lost_after = 0.1
    elif kind == "slow":
        connection.latency_seconds = 0.1
    elif kind == "server down":
        server.is_down = True
    elif kind == "flush":
        server.lose_everything()
    elif kind == "failover":
        copied = server.copied()
        await asyncio.sleep(0.3)
        server.fail_over(copied)
    await asyncio.sleep(seconds)
    connection.is_cut = connection.is_mute = server.is_down = False
    connection.lost_before = connection.lost_after = 0.0
    connection.latency_seconds = 0.0005


async def play(faults: Sequence[tuple[str, int, float]], clock: VirtualClock) -> tuple[Calls, int, int]:
    calls = Calls(clock)
    async with replicas(clock, CONFIGURED, REPLICAS) as (server, running):
        tasks = [
            asyncio.create_task(calls.call(running[number % REPLICAS], f"{number % REPLICAS}"))
            for number in range(CALLS)
        ]
        await asyncio.sleep(1.0)
        for kind, which, seconds in faults:
            await fail(kind, which, seconds, server, running)
        await asyncio.gather(*tasks)
        await asyncio.sleep(8)
        pools = await running[0].store.snapshot("p")  # none if all was lost after the last call
    return calls, sum(pool.in_flight for pool in pools), sum(pool.waiting for pool in pools)


FAULT = st.tuples(st.sampled_from(FAULTS), st.integers(0, 2), st.sampled_from([0.2, 1.0, 3.0, 7.0]))


@example([("slow", 1, 0.2), ("lossy", 2, 0.2), ("mute", 2, 7.0)])
@given(st.lists(FAULT, max_size=3))
@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])  # a run takes seconds
def test_no_fault_loses_a_call_or_a_lease(faults: list[tuple[str, int, float]]) -> None:
    clock = VirtualClock()
    calls, in_flight, waiting = run_virtual(play(faults, clock), clock)
    assert len(calls.admitted) + len(calls.refused) == CALLS
    assert not calls.refused
    assert (in_flight, waiting) == (0, 0)
    # A replica that decides alone is noticed after two seconds.
    alone = len(faults) * (BURST / REPLICAS + 2 * PER_SECOND / REPLICAS)
    assert calls.most_above_the_rate() <= BURST + alone + 1
