"""Asyncio on a virtual clock: when every task waits for a timer, time jumps to it. Nothing sleeps.

The idea is trio's MockClock with autojump; here it is a selector that moves the clock instead of blocking.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualClock:
    """A `Clock` that only moves when told to. Starts far from zero, as real monotonic clocks do."""

    def __init__(self, start_s: float = 1_000.0, wall_start_s: float = 1_795_000_000.0) -> None:
        self._start_ns = self._now_ns = round(start_s * 1e9)
        self._wall_start_s = wall_start_s

    def monotonic_ns(self) -> int:
        return self._now_ns

    def wall_seconds(self) -> float:
        return self._wall_start_s + self.elapsed_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since the clock was made, rounded to a microsecond so that tests can compare exactly."""
        return round((self._now_ns - self._start_ns) / 1e9, 6)

    def advance(self, seconds: float) -> None:
        self._now_ns += round(seconds * 1e9)


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("deadlock: every task waits, and no timer is set")
        self._clock.advance(max(timeout, 1e-9))
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is the clock's."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(_JumpingSelector(clock))
        self._virtual_clock = clock
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual_clock.monotonic_ns() / 1e9


def run_virtual(main: Coroutine[Any, Any, T], clock: VirtualClock) -> T:
    """Like `asyncio.run`, on the virtual clock: an hour of waiting takes milliseconds.

    Raises:
        RuntimeError: deadlock: every task waits, and no timer is set.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(clock)) as runner:
        return runner.run(main)
