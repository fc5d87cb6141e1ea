"""An outbox as it is when much is written."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tidegate.http.write_batching import WriteBatcher


def _nothing() -> None:
    pass


@contextlib.asynccontextmanager
async def outbox_in_use(*, busy: bool) -> AsyncIterator[WriteBatcher]:
    """An outbox; while it is busy, every turn of the event loop has other writes, and so gathers them."""
    outbox = WriteBatcher()

    async def keep_busy() -> None:
        while True:
            for _ in range(3):
                outbox.put(_nothing, 0)
            await asyncio.sleep(0)

    others = asyncio.create_task(keep_busy()) if busy else None
    try:
        yield outbox
    finally:
        if others is not None:
            others.cancel()
