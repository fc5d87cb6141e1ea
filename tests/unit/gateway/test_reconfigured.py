"""A gateway whose settings are replaced while calls are under way."""

import asyncio
from typing import Any

from msgspec.structs import replace

from support.asgi_client import Answer, call
from support.gateway import MESSAGE, FakeTransport, Reply, Rig, error, make_gateway
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.ports.transport import TransportRequest
from tidegate.gateway.relay_limits import RelayLimits
from tidegate.gateway.upstream_key import UpstreamKey

SLOW = {"sonnet-5-5": PoolSettings({Dimension.REQUESTS: LimitSettings(60, 1)})}


def configure(rig: Rig, *, key: str = "service-key", seconds: float = 600.0, **limits: Any) -> None:
    rig.gateway.configure(upstream_key=key, default_timeout_seconds=seconds, limits=RelayLimits(**limits))


def keys(transport: FakeTransport) -> list[bytes]:
    return [dict(request.headers)[b"x-api-key"] for request, _ in transport.requests]


async def post(rig: Rig) -> Answer:
    return await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, headers={"x-api-key": "mine"})


def test_calls_that_wait_and_calls_that_are_retried_use_the_new_key() -> None:
    clock = VirtualClock()
    transport = FakeTransport([error(529, "overloaded_error"), Reply()])
    rig = make_gateway(transport, clock, pools=SLOW)

    async def main() -> list[int]:
        calls = asyncio.gather(*[post(rig) for _ in range(3)])
        await asyncio.sleep(0.5)
        assert keys(transport) == [b"service-key"] * 2
        configure(rig, key="new-key")
        return [answer.status for answer in [*await calls, await post(rig)]]

    assert run_virtual(main(), clock) == [200] * 4
    assert keys(transport) == [b"service-key"] * 2 + [b"new-key"] * 3
    for request, _ in transport.requests:
        assert b"mine" not in b"".join(value for _, value in request.headers)


def test_a_key_that_stays_the_same_changes_no_request() -> None:
    key, request = UpstreamKey("a"), TransportRequest(b"GET", b"/", ((b"x-api-key", b"a"), (b"b", b"c")))
    assert key.in_request(request) is request
    key.replace("a")
    assert key.in_request(request) is request
    key.replace("é")
    replaced = key.in_request(request)
    assert dict(replaced.headers) == {b"x-api-key": "é".encode(), b"b": b"c"}
    assert key.in_request(replaced) is replaced
    key.replace("a")
    assert key.in_request(request) is request, "as it was prepared"
    assert dict(key.in_request(replaced).headers)[b"x-api-key"] == b"a"
    assert key.in_request(replace(request, headers=())).headers


def test_fewer_calls_at_a_time_end_none_and_count_those_under_way() -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([Reply()], head_after_seconds=10), clock)

    async def main() -> list[str]:
        first = asyncio.gather(*[post(rig) for _ in range(3)])
        await asyncio.sleep(1)
        configure(rig, calls=3, calls_per_caller=4)
        refused = await post(rig)
        configure(rig, calls=9, calls_per_caller=3)
        own = await post(rig)
        configure(rig, calls=9)
        more = await post(rig)
        answers = [*await first, refused, own, more]
        return [answer.headers.get("x-tidegate-cause", str(answer.status)) for answer in answers]

    assert run_virtual(main(), clock) == ["200", "200", "200", "queue_full", "caller_limit", "200"]


def test_a_new_default_timeout_is_for_calls_that_arrive_later() -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([Reply()], head_after_seconds=10), clock)

    async def main() -> list[int]:
        first = asyncio.ensure_future(post(rig))
        await asyncio.sleep(1)
        configure(rig, seconds=5)
        return [(await post(rig)).status, (await first).status]

    assert run_virtual(main(), clock) == [504, 200]
