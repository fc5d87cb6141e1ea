"""Replicas that share one log have one limit and one queue, whatever fails."""

import asyncio
import itertools
from collections import Counter

import pytest

from support.memory_log import LogServer
from support.replica_calls import BURST, CONFIGURED, PER_SECOND, Calls, leader_of
from support.replicas import replicas
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings


def test_all_replicas_share_one_limit_and_one_fair_queue() -> None:
    clock = VirtualClock()

    async def main() -> Calls:
        calls = Calls(clock)
        async with replicas(clock, CONFIGURED, 3) as (_, running):
            callers = [(running[number % 3], f"caller {number % 3}") for number in range(150)]
            await asyncio.gather(*(calls.call(replica, caller) for replica, caller in callers))
        return calls

    calls = run_virtual(main(), clock)
    assert len(calls.admitted) == 150
    assert calls.most_above_the_rate() <= BURST + 0.5
    assert calls.admitted[-1][0] == pytest.approx((150 - BURST) / PER_SECOND, rel=0.06)
    shares = Counter(caller for _, caller in calls.admitted[:90])
    assert max(shares.values()) - min(shares.values()) <= 2


def test_a_light_caller_on_one_replica_does_not_wait_behind_a_flood_on_another() -> None:
    clock = VirtualClock()

    async def main() -> list[float]:
        calls, waits = Calls(clock), []
        async with replicas(clock, CONFIGURED, 2) as (_, (first, second)):
            flood = [asyncio.create_task(calls.call(first, "flood")) for _ in range(300)]
            for _ in range(10):
                await asyncio.sleep(1)
                started_s = clock.elapsed_s
                await calls.call(second, "light", takes_seconds=0)
                waits.append(clock.elapsed_s - started_s)
            for task in flood:
                task.cancel()
            await asyncio.wait(flood)
        return waits

    assert max(run_virtual(main(), clock)) < 0.5


def test_after_the_death_of_the_leader_another_one_continues_with_the_same_queue() -> None:
    clock = VirtualClock()

    async def main() -> tuple[Calls, float]:
        calls = Calls(clock)
        async with replicas(clock, CONFIGURED, 3) as (_, running):
            leader = leader_of(running)
            others = [each for each in running if each is not leader]
            tasks = [asyncio.create_task(calls.call(others[number % 2], f"{number % 2}")) for number in range(120)]
            await asyncio.sleep(3.03)
            await leader.kill()
            killed_s = clock.elapsed_s
            await asyncio.gather(*tasks)
        times = [time for time, _ in calls.admitted]
        pause_s = max(later - earlier for earlier, later in itertools.pairwise(times) if later > killed_s)
        return calls, pause_s

    calls, pause_s = run_virtual(main(), clock)
    assert (len(calls.admitted), calls.refused) == (120, [])
    assert calls.most_above_the_rate() <= BURST + 0.5
    assert pause_s <= 2
    shares = Counter(caller for _, caller in calls.admitted[:60])
    assert abs(shares["0"] - shares["1"]) <= 2


def test_a_leader_that_leaves_in_order_is_followed_at_once() -> None:
    clock = VirtualClock()

    async def main() -> float:
        async with replicas(clock, CONFIGURED, 2) as (_, running):
            leader = leader_of(running)
            await leader.stop()
            left_s = clock.elapsed_s
            calls = Calls(clock)
            (other,) = (each for each in running if each is not leader)
            await calls.call(other, "next")
            return calls.admitted[0][0] - left_s

    assert run_virtual(main(), clock) <= 0.4


def test_lost_commands_and_lost_answers_lose_no_call_and_admit_none_twice() -> None:
    clock = VirtualClock()

    async def main() -> Calls:
        calls = Calls(clock)
        async with replicas(clock, CONFIGURED, 3) as (_, running):
            for each in running:
                each.connection.lost_before = each.connection.lost_after = 0.05
            callers = [(running[number % 3], f"caller {number % 3}") for number in range(120)]
            await asyncio.gather(*(calls.call(replica, caller) for replica, caller in callers))
        return calls

    calls = run_virtual(main(), clock)
    assert (len(calls.admitted), calls.refused) == (120, [])
    assert (
        calls.most_above_the_rate() <= BURST + PER_SECOND * 0.5
    )  # an answer may be late by the time that a command takes


def test_the_waits_and_leases_of_a_dead_replica_end() -> None:
    clock = VirtualClock()

    async def main() -> tuple[int, int, int]:
        calls = Calls(clock)
        slow = {"p": PoolSettings({Dimension.REQUESTS: LimitSettings(6, 2)})}
        async with replicas(clock, slow, 2) as (_, running):
            leader = leader_of(running)
            (other,) = (each for each in running if each is not leader)
            tasks = [asyncio.create_task(calls.call(other, "gone", takes_seconds=99)) for _ in range(5)]
            await asyncio.sleep(2)
            (before,) = await leader.admission.store.snapshot("p")
            await other.kill()
            await asyncio.sleep(7.5)
            (after,) = await leader.admission.store.snapshot("p")
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        return before.in_flight, after.in_flight, after.waiting

    assert run_virtual(main(), clock) == (2, 0, 0)


def test_no_replica_counts_as_dead_while_the_server_is_silent() -> None:
    clock = VirtualClock()

    async def main() -> Calls:
        calls = Calls(clock)
        async with replicas(clock, CONFIGURED, 3) as (server, running):
            callers = [(running[number % 3], f"caller {number % 3}") for number in range(100)]
            tasks = [asyncio.create_task(calls.call(replica, caller)) for replica, caller in callers]
            await asyncio.sleep(2)
            server.is_down = True
            await asyncio.sleep(12)
            server.is_down = False
            await asyncio.gather(*tasks)
        return calls

    calls = run_virtual(main(), clock)
    assert (len(calls.admitted), calls.refused) == (100, [])
    assert calls.most_above_the_rate() <= BURST + 0.5


def test_a_replica_that_was_thought_dead_continues_where_it_was() -> None:
    clock = VirtualClock()

    async def main() -> tuple[Calls, list[int]]:
        calls = Calls(clock)
        async with replicas(clock, CONFIGURED, 3) as (_, running):
            leader = leader_of(running)
            silent = next(each for each in running if each is not leader)
            tasks = [asyncio.create_task(calls.call(silent, "silent", takes_seconds=9)) for _ in range(30)]
            await asyncio.sleep(1.0)
            silent.connection.is_mute = True
            await asyncio.sleep(6.5)
            (dead,) = await leader.admission.store.snapshot("p")
            silent.connection.is_mute = False
            await asyncio.sleep(2.5)
            (alive,) = await leader.admission.store.snapshot("p")
            await asyncio.gather(*tasks)
            await asyncio.sleep(2.5)
            (ended,) = await leader.admission.store.snapshot("p")
        return calls, [dead.in_flight, dead.waiting, alive.in_flight + alive.waiting, ended.in_flight]

    calls, (dead_in_flight, dead_waiting, alive, ended) = run_virtual(main(), clock)
    assert (dead_in_flight, dead_waiting) == (0, 0)
    assert alive > 0
    assert (len(calls.admitted), calls.refused, ended) == (30, [], 0)
    assert calls.most_above_the_rate() <= BURST + 0.5


async def finished(calls: list[asyncio.Task[None]], clock: VirtualClock) -> float:
    """When the last call ended."""
    await asyncio.gather(*calls)
    return clock.elapsed_s


def test_after_the_loss_of_everything_all_calls_go_on_without_a_burst() -> None:
    clock = VirtualClock()

    async def main() -> tuple[Calls, float]:
        calls = Calls(clock)
        async with replicas(clock, CONFIGURED, 3) as (server, running):
            tasks = [
                asyncio.create_task(calls.call(running[number % 3], f"{number % 3}", takes_seconds=9))
                for number in range(90)
            ]
            await asyncio.sleep(3.3)
            server.lose_everything()
            await finished(tasks, clock)
            await asyncio.sleep(2)
            (pool,) = await running[0].store.snapshot("p")
        assert pool.in_flight == 0
        return calls, clock.elapsed_s

    calls, _ = run_virtual(main(), clock)
    assert (len(calls.admitted), calls.refused) == (90, [])
    assert calls.most_above_the_rate() <= BURST + 0.5
    assert calls.admitted[-1][0] < 90 / PER_SECOND + 5


@pytest.mark.parametrize("leader_dies", [False, True])
def test_after_a_failover_that_loses_the_last_moment_no_call_is_lost_and_none_goes_too_early(
    *, leader_dies: bool
) -> None:
    clock = VirtualClock()

    async def main() -> tuple[Calls, int]:
        calls = Calls(clock)
        async with replicas(clock, CONFIGURED, 3) as (server, running):
            leader = leader_of(running)
            others = [each for each in running if each is not leader]
            tasks = [
                asyncio.create_task(calls.call(others[number % 2], f"{number % 2}", takes_seconds=9))
                for number in range(90)
            ]
            await asyncio.sleep(2.6)
            copied = server.copied()
            await asyncio.sleep(0.7)
            server.fail_over(copied)
            if leader_dies:
                await leader.kill()
            await finished(tasks, clock)
            await asyncio.sleep(2)
            (pool,) = await others[0].store.snapshot("p")
        return calls, pool.in_flight

    calls, in_flight = run_virtual(main(), clock)
    assert (len(calls.admitted), calls.refused, in_flight) == (90, [], 0)
    assert calls.most_above_the_rate() <= BURST + 0.5
    assert calls.admitted[-1][0] < 90 / PER_SECOND + 7


def test_ids_that_go_back_after_a_failover_stop_nothing() -> None:
    clock = VirtualClock()

    async def main() -> Calls:
        calls = Calls(clock)
        async with replicas(clock, CONFIGURED, 2) as (server, running):
            tasks = [asyncio.create_task(calls.call(running[number % 2], "c")) for number in range(60)]
            await asyncio.sleep(2)
            server.clock_behind_ms = 3_600_000
            server.fail_over(LogServer(clock, [], {}, server.checkpoint, server.lead))
            await asyncio.gather(*tasks)
        return calls

    calls = run_virtual(main(), clock)
    assert (len(calls.admitted), calls.refused) == (60, [])
    assert calls.admitted[-1][0] < 60 / PER_SECOND + 6


def test_an_entry_that_cannot_be_folded_stops_no_leader(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()

    async def main() -> Calls:
        calls = Calls(clock)
        async with replicas(clock, CONFIGURED, 2) as (_, running):
            await running[0].connection.append(b"no entry")
            await asyncio.gather(*(calls.call(running[number % 2], "c") for number in range(20)))
        return calls

    assert len(run_virtual(main(), clock).admitted) == 20
    assert [each.levelname for each in caplog.records if "is skipped" in each.message] == ["ERROR"]
