"""The overhead of a call: all the time that Tidegate takes, and no time that others take."""

import asyncio
import json
from typing import Any

import pytest

from support.asgi_client import call
from support.gateway import MESSAGE, FakeTransport, Reply, Rig, error, make_gateway, sse
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.events import RequestFinished
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.ports.transport import Fields
from tidegate.identity.identify import Identifier

MS_NS = 1_000_000
_BODY = json.dumps(MESSAGE).encode()
ONE_A_SECOND = {"sonnet-5-5": PoolSettings(limits={Dimension.REQUESTS: LimitSettings(60, 1)})}


class Slow(Identifier):
    """Takes 3 ms of CPU time."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def identify(self, fields: Fields) -> Caller:
        self._clock.advance(0.003)
        return super().identify(fields)


def overheads(rig: Rig) -> list[int | None]:
    return [event.overhead_ns for event in rig.observer.of(RequestFinished)]


def measured(*answers: Reply | Exception, calls: int = 1, **options: Any) -> list[int | None]:
    """The overhead of calls one after another, with an upstream that takes 2 s for the head of a response."""
    clock = VirtualClock()
    transport = FakeTransport(answers, head_after_seconds=2.0)
    rig = make_gateway(transport, clock, identifier=Slow(clock), **options)

    async def run() -> None:
        for _ in range(calls):
            await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE)

    run_virtual(run(), clock)
    return overheads(rig)


def test_work_counts_and_waiting_for_the_upstream_does_not() -> None:
    assert measured(Reply()) == [3 * MS_NS]


def test_waiting_for_quota_does_not_count() -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([Reply()]), clock, identifier=Slow(clock), pools=ONE_A_SECOND)

    async def run() -> None:
        await asyncio.gather(*(call(rig.gateway, "POST", "/v1/messages", body=MESSAGE) for _ in range(3)))

    run_virtual(run(), clock)
    assert clock.elapsed_s > 1.9
    assert overheads(rig) == [pytest.approx(3 * MS_NS, abs=10 * MS_NS)] * 3


@pytest.mark.parametrize("answers", [[error(529, "overloaded_error"), Reply()], [error(404, "not_found_error")]])
def test_only_answers_at_the_first_attempt_are_measured(answers: list[Reply]) -> None:
    assert measured(*answers) == [None]


@pytest.mark.parametrize("slow", ["client", "reader"])
def test_waiting_for_the_client_does_not_count(slow: str) -> None:
    clock = VirtualClock()
    chunks = [b"event: content_block_delta\ndata: {}\n\n"] * 3
    rig = make_gateway(FakeTransport([sse(*chunks)]), clock, identifier=Slow(clock))
    parts = [
        {"type": "http.request", "body": _BODY[:9], "more_body": True},
        {"type": "http.request", "body": _BODY[9:]},
    ]

    async def receive() -> Any:
        await asyncio.sleep(1.0 if slow == "client" else 0.0)
        return parts.pop(0) if parts else await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and message["body"]:
            await asyncio.sleep(1.0 if slow == "reader" else 0.0)

    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "query_string": b"", "headers": []}
    run_virtual(rig.gateway(scope, receive, send), clock)
    assert clock.elapsed_s > 1.9
    assert overheads(rig) == [3 * MS_NS]
