"""Load that runs in the background of a block."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["running_until"]


@asynccontextmanager
async def running_until(over: asyncio.Event, *loads: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs loads while the block runs. At its end, sets `over` and waits until each load has ended by itself."""
    tasks = [asyncio.create_task(load) for load in loads]
    try:
        yield
        over.set()
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
