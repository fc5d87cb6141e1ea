"""Counts the turns that the event loop gives to other tasks."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

__all__ = ["turns_during"]

T = TypeVar("T")


async def turns_during(work: Awaitable[T]) -> tuple[int, T]:
    """The number of turns of another task while `work` was done, and the result of `work`."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    result = await work
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return turns, result
