"""Asyncio on a virtual clock: when every task waits for a timer, time jumps to the next one.

The idea is from trio's MockClock with autojump. Here, a selector advances the clock instead of blocking.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_THREAD_PATIENCE_S = 5
"""Real time to wait for a thread before a deadlock is assumed."""


class VirtualClock:
    """A `Clock` that is advanced explicitly. Starts far from zero, like real monotonic clocks."""

    def __init__(self, start_s: float = 1_000.0, wall_start_s: float = 1_795_000_000.0) -> None:
        self._start_ns = self._now_ns = round(start_s * 1e9)
        self._wall_start_s = wall_start_s

    def monotonic_ns(self) -> int:
        return self._now_ns

    def wall_seconds(self) -> float:
        return self._wall_start_s + self.elapsed_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since the clock was created, rounded to a microsecond so that tests can compare exactly."""
        return round((self._now_ns - self._start_ns) / 1e9, 6)

    def advance(self, seconds: float) -> None:
        self._now_ns += round(seconds * 1e9)


class _JumpingSelector(selectors.DefaultSelector):
    """Advances the clock instead of blocking; blocks only while a thread works for the loop."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self.threads_at_work = 0
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0 and len(self._fd_to_key) == 1:  # type: ignore[attr-defined]  # get_map() is slow
            return []  # only the loop's own descriptor, which wakes it: it is awake
        patience_s = _THREAD_PATIENCE_S if timeout is None or self.threads_at_work else 0
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0 if timeout == 0 else patience_s)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("deadlock: every task waits, and no timer is set")
        self._clock.advance(max(timeout, 1e-9))
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that uses the time of a clock."""

    def __init__(self, clock: VirtualClock) -> None:
        self._jumping_selector = _JumpingSelector(clock)
        super().__init__(self._jumping_selector)
        self._virtual_clock = clock
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual_clock.monotonic_ns() / 1e9

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> "asyncio.Future[T]":
        future = super().run_in_executor(executor, func, *args)
        self._jumping_selector.threads_at_work += 1
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109
        # Since Python 3.12, asyncio.Runner gives the threads 300 s, which would be virtual and end at once.
        await super().shutdown_default_executor()

    def _thread_done(self, _future: "asyncio.Future[Any]") -> None:
        self._jumping_selector.threads_at_work -= 1


def run_virtual(main: Coroutine[Any, Any, T], clock: VirtualClock) -> T:
    """Like `asyncio.run`, on the virtual clock: an hour of waiting takes milliseconds.

    Raises:
        RuntimeError: deadlock: every task waits, and no timer is set.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(clock)) as runner:
        return runner.run(main)
