"""As `asyncio.timeout`: time that is up is told apart from a cancellation."""

import asyncio

import pytest

from support.virtual_time import VirtualClock, run_virtual
from tidegate.gateway.patience import Patience


def test_what_is_quick_enough_is_left_alone() -> None:
    async def quick() -> None:
        with Patience(2.0):
            await asyncio.sleep(1.0)
        await asyncio.sleep(5.0)

    run_virtual(quick(), VirtualClock())


def test_time_that_is_up_is_a_timeout_at_that_time() -> None:
    clock = VirtualClock()

    async def slow() -> None:
        with pytest.raises(TimeoutError), Patience(2.0):
            await asyncio.sleep(5.0)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run_virtual(slow(), clock)
    assert clock.elapsed_s == pytest.approx(2.0)


def test_a_cancellation_stays_one_also_when_time_is_up() -> None:
    async def slow() -> None:
        with Patience(2.0):
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
        with Patience(2.0):
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - nothing else is said
        run_virtual(fails(), VirtualClock())


def test_there_is_no_patience_outside_of_a_task() -> None:
    with pytest.raises(RuntimeError), Patience(1.0):
        pass
