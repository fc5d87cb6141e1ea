"""Clients ask for five times the quota of a pool, and each gives up after a few seconds."""

import asyncio
from collections import Counter

import pytest

from support.asgi_client import call
from support.gateway import (
    ANSWER,
    CONTENT,
    MESSAGE,
    MESSAGE_DELTA,
    MESSAGE_START,
    FakeTransport,
    Reply,
    make_gateway,
    sse,
)
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings

pytestmark = pytest.mark.no_cover  # long simulations; other tests reach the same lines

ONE_PER_SECOND = PoolSettings({Dimension.REQUESTS: LimitSettings(60, 1)})
OFFERED_PER_SECOND = 5
CLIENT_SECONDS = 6
SECONDS = 40


async def statuses(transport: FakeTransport, clock: VirtualClock, *, stream: bool, slower_to: float) -> Counter[int]:
    """How many calls ended with each status after a first one. Halfway through, the upstream becomes slower."""
    rig = make_gateway(transport, clock, pools={"sonnet-5-5": ONE_PER_SECOND})
    headers = {"x-tidegate-timeout-seconds": f"{CLIENT_SECONDS}"}
    body = {**MESSAGE, "stream": stream}
    await call(rig.gateway, "POST", "/v1/messages", body=body, headers=headers)
    calls = []
    for number in range(SECONDS * OFFERED_PER_SECOND):
        if number == SECONDS * OFFERED_PER_SECOND // 2:
            transport.head_after_seconds = slower_to
        calls.append(asyncio.create_task(call(rig.gateway, "POST", "/v1/messages", body=body, headers=headers)))
        await asyncio.sleep(1 / OFFERED_PER_SECOND)
    return Counter([(await each).status for each in calls])


@pytest.mark.parametrize(
    ("stream", "slower_to"), [(False, 1.0), (True, 1.0), (False, 2.0), (True, 2.0)], ids=lambda value: f"{value}"
)
def test_admitted_calls_have_time_for_their_response(*, stream: bool, slower_to: float) -> None:
    clock = VirtualClock()
    answer = sse(MESSAGE_START, CONTENT, MESSAGE_DELTA) if stream else Reply(chunks=(ANSWER,))
    transport = FakeTransport([answer], head_after_seconds=1.0)
    found = run_virtual(statuses(transport, clock, stream=stream, slower_to=slower_to), clock)
    lost = 0 if slower_to == 1.0 else CLIENT_SECONDS + 2  # those that waited already, and until the pace is learned
    assert found[200] >= SECONDS - 1 - lost
    assert found[504] <= lost
    assert found[200] + found[504] == len(transport.requests) - 1
    assert found[429] + found[529] == SECONDS * OFFERED_PER_SECOND - found[200] - found[504]
