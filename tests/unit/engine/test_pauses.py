"""What a pause does to new demands, and to those that wait."""

import asyncio
import threading

import pytest
from msgspec import structs

from support.recording_observer import RecordedScope, RecordingObserver
from support.virtual_time import VirtualClock, VirtualTimeLoop, run_virtual
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import ONE_REQUEST
from tidegate.core.domain.errors import Refusal
from tidegate.core.domain.events import Queued, RefusedCall, Withdrawn
from tidegate.core.domain.pause import NO_PAUSES, Pause, PauseKind, Pauses
from tidegate.core.ports.observer import ScopeKind
from tidegate.engine.admission import Admission
from tidegate.engine.waiters import Waiters
from tidegate.stores.memory import MemoryStore

WEB, NIGHTLY = (Demand("p", Caller(name, label=name), ONE_REQUEST) for name in ("web", "nightly"))
STOP = Pauses([Pause(PauseKind.CALLER, "nightly", "ops", 0)])


def test_new_demands_are_refused_without_effect_until_they_are_resumed(
    admission: Admission, store: MemoryStore, clock: VirtualClock, observer: RecordingObserver
) -> None:
    admission.pause(STOP)
    assert admission.pauses is STOP
    assert not admission.try_admit(structs.replace(NIGHTLY, settle_at_once=True))
    assert admission.try_acquire(NIGHTLY) is None
    scope = RecordedScope(observer, ScopeKind.ACQUIRE, {})
    with pytest.raises(Refusal, match="caller 'nightly' is paused"):
        run_virtual(admission.acquire(NIGHTLY, scope=scope), clock)
    assert scope.attributes["tidegate.cause"] == "paused"
    assert [event.cause for event in observer.of(RefusedCall)] == [Cause.PAUSED]
    assert store.snapshot_now("p")[0].dimensions[0].available == 5
    assert admission.try_acquire(WEB) is not None
    admission.pause(NO_PAUSES)
    assert admission.try_acquire(NIGHTLY) is not None
    assert admission._waiters._leases == {}


def test_those_that_wait_are_refused_at_once_and_the_others_move_up(
    admission: Admission, store: MemoryStore, clock: VirtualClock, observer: RecordingObserver
) -> None:
    ends: list[tuple[str, float]] = []

    async def one(demand: Demand) -> None:
        try:
            await admission.acquire(demand)
            ends.append((demand.caller.name, clock.elapsed_s))
        except Refusal as refusal:
            ends.append((refusal.cause, clock.elapsed_s))

    async def main() -> None:
        for _ in range(5):
            assert admission.try_acquire(WEB) is not None
        waiting = [asyncio.create_task(one(demand)) for demand in (NIGHTLY, NIGHTLY, NIGHTLY, WEB)]
        await asyncio.sleep(1)
        assert store.snapshot_now("p")[0].waiting == 4
        admission.pause(STOP)
        await asyncio.gather(*waiting)

    run_virtual(main(), clock)
    assert ends == [("paused", 1.0)] * 3 + [("web", 3.0)]
    assert len(observer.of(Queued)) == 4
    assert [event.caller.name for event in observer.of(Withdrawn)] == ["nightly"] * 3
    assert len(observer.of(RefusedCall)) == 3
    assert (admission._waiters._leases, admission._waiters._loops) == ({}, {})


def test_a_demand_that_is_paused_while_the_store_is_asked_does_not_wait(clock: VirtualClock) -> None:
    waiters = Waiters(lambda _pool: None, lambda _lease_id, _demand: None)

    async def main() -> None:
        waiters.expect("a", NIGHTLY)
        waiters.refuse(lambda demand: STOP.refusal(demand.caller))
        assert isinstance(await waiters.wait("a"), Refusal)
        waiters.forget("a")

    run_virtual(main(), clock)
    assert (waiters._leases, waiters._early, waiters._loops) == ({}, {}, {})


def test_a_pause_comes_from_any_thread(admission: Admission) -> None:
    waits = threading.Event()

    async def wait() -> None:
        for _ in range(5):
            admission.try_acquire(WEB)
        await admission.acquire(NIGHTLY, lambda _waiting: waits.set())

    def pause() -> None:
        assert waits.wait(10)
        admission.pause(STOP)

    thread = threading.Thread(target=pause)
    thread.start()
    with pytest.raises(Refusal, match="is paused"):
        asyncio.run(wait())
    thread.join()


def test_demands_of_a_closed_event_loop_are_given_back() -> None:
    given_back: list[str] = []
    waiters = Waiters(lambda _pool: None, lambda lease_id, _demand: given_back.append(lease_id))
    loop = VirtualTimeLoop(VirtualClock())
    waiters.expect("a", NIGHTLY)

    async def wait() -> None:
        waiters.wait("a")

    loop.run_until_complete(wait())
    loop.close()
    waiters.refuse(lambda demand: STOP.refusal(demand.caller))
    assert given_back == ["a"]
    assert waiters._loops == {}
