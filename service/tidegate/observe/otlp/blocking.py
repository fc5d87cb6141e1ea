"""Runs what blocks, such as an exporter, beside the event loop."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable

__all__ = ["within"]

logger = logging.getLogger("tidegate.telemetry")


async def within(seconds: float, blocking: Callable[[], object]) -> None:
    """Runs a blocking function in a daemon thread and waits at most `seconds` for it.

    A thread of the loop's executor would be waited for at the end of the process, however long it takes. If the
    function fails, that is logged.
    """
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def run() -> None:
        try:
            blocking()
        except Exception:
            logger.exception("an export has failed")
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing waits any more
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="tidegate-export", daemon=True).start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await done.wait()
