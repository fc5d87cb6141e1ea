"""Grants find their waiters, whatever comes first."""

import asyncio
import threading

import pytest

from support.virtual_time import VirtualClock, VirtualTimeLoop, run_virtual
from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Refused
from tidegate.core.domain.dimension import ONE_REQUEST
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.ports.store import Change
from tidegate.engine.waiters import Answer, Waiters

IN_P = Demand("p", DEFAULT_CALLER, ONE_REQUEST)


class Recorder:
    """The calls of the waiters to their store."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.advanced: list[tuple[str, float]] = []
        self.given_back: list[tuple[str, Demand]] = []
        self.waiters = Waiters(self.advance, lambda lease_id, demand: self.given_back.append((lease_id, demand)))

    def advance(self, pool: str) -> None:
        self.advanced.append((pool, self.clock.elapsed_s))


def test_a_grant_between_reserving_and_waiting_is_not_lost(clock: VirtualClock) -> None:
    waiters = Recorder(clock).waiters

    async def main() -> None:
        waiters.expect("a", IN_P)
        waiters.on_change(Change("p", granted=("a",)))
        await waiters.wait("a")
        waiters.forget("a")

    run_virtual(main(), clock)
    assert (waiters._leases, waiters._loops) == ({}, {})


def test_a_waiter_that_leaves_between_reserving_and_waiting_leaves_nothing_behind(clock: VirtualClock) -> None:
    waiters = Recorder(clock).waiters
    waiters.expect("a", IN_P)
    waiters.on_change(Change("p", granted=("a",)))
    waiters.forget("a")
    assert (waiters._leases, waiters._loops, waiters._early) == ({}, {}, {})


def test_a_grant_of_somebody_else_is_ignored(clock: VirtualClock) -> None:
    recorder = Recorder(clock)
    recorder.waiters.on_change(Change("p", granted=("another's",), next_in_ns=S))
    assert (recorder.given_back, recorder.advanced) == ([], [])


def test_a_second_grant_does_no_harm(clock: VirtualClock) -> None:
    waiters = Recorder(clock).waiters

    async def main() -> None:
        waiters.expect("a", IN_P)
        granted = waiters.wait("a")
        waiters.on_change(Change("p", granted=("a", "a")))
        await granted
        waiters.forget("a")

    run_virtual(main(), clock)


REFUSED = Refused(Cause.SPEND_CAP, 60 * S)


@pytest.mark.parametrize("early", [True, False])
def test_a_waiter_may_be_refused_after_all(clock: VirtualClock, early: bool) -> None:  # noqa: FBT001 - a parameter
    waiters = Recorder(clock).waiters

    async def main() -> Answer:
        waiters.expect("a", IN_P)
        if early:
            waiters.on_change(Change("p", refused=(("a", REFUSED),)))
        answer = waiters.wait("a")
        if not early:
            waiters.on_change(Change("p", refused=(("a", REFUSED), ("another's", REFUSED))))
        assert waiters.refusal("a") == (None if early else REFUSED)
        answered = await answer
        waiters.forget("a")
        assert waiters.refusal("a") is None
        return answered

    assert run_virtual(main(), clock) == REFUSED


def test_a_refusal_in_the_moment_in_which_patience_ends_is_not_lost(clock: VirtualClock) -> None:
    waiters = Recorder(clock).waiters

    async def main() -> None:
        waiters.expect("a", IN_P)
        answer = waiters.wait("a")
        answer.set_result(False)
        waiters.on_change(Change("p", refused=(("a", REFUSED),)))
        assert waiters.refusal("a") == REFUSED
        await asyncio.sleep(0)
        assert answer.result() is False
        waiters.forget("a")

    run_virtual(main(), clock)


def test_a_refusal_for_a_closed_loop_leaves_nothing_to_give_back(clock: VirtualClock) -> None:
    recorder = Recorder(clock)

    async def leave_behind() -> None:
        recorder.waiters.expect("a", IN_P)
        recorder.waiters.wait("a")

    run_virtual(leave_behind(), clock)
    recorder.waiters.on_change(Change("p", refused=(("a", REFUSED),)))
    assert recorder.given_back == []


class TestTimers:
    async def waiting(self, recorder: Recorder, *changes: Change, seconds: float = 100) -> None:
        """Waits in vain in pool `p` while the changes come."""
        recorder.waiters.expect("a", IN_P)
        recorder.waiters.wait("a")
        recorder.advanced.clear()
        for change in changes:
            recorder.waiters.on_change(change)
        await asyncio.sleep(seconds)
        recorder.waiters.forget("a")

    def test_the_first_waiter_has_the_pool_looked_at_who_finds_a_timer_does_not(self, clock: VirtualClock) -> None:
        recorder = Recorder(clock)

        async def main() -> None:
            for lease_id in ("a", "b", "c"):
                recorder.waiters.expect(lease_id, IN_P)
                recorder.waiters.wait(lease_id)
                recorder.waiters.on_change(Change("p", next_in_ns=5 * S))
            await asyncio.sleep(1)
            for lease_id in ("a", "b", "c"):
                recorder.waiters.forget(lease_id)

        run_virtual(main(), clock)
        assert recorder.advanced == [("p", 0.0)]

    def test_the_pool_is_looked_at_when_told(self, clock: VirtualClock) -> None:
        recorder = Recorder(clock)
        run_virtual(self.waiting(recorder, Change("p", next_in_ns=3 * S)), clock)
        assert recorder.advanced == [("p", 3.0)]

    def test_an_earlier_time_replaces_a_later_not_the_reverse(self, clock: VirtualClock) -> None:
        recorder = Recorder(clock)
        changes = [Change("p", next_in_ns=seconds * S) for seconds in (5, 3, 9)]
        run_virtual(self.waiting(recorder, *changes), clock)
        assert recorder.advanced == [("p", 3.0)]

    def test_other_pools_do_not_matter(self, clock: VirtualClock) -> None:
        recorder = Recorder(clock)
        run_virtual(self.waiting(recorder, Change("q", next_in_ns=S)), clock)
        assert recorder.advanced == []

    def test_the_last_waiter_takes_the_timer_along(self, clock: VirtualClock) -> None:
        recorder = Recorder(clock)

        async def main() -> None:
            await self.waiting(recorder, Change("p", next_in_ns=5 * S), seconds=1)
            await asyncio.sleep(100)

        run_virtual(main(), clock)
        assert recorder.advanced == []

    def test_a_timer_stays_while_others_wait(self, clock: VirtualClock) -> None:
        recorder = Recorder(clock)

        async def main() -> None:
            recorder.waiters.expect("b", IN_P)
            recorder.waiters.wait("b")
            await self.waiting(recorder, Change("p", next_in_ns=5 * S), seconds=1)
            await asyncio.sleep(100)
            recorder.waiters.forget("b")

        run_virtual(main(), clock)
        assert recorder.advanced == [("p", 5.0)]

    def test_a_time_that_arrives_after_the_last_waiter_left_is_ignored(self, clock: VirtualClock) -> None:
        recorder = Recorder(clock)

        async def main() -> None:
            recorder.waiters.expect("a", IN_P)
            recorder.waiters.wait("a")
            recorder.advanced.clear()
            # Another thread reports it now, but its call reaches this loop only after the waiter has left.
            thread = threading.Thread(target=recorder.waiters.on_change, args=[Change("p", next_in_ns=S)])
            thread.start()
            thread.join()
            recorder.waiters.forget("a")
            await asyncio.sleep(100)

        run_virtual(main(), clock)
        assert recorder.advanced == []


class TestClosedLoop:
    def closed(self, recorder: Recorder, clock: VirtualClock, *lease_ids: str) -> None:
        """Leaves waiters behind in a loop that has closed."""
        loop = VirtualTimeLoop(clock)

        async def wait() -> None:
            for lease_id in lease_ids:
                recorder.waiters.expect(lease_id, IN_P)
                recorder.waiters.wait(lease_id)

        loop.run_until_complete(wait())
        loop.close()

    def test_a_grant_for_it_gives_back_whatever_was_left_there(self, clock: VirtualClock) -> None:
        recorder = Recorder(clock)
        self.closed(recorder, clock, "a", "b")
        recorder.waiters.on_change(Change("p", granted=("a",)))
        assert recorder.given_back == [("a", IN_P), ("b", IN_P)]
        assert (recorder.waiters._leases, recorder.waiters._loops) == ({}, {})

    def test_a_timer_for_it_gives_back_whatever_was_left_there(self, clock: VirtualClock) -> None:
        recorder = Recorder(clock)
        self.closed(recorder, clock, "a")
        recorder.waiters.on_change(Change("p", next_in_ns=S))
        assert recorder.given_back == [("a", IN_P)]

    def test_other_loops_keep_theirs(self, clock: VirtualClock) -> None:
        recorder = Recorder(clock)
        self.closed(recorder, clock, "a")

        async def main() -> None:
            recorder.waiters.expect("b", IN_P)
            granted = recorder.waiters.wait("b")
            recorder.waiters.on_change(Change("p", granted=("a",)))
            assert recorder.given_back == [("a", IN_P)]
            recorder.waiters.on_change(Change("p", granted=("b",)))
            await granted
            recorder.waiters.forget("b")

        run_virtual(main(), clock)
