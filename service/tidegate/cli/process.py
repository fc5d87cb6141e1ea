"""Event loop and stop signals of a server process."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

__all__ = ["on_stop_signal", "run"]

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def on_stop_signal(again: Callable[[], None]) -> "asyncio.Future[signal.Signals]":
    """A future of the first SIGINT or SIGTERM. Each further one calls `again`."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[signal.Signals] = loop.create_future()

    def stop(number: signal.Signals) -> None:
        if stopped.done():
            again()
        else:
            stopped.set_result(number)

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop, number)
    return stopped


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs the main coroutine, on uvloop if it is installed."""
    new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as new_loop  # noqa: PLC0415 - not available on every platform
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main)
