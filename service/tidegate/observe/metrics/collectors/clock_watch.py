"""Detects clock steps and suspends."""

import asyncio
from collections.abc import Callable
from typing import Final, NoReturn

from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.events import Anomaly, Event
from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.core.ports.clock import Clock

__all__ = ["watch_clock"]

_INTERVAL_SECONDS: Final = 1.0
_MAX_DRIFT_SECONDS: Final = 2.0
"""Per interval. NTP slews a clock by at most half a millisecond per second, so slewing stays far below this."""


async def watch_clock(clock: Clock, report: Callable[[Event], None]) -> NoReturn:
    """Reports an `Anomaly` each time the monotonic clock and the wall clock diverge. Runs until it is cancelled.

    The two readings do not show which clock stepped. A suspended machine looks the same, because its monotonic clock
    may stop while it sleeps.

    Args:
        clock: the machine's own clock, not one that hides steps.
        report: receives the events.
    """
    offset_seconds = _offset_seconds(clock)
    while True:
        await asyncio.sleep(_INTERVAL_SECONDS)
        previous_seconds, offset_seconds = offset_seconds, _offset_seconds(clock)
        if abs(offset_seconds - previous_seconds) > _MAX_DRIFT_SECONDS:
            report(Anomaly("", AnomalyKind.CLOCK))


def _offset_seconds(clock: Clock) -> float:
    return clock.wall_seconds() - to_seconds(clock.monotonic_ns())
