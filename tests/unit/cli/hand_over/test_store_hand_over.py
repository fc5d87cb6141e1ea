"""Pools move from one process to the next while calls wait: on virtual time, over a channel in memory."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from msgspec import structs

from support.memory_channel import MemoryChannel
from support.virtual_time import VirtualClock, run_virtual
from tidegate.cli.hand_over.store_hand_over import StoreHandOver
from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import ONE_REQUEST, Dimension
from tidegate.core.domain.errors import Refusal
from tidegate.core.domain.feedback import Succeeded
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.engine.admission import Admission
from tidegate.stores.memory import MemoryStore
from tidegate.stores.remote.leader import Leader
from tidegate.stores.store_state import StoreState
from tidegate.stores.switchable import SwitchableStore

ONE = Demand("p", DEFAULT_CALLER, ONE_REQUEST)
TWENTY = {"p": PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute=20, capacity=5)})}


class Process:
    """The parts of a process that matter for its pools."""

    def __init__(self, name: str, clock: VirtualClock, admitted: list[tuple[str, float]]) -> None:
        self.name = name
        self.memory = MemoryStore(clock, TWENTY)
        self.store = SwitchableStore(self.memory)
        self.admission = Admission(self.store, clock)
        self.leader = Leader(self.memory, f"{self.admission.replica}.leader")
        self.hand_over = StoreHandOver(self.store, self.memory, self.leader, self.admission.replica)
        self._clock = clock
        self._admitted = admitted

    def call(self, name: str = "") -> "asyncio.Task[None]":
        """A call that lasts for a second."""

        async def call() -> None:
            lease = await self.admission.acquire(ONE)
            self._admitted.append((name or self.name, round(self._clock.elapsed_s, 2)))
            await asyncio.sleep(1)
            await lease.end(Outcome.SETTLED, ONE_REQUEST)

        return asyncio.create_task(call())

    @property
    def in_flight(self) -> int:
        return self.memory.snapshot_now("p")[0].in_flight

    @property
    def waiting(self) -> int:
        return self.memory.snapshot_now("p")[0].waiting


def receive(old: Process, new: Process, state: StoreState) -> Callable[[], None]:
    """The new process takes everything. Returns a function that breaks the connection."""
    new.memory.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=StoreState))
    to_new, to_old = MemoryChannel(), MemoryChannel()
    session = new.leader.connect(to_old, old.hand_over.folded)
    to_new.listen(session.receive, session.lost)
    to_old.listen(old.hand_over.receive, old.hand_over.lost)
    old.hand_over.commit(to_new)

    def end() -> None:
        to_new.close()
        to_old.close()

    return end


class Machine:
    """A clock, and processes that follow each other."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.admitted: list[tuple[str, float]] = []
        self.ends: list[Callable[[], None]] = []

    def process(self, name: str) -> Process:
        return Process(name, self.clock, self.admitted)

    def first(self) -> Process:
        process = self.process("first")
        process.memory.learn_now("p", Succeeded(sent_ago_ns=0))  # it does not probe
        return process

    async def busy(self, *, calls: int) -> "tuple[Process, list[asyncio.Task[None]]]":
        """The first process, and its calls: five are in flight, the others wait."""
        process = self.first()
        tasks = [process.call() for _ in range(calls)]
        await asyncio.sleep(0.1)
        return process, tasks

    def replace(self, old: Process, name: str) -> Process:
        new = self.process(name)
        self.ends.append(receive(old, new, old.hand_over.begin()))
        return new


async def finish(*calls: "asyncio.Task[None]") -> None:
    """Waits until the calls have ended and their last step has arrived."""
    await asyncio.gather(*calls)
    await asyncio.sleep(0.01)


def run(main: Callable[[Machine], Coroutine[Any, Any, None]]) -> None:
    machine = Machine()

    async def begin() -> None:
        await main(machine)
        for end in machine.ends:
            end()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run_virtual(begin(), machine.clock)


def test_waiting_calls_keep_their_places_before_those_of_the_new_process() -> None:
    async def main(on: Machine) -> None:
        old, calls = await on.busy(calls=8)
        new = on.replace(old, "second")
        calls += [new.call() for _ in range(2)]
        await finish(*calls)
        admitted = [("first", 0.0)] * 5 + [("first", 3.0), ("first", 6.0), ("first", 9.0)]
        assert on.admitted == [*admitted, ("second", 12.0), ("second", 15.0)]
        assert (new.in_flight, new.waiting) == (0, 0)

    run(main)


def test_steps_between_the_dump_and_its_restore_are_not_lost() -> None:
    async def main(on: Machine) -> None:
        old, new = on.first(), on.process("second")
        calls = [old.call() for _ in range(6)]
        await asyncio.sleep(0.5)
        state = old.hand_over.begin()
        calls.append(old.call("late"))
        leaving = old.call("leaving")
        await asyncio.sleep(0.1)
        leaving.cancel()
        await asyncio.sleep(1)  # the first five end meanwhile
        assert on.admitted[5:] == [], "nobody admits"
        on.ends.append(receive(old, new, state))
        await finish(*calls)
        assert [name for name, _ in on.admitted] == ["first"] * 6 + ["late"]
        assert (new.in_flight, new.waiting) == (0, 0)

    run(main)


@pytest.mark.parametrize("seconds", [0.0, 10.0])
def test_after_an_abort_everything_goes_on_here(seconds: float) -> None:
    async def main(on: Machine) -> None:
        old, calls = await on.busy(calls=6)
        for _ in range(2):
            old.hand_over.begin()
            calls.append(old.call())
            await asyncio.sleep(seconds)
            old.hand_over.abort()
        old.hand_over.abort()
        calls.append(old.call())
        await finish(*calls)
        assert len(on.admitted) == 9
        assert (old.in_flight, old.waiting) == (0, 0)
        new = on.replace(old, "second")
        await finish(new.call(), old.call())
        assert (new.in_flight, new.waiting) == (0, 0)

    run(main)


def test_calls_that_wait_over_an_abort_are_admitted_without_a_further_step() -> None:
    async def main(on: Machine) -> None:
        old = on.first()
        leases = [await old.admission.acquire(ONE) for _ in range(5)]
        waiting = old.call()
        await asyncio.sleep(0.5)
        old.hand_over.begin()
        await asyncio.sleep(10)
        old.hand_over.abort()
        await waiting
        assert on.admitted == [("first", 10.5)]
        assert len(leases) == 5

    run(main)


def test_a_process_hands_over_while_the_one_before_it_still_has_calls() -> None:
    async def main(on: Machine) -> None:
        first, calls = await on.busy(calls=7)
        second = on.replace(first, "second")
        calls.append(first.call())  # on a connection that it has accepted before
        await asyncio.sleep(0.1)
        calls.append(second.call())
        await asyncio.sleep(0.1)
        third = on.replace(second, "third")
        for each in (first, second, third):
            calls.append(each.call())
            await asyncio.sleep(0.1)
        await finish(*calls)
        assert [name for name, _ in on.admitted[5:]] == ["first"] * 3 + ["second", "first", "second", "third"]
        assert [at for _, at in on.admitted[5:]] == [3.0, 6.0, 9.0, 12.0, 15.0, 18.0, 21.0]
        assert (third.in_flight, third.waiting) == (0, 0)

    run(main)


def test_an_abort_serves_the_processes_before_again() -> None:
    async def main(on: Machine) -> None:
        first, calls = await on.busy(calls=7)
        second = on.replace(first, "second")
        second.hand_over.begin()
        calls.append(first.call())
        await asyncio.sleep(1.5)
        second.hand_over.abort()
        await finish(*calls)
        assert [at for _, at in on.admitted[5:]] == [3.0, 6.0, 9.0]
        assert (second.in_flight, second.waiting) == (0, 0)

    run(main)


def test_the_end_of_a_process_reaches_those_behind_it() -> None:
    async def main(on: Machine) -> None:
        first, calls = await on.busy(calls=7)
        second = on.replace(first, "second")
        third = on.replace(second, "third")
        await asyncio.sleep(0.1)
        on.ends[1]()  # between the second and the third
        results = await asyncio.gather(*calls, return_exceptions=True)
        causes = [each.cause for each in results if isinstance(each, Refusal)]
        assert causes == [Cause.STORE_UNAVAILABLE] * 2
        assert (third.in_flight, third.waiting) == (0, 0)
        assert third.leader.folded == {}

    run(main)


def test_a_process_that_is_gone_leaves_the_pools_of_the_last_one() -> None:
    async def main(on: Machine) -> None:
        first, calls = await on.busy(calls=7)
        second = on.replace(first, "second")
        third = on.replace(second, "third")
        await asyncio.sleep(0.1)
        assert (third.in_flight, third.waiting) == (5, 2)
        on.ends[0]()  # between the first and the second
        await asyncio.sleep(0.1)
        assert (third.in_flight, third.waiting) == (0, 0)
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(each, Refusal) for each in results) == 2

    run(main)


def test_a_call_that_is_settled_at_once_needs_no_end() -> None:
    async def main(on: Machine) -> None:
        old = on.first()
        new = on.replace(old, "second")
        at_once = structs.replace(ONE, settle_at_once=True)
        for _ in range(6):
            await old.admission.acquire(at_once)
        assert on.clock.elapsed_s == 3
        await asyncio.sleep(0.1)
        assert (new.in_flight, new.waiting) == (0, 0)

    run(main)
