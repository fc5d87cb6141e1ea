"""Pings to the server of the shared log, on virtual time."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from support.virtual_time import VirtualClock, run_virtual
from tidegate.stores.valkey.server_watch import ServerWatch

LOST = 60.0
"""Seconds until the answer to a ping that gets lost."""


class Pings:
    """Stands for a log whose pings take so many seconds, one after the other."""

    def __init__(self, seconds: Iterable[float]) -> None:
        self._seconds = iter(seconds)

    async def ping(self) -> None:
        await asyncio.sleep(next(self._seconds))


@pytest.mark.parametrize(
    ("seconds", "is_up", "after_seconds"),
    [
        ((0.01,), True, 0.01),
        ((0.2, LOST), True, 0.2),
        ((LOST, 0.01), True, 0.11),
        ((LOST, LOST), False, 0.25),
    ],
    ids=["at once", "late", "one lost", "both lost"],
)
def test_the_server_is_lost_if_it_answers_no_ping_for_250_ms(
    seconds: tuple[float, ...],
    is_up: bool,  # noqa: FBT001 - a column of the table
    after_seconds: float,
) -> None:
    clock = VirtualClock()
    log: Any = Pings(seconds)
    watch = ServerWatch(log, clock, lambda _: None)
    assert run_virtual(watch.ping(), clock) is is_up
    assert clock.elapsed_s == pytest.approx(after_seconds)
