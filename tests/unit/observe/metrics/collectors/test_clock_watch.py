"""A step of a clock, or a suspended machine, is reported once."""

import asyncio
import contextlib

import pytest

from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.events import Anomaly, Event
from tidegate.observe.metrics.collectors.clock_watch import watch_clock


class SteppingClock(VirtualClock):
    """A virtual clock whose wall clock can be set."""

    def __init__(self) -> None:
        super().__init__()
        self.offset_seconds = 0.0

    def wall_seconds(self) -> float:
        return super().wall_seconds() + self.offset_seconds


@pytest.mark.parametrize(
    ("steps_seconds", "reports"),
    [((), 0), ((1.9,), 0), ((-1.9,), 0), ((2.1,), 1), ((-2.1,), 1), ((3_600.0, -3_600.0), 2)],
)
def test_each_step_of_more_than_two_seconds_is_reported_once(steps_seconds: tuple[float, ...], reports: int) -> None:
    clock, events = SteppingClock(), list[Event]()

    async def main() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(300), asyncio.TaskGroup() as tasks:
                tasks.create_task(watch_clock(clock, events.append))
                for seconds in steps_seconds:
                    await asyncio.sleep(100)
                    clock.offset_seconds += seconds

    run_virtual(main(), clock)
    assert events == [Anomaly("", AnomalyKind.CLOCK)] * reports
