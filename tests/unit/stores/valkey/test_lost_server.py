"""Replicas that lose the server continue by their share of the limits, and return without a burst."""

import asyncio

import pytest

from support.memory_log import LogServer
from support.replica_calls import BURST, CONFIGURED, PER_SECOND, Calls, leader_of
from support.replicas import Replica, replicas
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.caller import Caller, CallerLimits
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.stores.valkey.shared_log import StoreLost


def test_all_replicas_continue_by_their_shares_while_the_server_is_down() -> None:
    clock = VirtualClock()

    async def main() -> tuple[Calls, float, float]:
        calls = Calls(clock)
        async with replicas(clock, CONFIGURED, 3) as (server, running):
            tasks = [asyncio.create_task(calls.call(running[number % 3], f"{number % 3}")) for number in range(300)]
            await asyncio.sleep(2)
            server.is_down, down_s = True, clock.elapsed_s
            await asyncio.sleep(1)
            assert [each.store.status().is_degraded for each in running] == [True] * 3
            await asyncio.sleep(11)
            server.is_down, up_s = False, clock.elapsed_s
            await asyncio.sleep(3)
            assert [each.store.status().is_degraded for each in running] == [False] * 3
            await asyncio.gather(*tasks)
            await asyncio.sleep(2)
            (pool,) = await running[0].store.snapshot("p")
            assert (pool.in_flight, pool.waiting) == (0, 0)
        return calls, down_s, up_s

    calls, down_s, up_s = run_virtual(main(), clock)
    assert (len(calls.admitted), calls.refused) == (300, [])
    assert calls.most_above_the_rate() <= BURST + 1
    while_down = sum(down_s < time <= up_s for time, _ in calls.admitted)
    assert while_down >= 0.9 * 12 * PER_SECOND
    assert calls.admitted[-1][0] <= 300 / PER_SECOND + 4


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        (CallerLimits(requests_per_minute=120), 2 * 20 + 20),  # a bucket holds what its rate refills in 10 s
        (CallerLimits(max_concurrent=4), 3 * 20 / 0.5),  # a third of four is one, at three replicas
    ],
)
def test_callers_own_limits_are_divided_as_well(limits: CallerLimits, most: float) -> None:
    clock, caller = VirtualClock(), Caller("own", limits=limits)

    async def main() -> int:
        calls = Calls(clock)
        async with replicas(clock, {"p": PoolSettings()}, 3) as (server, running):
            await calls.call(running[0], "first")  # so that the pool needs no probes
            await asyncio.sleep(2)
            server.is_down = True
            await asyncio.sleep(1)
            assert [each.store.status().is_degraded for each in running] == [True] * 3
            tasks = [asyncio.create_task(calls.call(running[number % 3], caller)) for number in range(400)]
            await asyncio.sleep(20)
            admitted = len(calls.admitted) - 1
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        return admitted

    admitted = run_virtual(main(), clock)
    assert 0.85 * most <= admitted <= 1.05 * most


def test_a_replica_that_is_cut_off_uses_the_share_that_the_leader_sets_aside() -> None:
    clock = VirtualClock()

    async def main() -> tuple[Calls, int]:
        calls = Calls(clock)
        async with replicas(clock, CONFIGURED, 4) as (_, running):
            leader = leader_of(running)
            alone = next(each for each in running if each is not leader)
            tasks = [asyncio.create_task(calls.call(running[number % 4], f"{number % 4}")) for number in range(400)]
            await asyncio.sleep(3)
            alone.connection.is_cut, cut_s = True, clock.elapsed_s
            await asyncio.sleep(20)
            alone.connection.is_cut, back_s = False, clock.elapsed_s
            await asyncio.gather(*tasks)
        name = running.index(alone)
        return calls, sum(cut_s < time <= back_s for time, caller in calls.admitted if caller == f"{name}")

    calls, alone = run_virtual(main(), clock)
    assert (len(calls.admitted), calls.refused) == (400, [])
    assert calls.most_above_the_rate() <= BURST + 2 * PER_SECOND / 4 + 1.5  # the leader notices after two seconds
    assert alone == pytest.approx(20 * PER_SECOND / 4, rel=0.15)


def test_leases_that_begin_and_end_while_a_replica_decides_alone_do_not_stay() -> None:
    clock = VirtualClock()

    async def main() -> tuple[int, int]:
        calls = Calls(clock)
        async with replicas(clock, CONFIGURED, 1) as (server, (only,)):
            server.is_down = True
            await asyncio.sleep(1)
            await asyncio.gather(*(calls.call(only, "c", takes_seconds=0) for _ in range(30)))
            server.is_down = False
            await asyncio.sleep(5)
            (pool,) = await only.store.snapshot("p")
        return pool.in_flight, pool.waiting

    assert run_virtual(main(), clock) == (0, 0)


def test_a_replica_that_is_cut_off_for_long_refuses_and_returns() -> None:
    clock = VirtualClock()

    async def main() -> tuple[Calls, list[bool]]:
        calls, refuses = Calls(clock), []
        async with replicas(clock, CONFIGURED, 2) as (_, running):
            leader = leader_of(running)
            (alone,) = (each for each in running if each is not leader)
            alone.connection.is_cut = True
            waiting = [asyncio.create_task(calls.call(alone, "c")) for _ in range(400)]
            await asyncio.sleep(29)
            refuses.append(alone.store.status().is_refusing)
            await asyncio.sleep(3)
            refuses.append(alone.store.status().is_refusing)
            await asyncio.gather(*waiting)
            await calls.call(alone, "new")
            alone.connection.is_cut = False
            await asyncio.sleep(3)
            refuses.append(alone.store.status().is_refusing)
            await calls.call(alone, "later")
        return calls, refuses

    calls, refuses = run_virtual(main(), clock)
    assert refuses == [False, True, False]
    assert calls.admitted[-1][1] == "later"
    assert len(calls.admitted) == pytest.approx(30 * PER_SECOND / 2 + BURST / 2, abs=8)
    assert {refusal.cause for refusal in calls.refused} == {Cause.STORE_UNAVAILABLE}


def test_replicas_do_not_decide_alone_while_only_the_leader_is_silent() -> None:
    clock = VirtualClock()

    async def main() -> bool:
        async with replicas(clock, CONFIGURED, 2) as (_, running):
            leader = leader_of(running)
            (other,) = (each for each in running if each is not leader)
            await leader.kill()
            await asyncio.sleep(1)
            return other.store.status().is_degraded

    assert run_virtual(main(), clock) is False


def test_without_the_server_a_start_fails_or_begins_alone() -> None:
    clock = VirtualClock()

    async def main() -> Calls:
        server, calls = LogServer(clock, is_down=True), Calls(clock)
        with pytest.raises(StoreLost):
            await Replica(server, clock, "r0", CONFIGURED).start()
        alone = Replica(server, clock, "r1", CONFIGURED, without_store=5)
        await alone.start()
        assert alone.store.status().is_degraded
        await asyncio.gather(*(calls.call(alone, "c") for _ in range(100)))
        server.is_down = False
        await asyncio.sleep(3)
        assert not alone.store.status().is_degraded
        await calls.call(alone, "together")
        await alone.stop()
        return calls

    calls = run_virtual(main(), clock)
    assert (len(calls.admitted), calls.refused) == (101, [])
    assert calls.admitted[99][0] == pytest.approx(100 / (PER_SECOND / 5), rel=0.05)


def test_steps_that_were_taken_alone_survive_a_second_loss_of_the_server() -> None:
    clock = VirtualClock()
    other_limit = {"p": PoolSettings({Dimension.REQUESTS: LimitSettings(60, BURST)})}

    async def main() -> tuple[float | None, int]:
        calls = Calls(clock)
        async with replicas(clock, CONFIGURED, 2) as (_, running):
            leader = leader_of(running)
            (alone,) = (each for each in running if each is not leader)
            await calls.call(leader, "early")
            early = asyncio.create_task(calls.call(alone, "early", takes_seconds=4))
            await asyncio.sleep(2)
            alone.connection.is_cut = True
            await asyncio.sleep(1)
            await alone.store.configure("p", other_limit["p"])
            await asyncio.gather(*(calls.call(alone, "alone", takes_seconds=0) for _ in range(4)), early)
            alone.connection.is_cut, alone.connection.is_mute = False, True  # pings come through, and no step
            await asyncio.sleep(1.5)
            assert not alone.store.status().is_degraded
            alone.connection.is_cut = True
            await asyncio.sleep(1)
            assert alone.store.status().is_degraded
            alone.connection.is_cut = alone.connection.is_mute = False
            await asyncio.sleep(3)
            (pool,) = await leader.store.snapshot("p")
        return pool.dimensions[0].configured_per_minute, pool.in_flight

    assert run_virtual(main(), clock) == (60, 0)
