"""Deadlines, which distinguish timeouts from cancellations like `asyncio.timeout`."""

import asyncio

import pytest

from support.virtual_time import VirtualClock, run_virtual
from tidegate.gateway.deadlines import Deadline, DeadlineTimers


def test_a_quick_block_is_not_canceled() -> None:
    async def quick() -> None:
        with Deadline(2.0):
            await asyncio.sleep(1.0)
        await asyncio.sleep(5.0)

    run_virtual(quick(), VirtualClock())


def test_a_slow_block_times_out_at_its_deadline() -> None:
    clock = VirtualClock()

    async def slow() -> None:
        with pytest.raises(TimeoutError), Deadline(2.0):
            await asyncio.sleep(5.0)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run_virtual(slow(), clock)
    assert clock.elapsed_s == pytest.approx(2.0)


def test_a_cancellation_at_the_deadline_stays_a_cancellation() -> None:
    async def slow() -> None:
        with Deadline(2.0):
            await asyncio.sleep(5.0)

    async def cancel() -> None:
        for after_seconds in (1.0, 2.0):
            task = asyncio.create_task(slow())
            await asyncio.sleep(after_seconds)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run_virtual(cancel(), VirtualClock())


def test_an_error_of_the_block_passes() -> None:
    async def fails() -> None:
        with Deadline(2.0):
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - nothing else is said
        run_virtual(fails(), VirtualClock())


def test_deadlines_that_share_a_timer_expire_at_their_own_times() -> None:
    clock = VirtualClock()
    late: list[tuple[float, float]] = []
    deadlines = DeadlineTimers()

    async def slow(seconds: float) -> None:
        with pytest.raises(TimeoutError), Deadline(seconds, asyncio.current_task(), deadlines):
            await asyncio.sleep(1_000.0)
        late.append((seconds, round(clock.elapsed_s, 6)))

    async def quick() -> None:
        with Deadline(60.0, asyncio.current_task(), deadlines):
            await asyncio.sleep(1.0)
        await asyncio.sleep(100.0)  # nothing happens at its deadline

    async def all_of_them() -> None:
        await asyncio.gather(quick(), *map(slow, (0.5, 1.999, 2.0, 2.25, 2.75, 60.0, 60.5)))

    run_virtual(all_of_them(), clock)
    assert late == [(seconds, seconds) for seconds, _ in late]
    assert len(late) == 7
    assert not deadlines._by_second


def test_a_block_that_ends_in_the_second_of_its_deadline_is_not_canceled() -> None:
    async def just_in_time() -> None:
        with Deadline(2.9, asyncio.current_task(), DeadlineTimers()):
            await asyncio.sleep(2.8)
        await asyncio.sleep(5.0)

    run_virtual(just_in_time(), VirtualClock())


def test_a_deadline_needs_a_task() -> None:
    with pytest.raises(RuntimeError), Deadline(1.0):
        pass
