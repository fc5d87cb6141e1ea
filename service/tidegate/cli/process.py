"""Event loop and stop signals of a server process."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

__all__ = ["on_stop_signal", "run"]

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def on_stop_signal(action: Callable[[], None], again: Callable[[], None]) -> asyncio.Event:
    """Calls `action` on the first SIGINT or SIGTERM and then sets the event. Further signals call `again`."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if stopped.is_set():
            again()
            return
        action()
        stopped.set()

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    return stopped


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs the main coroutine, on uvloop if it is installed."""
    new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as new_loop  # noqa: PLC0415 - not available on every platform
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main)
