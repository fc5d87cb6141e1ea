"""An upstream that cannot be reached: the log, readiness and waiting calls, on virtual time."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from support.asgi_client import Answer, call
from support.gateway import MESSAGE, FakeTransport, Reply, Rig, make_gateway, unreachable
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.errors import UpstreamUnreachable
from tidegate.core.domain.events import RefusedCall
from tidegate.core.ports.transport import TransportRequest
from tidegate.gateway.attempt.reachability import OutOfReach, Reachability
from tidegate.http.client.proxy import Proxy, ProxyError
from tidegate.http.client.transport import HttpTransport

URL = "http://upstream.example"
REASON = "no such host (told)"


class Network(FakeTransport):
    """A transport that fails to connect between two times, after `seconds`."""

    def __init__(self, clock: VirtualClock, fails_from: float, fails_until: float, seconds: float = 0.0) -> None:
        super().__init__([Reply()])
        self.reachability = Reachability(URL, clock)
        self.tried: list[float] = []
        self._clock, self._from, self._until, self._seconds = clock, fails_from, fails_until, seconds

    async def check(self) -> None:
        started_ns = self._clock.monotonic_ns()
        self.tried.append(self._clock.elapsed_s)
        if self._from <= self._clock.elapsed_s < self._until:
            await asyncio.sleep(self._seconds)
            self.reachability.failed(REASON, self._clock.monotonic_ns() - started_ns)
            raise unreachable()
        self.reachability.reached()

    async def send(self, request: TransportRequest, on_begin: object = None) -> object:  # type: ignore[override]
        assert callable(on_begin)
        await self.check()
        return await super().send(request, on_begin)


@asynccontextmanager
async def watched(network: Network) -> AsyncIterator[Reachability]:
    task = asyncio.create_task(network.reachability.watch(network.check))
    await asyncio.sleep(0)
    try:
        yield network.reachability
    finally:
        task.cancel()
        await asyncio.wait({task})


def rig_on(network: Network, clock: VirtualClock) -> Rig:
    return make_gateway(network, clock, reachability=network.reachability)  # type: ignore[arg-type]


async def ask(rig: Rig, **headers: str) -> Answer:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, headers=fields)


def test_a_reachable_upstream_is_probed_once_and_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    network = Network(clock, 0, 0)

    async def main() -> None:
        async with watched(network) as reachability:
            await asyncio.sleep(1_000)
            assert reachability.problem is None

    run_virtual(main(), clock)
    assert network.tried == [0]
    assert not caplog.records


@pytest.mark.parametrize("seconds", [0.0, 3.9, 1_000.0])
def test_an_upstream_that_was_never_reached_is_reported_within_five_seconds(
    seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    clock = VirtualClock()
    network = Network(clock, 0, 10_000, seconds)

    async def main() -> str | None:
        async with watched(network) as reachability:
            await asyncio.sleep(5)
            return reachability.problem

    problem = run_virtual(main(), clock)
    reason = REASON if seconds < 4 else "no connection within 4 s"
    assert problem == f"the upstream {URL} cannot be reached: {reason}"
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(logging.WARNING, problem)]


def test_the_log_has_one_line_a_minute_and_one_for_the_end(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    network = Network(clock, 10, 140)

    async def main() -> None:
        async with watched(network) as reachability:
            await asyncio.sleep(10)
            reachability.probe_soon()  # as when a circuit opens
            await asyncio.sleep(1)
            assert reachability.problem is None, "a single failure is no news"
            await asyncio.sleep(300)
            assert reachability.problem is None

    run_virtual(main(), clock)
    assert [record.getMessage().split(URL)[1] for record in caplog.records] == [
        f" cannot be reached: {REASON}",
        f" cannot be reached, for 63 s now: {REASON} (60 failed connections since the last line)",
        f" cannot be reached, for 123 s now: {REASON} (60 failed connections since the last line)",
        " can be reached again, after 130 s",
    ]


@pytest.mark.parametrize("headers", [{}, {"x_stainless_timeout": "12"}, {"x_stainless_timeout": "600"}])
def test_calls_to_an_upstream_that_was_never_reached_are_answered_soon_and_then_at_once(
    headers: dict[str, str],
) -> None:
    clock = VirtualClock()
    network = Network(clock, 0, 10_000)
    rig = rig_on(network, clock)

    async def main() -> list[Answer]:
        async with watched(network):
            first = await asyncio.gather(*(ask(rig, **headers) for _ in range(8)))
            assert clock.elapsed_s <= 5
            tried = len(network.tried)
            first.append(await ask(rig, **headers))
            assert len(network.tried) == tried, "the probe will tell"
            return first

    for answer in run_virtual(main(), clock):
        assert (answer.status, answer.headers["x-tidegate-cause"]) == (529, "upstream_outage")
        assert (answer.headers["x-should-retry"], answer.headers["retry-after"]) == ("true", "5")
        assert answer.json()["error"]["message"] == f"the upstream cannot be reached: {REASON}"
    assert rig.in_flight() == 0
    assert [event.cause for event in rig.observer.of(RefusedCall)] == ["upstream_outage"] * 9


def test_calls_succeed_a_second_after_the_upstream_comes_up() -> None:
    clock = VirtualClock()
    network = Network(clock, 0, 20)
    rig = rig_on(network, clock)

    async def main() -> list[int]:
        async with watched(network):
            await asyncio.sleep(19)
            refused = await ask(rig)
            await asyncio.sleep(2)
            return [refused.status, (await ask(rig)).status]

    assert run_virtual(main(), clock) == [529, 200]


@pytest.mark.parametrize(
    ("headers", "status", "seconds"),
    [
        ({}, 529, 60),
        ({"x_stainless_timeout": "12"}, 504, 11.5),
        ({"x_stainless_timeout": "NOT_GIVEN", "x_stainless_read_timeout": "12"}, 504, 11.5),
        ({"x_stainless_read_timeout": "soon"}, 529, 60),
        ({"x_tidegate_timeout_seconds": "12"}, 504, 12),
        ({"x_stainless_timeout": "600"}, 200, 200),
    ],
)
def test_an_outage_of_an_upstream_that_was_reached_before_is_waited_out_as_long_as_the_client_does(
    headers: dict[str, str], status: int, seconds: float
) -> None:
    clock = VirtualClock()
    network = Network(clock, 10, 210)
    rig = rig_on(network, clock)

    async def main() -> list[Answer]:
        async with watched(network):
            await asyncio.sleep(10)
            return await asyncio.gather(*(ask(rig, **headers) for _ in range(6)))

    answers = run_virtual(main(), clock)
    assert clock.elapsed_s - 10 == pytest.approx(seconds, abs=3 if status != 504 else 0.5)
    assert {answer.status for answer in answers} <= {status, *({502, 529} if status == 504 else ())}
    assert {answer.headers.get("x-should-retry") for answer in answers} == {None if status == 200 else "true"}
    assert rig.in_flight() == 0


def test_a_call_whose_request_was_sent_is_left_alone() -> None:
    clock = VirtualClock()
    reachability = Reachability(URL, clock)

    async def main() -> float:
        sent = False
        with reachability.while_reachable(is_sent=lambda: sent):
            sent = True
            for _ in range(10):
                reachability.failed(REASON)
                await asyncio.sleep(1)
        return clock.elapsed_s

    assert run_virtual(main(), clock) == 10


def test_a_cancellation_stays_one_also_when_the_wait_ends_at_the_same_time() -> None:
    clock = VirtualClock()
    reachability = Reachability(URL, clock)

    async def wait() -> None:
        with reachability.while_reachable():
            await asyncio.sleep(1_000)

    async def main() -> None:
        for both in (False, True):
            task = asyncio.create_task(wait())
            await asyncio.sleep(1)
            reachability.failed(REASON, took_ns=10**10)
            if both:
                task.cancel()
            with pytest.raises(asyncio.CancelledError if both else OutOfReach):
                await task
            reachability.__init__(URL, clock)  # type: ignore[misc]

    run_virtual(main(), clock)


def test_an_answer_over_an_open_connection_counts_as_reached() -> None:
    clock = VirtualClock()
    reachability = Reachability(URL, clock)
    reachability.failed(REASON)
    assert (reachability.is_failing, reachability.problem) == (True, f"the upstream {URL} cannot be reached: {REASON}")
    reachability.reached()
    assert (reachability.is_failing, reachability.problem) == (False, None)


UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed")
UNTRUSTED.verify_message = "self-signed certificate"
SEVERAL = OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 111] Connect call failed")


def test_a_name_that_cannot_be_one_is_no_host() -> None:
    reachability = Reachability(URL, VirtualClock())

    async def main() -> None:
        with pytest.raises(UpstreamUnreachable, match="no such host"):
            await HttpTransport("http://upstream..example", watcher=reachability).check()

    asyncio.run(main())
    assert reachability.problem is not None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "no such host (Name or service not known)"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "DNS does not answer (Temporary failure)"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "10.0.0.1"), "Connection refused"),
        (SEVERAL, "Connection refused"),
        (OSError("odd"), "OSError"),
        (UNTRUSTED, "its certificate is not accepted (self-signed certificate)"),
        (ssl.SSLError(1, "wrong version number"), "no TLS connection (wrong version number)"),
        (ProxyError("the proxy refused with status 407"), "the proxy refused with status 407"),
    ],
)
@pytest.mark.parametrize("through_proxy", [False, True])
def test_the_reason_names_the_cause_and_no_address(error: OSError, reason: str, *, through_proxy: bool) -> None:
    clock = VirtualClock()
    reachability = Reachability(URL, clock)
    proxy = Proxy("proxy.example", 3128) if through_proxy else None
    transport = HttpTransport("https://upstream.example", proxy=proxy, watcher=reachability)

    async def fail() -> None:
        raise error

    transport._open = fail  # type: ignore[method-assign, assignment]

    async def main() -> None:
        with pytest.raises(UpstreamUnreachable):
            await transport.check()

    run_virtual(main(), clock)
    is_proxys = through_proxy and not isinstance(error, ssl.SSLError | ProxyError)
    expected = f"the proxy cannot be reached: {reason}" if is_proxys else reason
    assert reachability.problem == f"the upstream {URL} cannot be reached: {expected}"
