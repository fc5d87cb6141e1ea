"""Ends tasks that talk to the server."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["end_tasks", "is_inside"]

_AGAIN_SECONDS: Final = 0.05


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks until all have ended. Their errors are of no interest any more.

    One cancellation is not enough: it is lost if it comes at the same moment as a timeout within the server's client.
    If this call is cancelled, it still waits for all tasks: whoever cancels it may do so again and again.
    """
    tasks = tuple(tasks)
    is_cancelled = False
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=_AGAIN_SECONDS)
        except asyncio.CancelledError:
            is_cancelled = True
    for task in tasks:
        if not task.cancelled():
            task.exception()  # asyncio would log it otherwise
    if is_cancelled:
        raise asyncio.CancelledError


def is_inside(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the calling thread is inside this event loop."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
