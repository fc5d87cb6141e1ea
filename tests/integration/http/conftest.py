import asyncio

import pytest
import uvloop

from support.transport import LOOP

QUIET, BUSY = False, True


@pytest.fixture(
    params=[(asyncio.new_event_loop, QUIET), (uvloop.new_event_loop, QUIET), (uvloop.new_event_loop, BUSY)],
    ids=["asyncio", "uvloop", "busy"],
)
def each_event_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    factory, busy = request.param
    monkeypatch.setitem(LOOP, "factory", factory)
    monkeypatch.setitem(LOOP, "busy", busy)


@pytest.fixture(params=[False, True], ids=["quiet", "busy"])
def busy_or_not(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOOP, "busy", request.param)
