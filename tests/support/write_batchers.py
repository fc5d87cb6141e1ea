"""A write batcher on a busy event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tidegate.http.write_batching import WriteBatcher


def _no_write() -> None:
    pass


@contextlib.asynccontextmanager
async def write_batcher_in_use(*, busy: bool) -> AsyncIterator[WriteBatcher]:
    """A write batcher. If busy, every iteration of the event loop has other writes, so that writes are batched."""
    write_batcher = WriteBatcher()

    async def keep_busy() -> None:
        while True:
            for _ in range(3):
                write_batcher.put(_no_write, 0)
            await asyncio.sleep(0)

    others = asyncio.create_task(keep_busy()) if busy else None
    try:
        yield write_batcher
    finally:
        if others is not None:
            others.cancel()
