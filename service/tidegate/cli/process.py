"""What a server process does around its servers: event loop and stop signals."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

__all__ = ["on_stop_signal", "run"]

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def on_stop_signal(action: Callable[[], None], again: Callable[[], None]) -> asyncio.Event:
    """An event that is set, after `action`, by the first SIGINT or SIGTERM; each further one calls `again`."""
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
    """Runs the process's main coroutine on the fastest event loop there is."""
    new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as new_loop  # noqa: PLC0415 - not available on every platform
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main)
