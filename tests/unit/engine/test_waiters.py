"""Grants find their waiters, whatever comes first."""

import asyncio
import threading

from support.virtual_time import VirtualClock, VirtualTimeLoop, run_virtual
from tidegate.core.clock import NS_PER_SECOND as S
from tidegate.core.store import Change
from tidegate.engine.waiters import Waiters


class Recorder:
    """What the waiters ask of their store."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.advanced: list[tuple[str, float]] = []
        self.given_back: list[tuple[str, str]] = []
        self.waiters = Waiters(self.advance, lambda pool, lease_id: self.given_back.append((pool, lease_id)))

    def advance(self, pool: str) -> None:
        self.advanced.append((pool, self.clock.elapsed_s))


def test_a_grant_between_reserving_and_waiting_is_not_lost(clock: VirtualClock) -> None:
    waiters = Recorder(clock).waiters

    async def main() -> None:
        waiters.expect("a")
        waiters.on_change(Change("p", granted=("a",)))
        await waiters.wait("p", "a")
        waiters.forget("a")

    run_virtual(main(), clock)
    assert (waiters._leases, waiters._loops) == ({}, {})


def test_a_grant_of_somebody_else_is_ignored(clock: VirtualClock) -> None:
    recorder = Recorder(clock)
    recorder.waiters.on_change(Change("p", granted=("another's",), next_in_ns=S))
    assert (recorder.given_back, recorder.advanced) == ([], [])


def test_a_second_grant_does_no_harm(clock: VirtualClock) -> None:
    waiters = Recorder(clock).waiters

    async def main() -> None:
        waiters.expect("a")
        granted = waiters.wait("p", "a")
        waiters.on_change(Change("p", granted=("a", "a")))
        await granted
        waiters.forget("a")

    run_virtual(main(), clock)


class TestTimers:
    async def waiting(self, recorder: Recorder, *changes: Change, seconds: float = 100) -> None:
        """Waits in vain in pool `p` while the changes come."""
        recorder.waiters.expect("a")
        recorder.waiters.wait("p", "a")
        for change in changes:
            recorder.waiters.on_change(change)
        await asyncio.sleep(seconds)
        recorder.waiters.forget("a")

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
            recorder.waiters.expect("b")
            recorder.waiters.wait("p", "b")
            await self.waiting(recorder, Change("p", next_in_ns=5 * S), seconds=1)
            await asyncio.sleep(100)
            recorder.waiters.forget("b")

        run_virtual(main(), clock)
        assert recorder.advanced == [("p", 5.0)]

    def test_a_time_that_arrives_after_the_last_waiter_left_is_ignored(self, clock: VirtualClock) -> None:
        recorder = Recorder(clock)

        async def main() -> None:
            recorder.waiters.expect("a")
            recorder.waiters.wait("p", "a")
            # Another thread tells of it now, but its call reaches this loop only after the waiter has left.
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
                recorder.waiters.expect(lease_id)
                recorder.waiters.wait("p", lease_id)

        loop.run_until_complete(wait())
        loop.close()

    def test_a_grant_for_it_gives_back_whatever_was_left_there(self, clock: VirtualClock) -> None:
        recorder = Recorder(clock)
        self.closed(recorder, clock, "a", "b")
        recorder.waiters.on_change(Change("p", granted=("a",)))
        assert recorder.given_back == [("p", "a"), ("p", "b")]
        assert (recorder.waiters._leases, recorder.waiters._loops) == ({}, {})

    def test_so_does_a_timer_for_it(self, clock: VirtualClock) -> None:
        recorder = Recorder(clock)
        self.closed(recorder, clock, "a")
        recorder.waiters.on_change(Change("p", next_in_ns=S))
        assert recorder.given_back == [("p", "a")]

    def test_other_loops_keep_theirs(self, clock: VirtualClock) -> None:
        recorder = Recorder(clock)
        self.closed(recorder, clock, "a")

        async def main() -> None:
            recorder.waiters.expect("b")
            granted = recorder.waiters.wait("p", "b")
            recorder.waiters.on_change(Change("p", granted=("a",)))
            assert recorder.given_back == [("p", "a")]
            recorder.waiters.on_change(Change("p", granted=("b",)))
            await granted
            recorder.waiters.forget("b")

        run_virtual(main(), clock)
