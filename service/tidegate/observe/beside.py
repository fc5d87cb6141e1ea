"""Work that goes on for as long as something else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, NoReturn

__all__ = ["beside"]


@contextlib.asynccontextmanager
async def beside(work: Coroutine[Any, Any, NoReturn]) -> AsyncIterator[None]:
    """Runs work that never ends by itself while the block runs; it has ended when the block is left."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
