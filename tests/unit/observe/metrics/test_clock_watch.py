"""A step of the clock, or a suspension, is told once."""

import asyncio

from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.events import Anomaly, Event
from tidegate.observe.metrics.clock_watch import watched_clock


class SteppingClock(VirtualClock):
    """A virtual clock whose wall clock can be set."""

    def __init__(self) -> None:
        super().__init__()
        self.set_seconds = 0.0

    def wall_seconds(self) -> float:
        return super().wall_seconds() + self.set_seconds


def test_each_step_is_told_once() -> None:
    clock, heard = SteppingClock(), list[Event]()

    async def main() -> None:
        async with watched_clock(clock, heard.append):
            await asyncio.sleep(100)
            assert heard == []
            for seconds in (3_600.0, -3_600.0):
                clock.set_seconds += seconds
                await asyncio.sleep(100)
        clock.set_seconds = 7_200
        await asyncio.sleep(100)

    run_virtual(main(), clock)
    assert heard == [Anomaly("", AnomalyKind.CLOCK)] * 2
