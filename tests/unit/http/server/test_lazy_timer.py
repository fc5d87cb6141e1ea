"""A timer that is moved often calls its latest callback at its latest time."""

import asyncio
from functools import partial

from support.virtual_time import VirtualClock, run_virtual
from tidegate.http.server.lazy_timer import LazyTimer


class Run:
    """A timer, and the name and time of each callback, from the beginning of the run."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self.calls: list[tuple[str, float]] = []
        self.timer = LazyTimer(self._loop)

    def set(self, name: str, seconds: float) -> None:
        self.timer.set(partial(self._note, name), seconds)

    def _note(self, name: str) -> None:
        self.calls.append((name, round(self._loop.time() - self._started, 6)))


def test_a_later_time_replaces_an_earlier_one() -> None:
    async def main() -> None:
        run = Run()
        run.set("first", 1.0)
        run.set("second", 3.0)
        await asyncio.sleep(10.0)
        assert run.calls == [("second", 3.0)]
        assert run.timer.callback is None

    run_virtual(main(), VirtualClock())


def test_an_earlier_time_replaces_a_later_one() -> None:
    async def main() -> None:
        run = Run()
        run.set("first", 5.0)
        run.set("second", 2.0)
        await asyncio.sleep(10.0)
        assert run.calls == [("second", 2.0)]

    run_virtual(main(), VirtualClock())


def test_a_timer_can_be_set_again_after_its_callback_was_removed() -> None:
    async def main() -> None:
        run = Run()
        run.set("first", 1.0)
        run.timer.callback = None
        await asyncio.sleep(2.0)
        run.set("second", 1.0)
        await asyncio.sleep(2.0)
        assert run.calls == [("second", 3.0)]

    run_virtual(main(), VirtualClock())


def test_a_closed_timer_calls_nothing() -> None:
    async def main() -> None:
        run = Run()
        run.set("first", 1.0)
        run.timer.close()
        run.timer.close()
        await asyncio.sleep(2.0)
        assert run.calls == []

    run_virtual(main(), VirtualClock())
