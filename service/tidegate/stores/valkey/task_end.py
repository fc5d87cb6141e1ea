"""Ends tasks that talk to the server."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["end_tasks"]

_AGAIN_SECONDS: Final = 0.05


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks until all have ended. Their errors are of no interest any more.

    One cancellation is not enough: it is lost if it comes at the same moment as a timeout within the server's client.
    """
    pending = {*tasks}
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=_AGAIN_SECONDS)
        for task in done:
            if not task.cancelled():
                task.exception()  # asyncio would log it otherwise
