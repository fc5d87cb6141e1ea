"""What one replica sets, learns or prices anew reaches all replicas."""

import asyncio
import threading

import pytest

from support.memory_log import LogServer
from support.recording_observer import RecordingObserver
from support.replica_calls import CONFIGURED, Calls, leader_of
from support.replicas import Replica, replicas
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.caller import Caller, CallerLimits
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.events import Frozen, LeaseEnded, Thawed
from tidegate.core.domain.feedback import RateLimited, Succeeded
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.stores.valkey.log_channel import decode_messages
from tidegate.stores.valkey.log_fold import Effects, LogFold
from tidegate.stores.valkey.shared_log import Checkpoint, Entry, EntryId, StoreLost

FASTER = PoolSettings({Dimension.REQUESTS: LimitSettings(6_000, 3)})
ADAPTIVE = PoolSettings({Dimension.REQUESTS: LimitSettings(600, 5)}, AdaptiveSettings())
SLOW = {"p": PoolSettings({Dimension.REQUESTS: LimitSettings(6, 1), Dimension.INPUT_TOKENS: LimitSettings(60, 100)})}


def test_the_configuration_by_one_replica_applies_to_all_and_survives_restarts_of_all() -> None:
    clock = VirtualClock()

    async def main() -> None:
        async with replicas(clock, CONFIGURED, 2) as (server, (first, second)):
            first.store.configure_now("p", FASTER, by="ann")
            assert first.store.settings_now("p") == FASTER
            await asyncio.sleep(1.5)
            assert second.store.settings_now("p") == FASTER
            assert second.store.set_at_runtime("p")["requests_per_minute"].by == "ann"
            for each in (first, second):
                await each.stop()
            third = Replica(server, clock, "r3", CONFIGURED)
            await third.start()
            assert third.store.settings_now("p") == FASTER
            await third.stop()

    run_virtual(main(), clock)


def test_the_configuration_survives_the_loss_of_the_log() -> None:
    clock = VirtualClock()

    async def main() -> None:
        async with replicas(clock, CONFIGURED, 2) as (server, running):
            running[0].store.configure_now("p", FASTER, by="ann")
            await asyncio.sleep(2)
            server.lose_everything()
            await asyncio.sleep(5)
            assert [each.store.settings_now("p") for each in running] == [FASTER, FASTER]
            await Calls(clock).call(running[0], "c", takes_seconds=1.5)
            (pool,) = await running[0].store.snapshot("p")
            assert pool.dimensions[0].configured_per_minute == 6_000

    run_virtual(main(), clock)


def test_each_entry_is_folded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, folded = VirtualClock(), list[EntryId]()
    apply = LogFold.apply

    def noted(fold: LogFold, entry: Entry) -> Effects:
        folded.append(entry.id)
        return apply(fold, entry)

    monkeypatch.setattr(LogFold, "apply", noted)

    async def main() -> None:
        async with replicas(clock, CONFIGURED, 2) as (_, running):
            for each in running:
                each.connection.latency_seconds = 0.05
            calls = Calls(clock)
            await asyncio.gather(*(calls.call(running[number % 2], "c", takes_seconds=0.01) for number in range(60)))

    run_virtual(main(), clock)
    assert len(folded) == len(set(folded)) > 50


def test_the_last_configuration_that_was_read_is_in_effect_and_others_say_so(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()

    async def main() -> None:
        async with replicas(clock, CONFIGURED, 2) as (_, (first, second)):
            assert not caplog.records
            second.store.reload({"p": FASTER}, PoolSettings())
            second.store.limit_callers({"ann": CallerLimits(max_concurrent=1)})
            await asyncio.sleep(2.5)
            assert [each.store.settings_now("p") for each in (first, second)] == [FASTER, FASTER]
            demand = Demand("p", Caller("ann", limits=CallerLimits()), Cost(1))
            lease = await first.admission.acquire(demand)
            waiting = asyncio.create_task(second.admission.acquire(demand))
            await asyncio.sleep(0.2)
            assert not waiting.done()
            await lease.end(Outcome.SETTLED)
            await waiting

    run_virtual(main(), clock)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "another replica has other limits in its configuration, and they are in effect"
    ]


def test_settings_before_the_start_are_those_of_the_start() -> None:
    clock = VirtualClock()

    async def main() -> None:
        server = LogServer(clock)
        replica = Replica(server, clock, "r", {})
        replica.store.set_initial("p", FASTER)
        replica.store.limit_callers({"ann": None})
        assert replica.store.settings_now("p") == FASTER
        await replica.start()
        assert replica.store.settings_now("p") == FASTER
        (shown,) = replica.store.snapshot_now("p")
        assert shown.dimensions[0].configured_per_minute == 6_000
        await replica.stop()

    run_virtual(main(), clock)


def test_the_first_waiting_requests_are_priced_anew() -> None:
    clock = VirtualClock()

    async def main() -> list[int | None]:
        async with replicas(clock, SLOW, 2) as (_, running):
            follower = next(each for each in running if not each.leads)
            await follower.admission.acquire(Demand("p", Caller("ann"), Cost(1, 100)))
            price = [50]
            demand = Demand("p", Caller("ann"), Cost(1, 50), price=lambda _now_ns: Cost(1, price[0]))
            tasks = [asyncio.create_task(follower.admission.acquire(demand)) for _ in range(20)]
            await asyncio.sleep(0.5)
            price[0] = 20
            await asyncio.sleep(2.5)
            (queue,) = await follower.store.queues()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            return [group.tokens for group in queue.groups]

    assert run_virtual(main(), clock) == [16 * 20 + 4 * 50]


def test_what_a_replica_learns_is_counted_at_once_also_from_other_threads() -> None:
    clock = VirtualClock()
    settings = {"p": ADAPTIVE}

    async def main() -> None:
        async with replicas(clock, settings, 2) as (_, (first, second)):
            await Calls(clock).call(second, "c")
            await asyncio.sleep(1.5)
            first.store.learn_now("p", Succeeded())
            first.store.learn_now("p", RateLimited(S))
            (pool,) = first.store.snapshot_now("p")
            assert (pool.succeeded, pool.rate_limited) == (1, 1)
            thread = threading.Thread(target=first.store.learn_now, args=("p", Succeeded()))
            thread.start()
            thread.join()
            await asyncio.sleep(1.5)
            for each in (first, second):
                (pool,) = each.store.snapshot_now("p")
                assert (pool.succeeded, pool.rate_limited) == (2, 1)

    run_virtual(main(), clock)


def test_each_fact_is_reported_once_to_the_replica_that_caused_it() -> None:
    clock = VirtualClock()

    async def main() -> list[list[type]]:
        server, observers = LogServer(clock), [RecordingObserver() for _ in range(3)]
        running = [
            Replica(server, clock, f"r{number}", CONFIGURED, observer) for number, observer in enumerate(observers)
        ]
        for each in running:
            await each.start()
        leader = running.index(leader_of(running))
        cause = running[(leader + 1) % 3]
        lease = await cause.admission.acquire(Demand("p", Caller("ann"), Cost(1)))
        await lease.end(Outcome.THROTTLED, feedback=(RateLimited(S, lease_id=lease.id),))
        await cause.admission.acquire(Demand("p", Caller("ann"), Cost(1)))
        await asyncio.sleep(1)
        for each in running:
            await each.stop()
        kinds = (Frozen, Thawed, LeaseEnded)
        facts = [[type(event) for event in each.events if isinstance(event, kinds)] for each in observers]
        return [facts[(leader + number) % 3] for number in range(3)]

    assert run_virtual(main(), clock) == [[Thawed], [LeaseEnded, Frozen], []]


def test_a_call_can_be_given_back_from_another_thread() -> None:
    clock = VirtualClock()

    async def main() -> int:
        async with replicas(clock, CONFIGURED, 2) as (_, (first, _second)):
            calls = Calls(clock)
            await calls.call(first, "c")
            lease = await first.admission.acquire(Demand("p", Caller("ann"), Cost(1)))
            thread = threading.Thread(target=first.store.release, args=("p", lease.id))
            thread.start()
            thread.join()
            await asyncio.sleep(1.5)
            (pool,) = first.store.snapshot_now("p")
            return pool.in_flight

    assert run_virtual(main(), clock) == 0


def test_a_start_fails_if_no_replica_leads() -> None:
    clock = VirtualClock()

    async def main() -> None:
        server = LogServer(clock)
        server.lead = "nobody's", clock.monotonic_ns() + 60 * S
        replica = Replica(server, clock, "r", CONFIGURED)
        with pytest.raises(StoreLost, match="no replica has taken the lead"):
            await replica.start()

    run_virtual(main(), clock)


def test_a_replica_may_leave_before_it_has_started_or_while_it_is_alone() -> None:
    clock = VirtualClock()

    async def main() -> None:
        alone = Replica(LogServer(clock, is_down=True), clock, "r", CONFIGURED, without_store=2)
        await alone.stop()
        await alone.start()
        await Calls(clock).call(alone, "c")
        await alone.stop()
        calls = Calls(clock)
        await calls.call(alone, "late")
        assert [refusal.cause for refusal in calls.refused] == [Cause.STORE_UNAVAILABLE]

    run_virtual(main(), clock)


def test_a_checkpoint_of_another_version_counts_as_the_loss_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()

    async def main() -> Calls:
        calls = Calls(clock)
        async with replicas(clock, CONFIGURED, 2) as (server, running):
            tasks = [asyncio.create_task(calls.call(running[number % 2], "c")) for number in range(40)]
            await asyncio.sleep(1.2)
            leader = leader_of(running)
            (other,) = (each for each in running if each is not leader)
            leader.connection.is_cut = True
            await asyncio.sleep(1.4)
            assert server.checkpoint is not None
            server.checkpoint = Checkpoint(server.checkpoint.incarnation, server.checkpoint.folded, b"0000?")
            await asyncio.sleep(1)
            assert other.leads
            leader.connection.is_cut = False
            await asyncio.gather(*tasks)
        return calls

    calls = run_virtual(main(), clock)
    assert (len(calls.admitted), calls.refused) == (40, [])
    assert any("cannot be read" in record.getMessage() for record in caplog.records)


def test_a_leader_that_fails_gives_up_the_lead(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = VirtualClock()

    async def main() -> bool:
        async with replicas(clock, CONFIGURED, 2) as (_, running):
            leader = leader_of(running)

            def fail(_fold: LogFold) -> bytes:
                monkeypatch.undo()
                raise ZeroDivisionError

            monkeypatch.setattr(LogFold, "dump", fail)
            await asyncio.sleep(2)
            return leader_of(running) is not leader

    assert run_virtual(main(), clock)
    assert any("has failed to lead" in record.getMessage() for record in caplog.records)


def test_reports_that_are_read_again_change_nothing() -> None:
    """A mailbox is read from its beginning after a long silence of the leader."""
    clock = VirtualClock()

    async def main() -> None:
        async with replicas(clock, CONFIGURED, 2) as (server, (first, second)):
            await asyncio.sleep(3)
            first.store.configure_now("p", FASTER)
            await asyncio.sleep(3)
            server.is_down = True
            await asyncio.sleep(0.2)
            age = second.store.status().snapshot_age_seconds
            for entry in server.mailboxes[second.name]:
                for message in decode_messages(entry.payload):
                    second.store._receive(message)
                    assert second.store.settings_now("p") == FASTER
                    assert second.store.status().snapshot_age_seconds == age
            assert age is not None
            assert age >= 0.2

    run_virtual(main(), clock)
