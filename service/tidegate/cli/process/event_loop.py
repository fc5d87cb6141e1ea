"""Event loop and stop signals of a server process."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

__all__ = ["hold_reload_signals", "on_reload_signal", "on_stop_signal", "run"]

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


def hold_reload_signals() -> None:
    """Holds back SIGHUP, which would end the process, until `on_reload_signal`. It is not lost."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


@contextlib.asynccontextmanager
async def on_reload_signal(reload: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Starts `reload` at each SIGHUP while the block runs. The end of the block waits for reloads that have begun."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def start() -> None:
        task = loop.create_task(reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGHUP, start)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        hold_reload_signals()
        await asyncio.gather(*tasks)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs the main coroutine, on uvloop if it is installed."""
    new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as new_loop  # noqa: PLC0415 - not available on every platform
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main)
