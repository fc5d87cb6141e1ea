"""Signals of a server process."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from tidegate.cli.process.event_loop import hold_reload_signals, on_reload_signal


@pytest.fixture(autouse=True)
def _no_signal_is_left() -> Iterator[None]:
    yield
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # discards one that is held back
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_a_signal_during_the_start_reloads_when_the_service_is_ready() -> None:
    async def main() -> int:
        reloads = asyncio.Queue[None]()
        async with on_reload_signal(lambda: reloads.put(None)):
            await reloads.get()
            signal.raise_signal(signal.SIGHUP)
            await reloads.get()
        signal.raise_signal(signal.SIGHUP)
        await asyncio.sleep(0.01)
        return reloads.qsize()

    hold_reload_signals()
    signal.raise_signal(signal.SIGHUP)
    assert asyncio.run(asyncio.wait_for(main(), 10)) == 0, "one that comes at the end does not end the process"


def test_the_end_waits_for_a_reload_that_has_begun() -> None:
    steps: list[str] = []

    async def main() -> None:
        begun = asyncio.Event()

        async def reload() -> None:
            begun.set()
            await asyncio.sleep(0.01)
            steps.append("ended")

        async with on_reload_signal(reload):
            signal.raise_signal(signal.SIGHUP)
            await begun.wait()

    hold_reload_signals()
    asyncio.run(asyncio.wait_for(main(), 10))
    assert steps == ["ended"]
