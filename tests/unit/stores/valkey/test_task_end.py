"""Tasks end, also if a cancellation is lost."""

import asyncio
import contextlib

from support.virtual_time import VirtualClock, run_virtual
from tidegate.stores.valkey.task_end import end_tasks


def test_a_task_that_loses_a_cancellation_is_cancelled_again() -> None:
    async def main() -> None:
        async def loses_one() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3_600)
            await asyncio.sleep(3_600)

        async def fails() -> None:
            try:
                await asyncio.sleep(3_600)
            finally:
                raise ConnectionError

        tasks = [asyncio.create_task(each()) for each in (loses_one, fails)]
        await asyncio.sleep(0)
        async with asyncio.timeout(1):
            await end_tasks(tasks)
        assert all(task.done() for task in tasks)
        await end_tasks([])

    run_virtual(main(), VirtualClock())


def test_a_task_that_is_cancelled_again_and_again_still_ends_its_own_tasks() -> None:
    async def main() -> None:
        async def part() -> None:
            for _ in range(10):  # a client that loses one cancellation after the other
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(3_600)

        async def term() -> None:
            parts = [asyncio.create_task(part())]
            try:
                await asyncio.sleep(3_600)
            finally:
                await end_tasks(parts)

        task = asyncio.create_task(term())
        await asyncio.sleep(1)
        await end_tasks([task])
        assert task.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(main(), VirtualClock())
