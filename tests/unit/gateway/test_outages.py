"""Outages: no attempt is lost, there is no retry storm, and calls that cannot wait get the true cause."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from support.asgi_client import Answer, call
from support.gateway import MESSAGE, FakeTransport, Reply, Rig, error, make_gateway, unreachable
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.events import CircuitClosed, CircuitOpened, RefusedCall
from tidegate.core.ports.transport import TransportRequest

pytestmark = pytest.mark.no_cover  # long simulations; other tests reach the same lines

DOWN = error(529, "overloaded_error")


class FailingTransport(FakeTransport):
    """Fails between two times, after 0.1 s each; responds otherwise."""

    def __init__(self, clock: VirtualClock, start: float, stop: float, failure: Reply | Exception = DOWN) -> None:
        super().__init__([Reply()], head_after_seconds=0.25)
        self.sent: list[float] = []
        self._clock, self._start, self._stop, self._failure = clock, start, stop, failure

    async def send(self, request: TransportRequest, on_begin: Callable[[], None] | None = None) -> Any:
        self.sent.append(self._clock.elapsed_s)
        self.answers = [self._failure if self._start <= self._clock.elapsed_s < self._stop else Reply()]
        return await super().send(request, on_begin)


async def ask(rig: Rig, seconds: float) -> Answer:
    headers = {"x-tidegate-timeout-seconds": f"{seconds:g}"}
    return await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, headers=headers)


@pytest.mark.parametrize("failure", [DOWN, error(500, "api_error"), unreachable()])
def test_an_outage_of_twenty_seconds_fails_no_call_that_has_a_minute(failure: Reply | Exception) -> None:
    clock = VirtualClock()
    transport = FailingTransport(clock, 10.0, 30.0, failure)
    rig = make_gateway(transport, clock)

    async def worker() -> list[int]:
        statuses = []
        while clock.elapsed_s < 40:
            statuses.append((await ask(rig, 60)).status)
        return statuses

    async def main() -> list[list[int]]:
        return await asyncio.gather(*(worker() for _ in range(8)))

    assert {status for statuses in run_virtual(main(), clock) for status in statuses} == {200}
    during = [at for at in transport.sent if 10.5 <= at < 30]
    assert len(during) <= 25, "one probe a second"
    assert max(b - a for a, b in pairwise(during)) <= 1.3
    causes = [
        (type(event).__name__, event.cause)
        for event in rig.observer.events
        if isinstance(event, CircuitOpened | CircuitClosed)
    ]
    assert causes == [("CircuitOpened", Cause.UPSTREAM_OUTAGE), ("CircuitClosed", Cause.UPSTREAM_OUTAGE)]
    assert sum(30 <= at < 35 for at in transport.sent) > 100, "full speed soon after"


def test_a_call_that_never_reached_the_upstream_gets_an_error_that_names_the_outage() -> None:
    clock = VirtualClock()
    transport = FailingTransport(clock, 0.0, 1_000.0)
    rig = make_gateway(transport, clock)

    async def main() -> list[Answer]:
        first = [asyncio.create_task(ask(rig, 20)) for _ in range(5)]
        await asyncio.sleep(15)
        late = await ask(rig, 0.001)  # too short to become a probe itself
        return [late, *await asyncio.gather(*first)]

    late, *first = run_virtual(main(), clock)
    assert {answer.status for answer in first} <= {529, 504}, "504: it was just being tried once more"
    assert all("x-tidegate-cause" not in answer.headers for answer in first), "what the upstream said tells more"
    assert (late.status, late.headers["x-tidegate-cause"]) == (529, "upstream_outage")
    assert (late.json()["error"]["type"], late.headers["x-should-retry"]) == ("overloaded_error", "true")
    assert int(late.headers["retry-after"]) >= 1
    assert rig.observer.of(RefusedCall)[0].cause is Cause.UPSTREAM_OUTAGE


def test_half_of_all_failing_by_chance_makes_no_storm_of_retries() -> None:
    clock = VirtualClock()
    transport = FakeTransport([Reply()], head_after_seconds=0.25)
    numbers = iter(range(10**6))
    send = transport.send

    async def fail_half(request: TransportRequest, on_begin: Callable[[], None] | None = None) -> Any:
        transport.answers = [DOWN if next(numbers) % 2 else Reply()]
        return await send(request, on_begin)

    transport.send = fail_half  # type: ignore[method-assign]
    rig = make_gateway(transport, clock)

    async def main() -> list[Answer]:
        return await asyncio.gather(*(arriving(number) for number in range(400)))

    async def arriving(number: int) -> Answer:
        await asyncio.sleep(number * 0.1)
        return await ask(rig, 30)

    answers = run_virtual(main(), clock)
    served = sum(answer.status == 200 for answer in answers)
    retries = len(transport.requests) - len(answers)
    assert served >= 200
    outage_probes = 3 * len(rig.observer.of(CircuitOpened))  # now and then five fail in a row
    assert retries <= 0.1 * served + 10 + clock.elapsed_s / 5 + 1 + outage_probes


class UnreachableLater(FakeTransport):
    """Fails at once until a time; from then on connecting hangs, and nothing is ever sent."""

    def __init__(self, clock: VirtualClock, silent_from: float) -> None:
        super().__init__([DOWN])
        self.tried: list[float] = []
        self._clock, self._silent_from = clock, silent_from

    async def send(self, request: TransportRequest, on_begin: Callable[[], None] | None = None) -> Any:
        self.tried.append(self._clock.elapsed_s)
        assert len(self.tried) < 1_000, "it goes round and round"
        if self._clock.elapsed_s >= self._silent_from:
            await asyncio.sleep(10**6)
        return await super().send(request, on_begin)


@pytest.mark.parametrize("silent_from", [0.0, 5.0])
@pytest.mark.parametrize("seconds", [20, 90])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/models"])
def test_a_call_whose_time_ends_while_it_is_connecting_ends_with_it(
    silent_from: float, seconds: int, path: str
) -> None:
    """This was once an endless loop: nothing had been sent, there was an outage, and no time was left to wait."""
    clock = VirtualClock()
    transport = UnreachableLater(clock, silent_from)
    rig = make_gateway(transport, clock)

    async def main() -> list[Answer]:
        headers = {"x-tidegate-timeout-seconds": str(seconds)}
        method, body = ("POST", MESSAGE) if path == "/v1/messages" else ("GET", None)
        calls = (call(rig.gateway, method, path, body=body, headers=headers) for _ in range(6))
        return await asyncio.gather(*calls)

    answers = run_virtual(main(), clock)
    assert clock.elapsed_s == pytest.approx(seconds, abs=0.01)
    assert {answer.status for answer in answers} <= {504, 529}
    assert len(transport.tried) < 60
    assert rig.in_flight() == 0


@pytest.mark.parametrize(
    ("method", "path", "headers", "seconds"),
    [
        ("GET", "/v1/models", {}, 60),
        ("GET", "/v1/models", {"x-stainless-timeout": "600"}, 60),
        ("GET", "/v1/models", {"x-stainless-timeout": "10"}, 10),
        ("GET", "/v1/models", {"x-tidegate-timeout-seconds": "200"}, 200),
        ("HEAD", "/v1/novel", {}, 60),
        ("POST", "/v1/messages/count_tokens", {"x-stainless-timeout": "600"}, 60),
        ("POST", "/v1/messages", {}, 600),
    ],
)
@pytest.mark.parametrize("failure", [DOWN, unreachable()])
def test_a_lookup_gets_the_error_of_an_outage_after_a_minute(
    method: str, path: str, headers: dict[str, str], seconds: float, failure: Reply | Exception
) -> None:
    clock = VirtualClock()
    rig = make_gateway(FailingTransport(clock, 0.0, 10_000.0, failure), clock)
    body = MESSAGE if method == "POST" else None
    answer = run_virtual(call(rig.gateway, method, path, body=body, headers=headers), clock)
    assert answer.status in {529, 502, 504}
    assert 0.9 * seconds - 2 <= clock.elapsed_s <= seconds + 0.01


def test_an_upload_may_take_longer_than_that() -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([Reply()], head_after_seconds=300), clock)
    assert run_virtual(call(rig.gateway, "POST", "/v1/files", body=b"file"), clock).status == 200
