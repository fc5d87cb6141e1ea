"""The memory that a waiting call, or a stream of minutes, keeps."""

import asyncio
import weakref
from collections.abc import Callable
from typing import Any

from support.asgi_client import call
from support.gateway import (
    ANSWER,
    CONTENT,
    MESSAGE,
    MESSAGE_START,
    FakeTransport,
    Reply,
    error,
    make_gateway,
    sse,
)
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.ports.transport import EncodedHeaders, TransportRequest
from tidegate.gateway.relay_limits import RelayLimits
from tidegate.http.asgi import EXCHANGE

WAITS_ALOUD = RelayLimits(comment_seconds=5)


class NotingTransport(FakeTransport):
    """Keeps a weak reference to its latest response."""

    async def send(self, request: TransportRequest, on_begin: Callable[[], None] | None = None) -> Any:
        response = await super().send(request, on_begin)
        self.latest = weakref.ref(response)
        return response


class OwnServer:
    """The extension of Tidegate's server, without middleware in front of it."""

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        self.sent: list[Any] = []

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def on_disconnect(self, leave: Callable[[], None] | None) -> None:
        pass

    def whole_body(self) -> bytes | None:
        return b'{"model": "claude-haiku-5-5", "max_tokens": 100, "messages": []}'

    def respond(self, *response: Any) -> bool:
        self.sent.append(response)
        return True


def test_a_call_that_waits_after_a_429_does_not_hold_that_answer() -> None:
    async def main() -> None:
        transport = NotingTransport([error(429, "rate_limit_error", **{"retry-after": "30"}), Reply()])
        waiting = asyncio.create_task(
            call(make_gateway(transport, clock).gateway, "POST", "/v1/messages", body=MESSAGE)
        )
        await asyncio.sleep(10)
        assert len(transport.requests) == 1
        assert transport.latest() is None
        assert (await waiting).body == ANSWER

    clock = VirtualClock()
    run_virtual(main(), clock)


def test_a_stream_under_way_holds_no_header_fields() -> None:
    async def main() -> None:
        transport = NotingTransport([sse(MESSAGE_START + CONTENT, 60.0, CONTENT)])
        calling = asyncio.create_task(
            call(make_gateway(transport, clock).gateway, "POST", "/v1/messages", body=MESSAGE)
        )
        await asyncio.sleep(30)
        response = transport.latest()
        assert response is not None
        assert (response.headers, response.fields) == ((), {})
        answer = await calling
        assert (answer.complete, answer.headers["content-type"]) == (True, "text/event-stream; charset=utf-8")

    clock = VirtualClock()
    run_virtual(main(), clock)


def test_the_request_that_is_sent_upstream_is_one_text() -> None:
    async def main() -> None:
        for limits in (RelayLimits(), WAITS_ALOUD):
            transport = FakeTransport([sse(MESSAGE_START + CONTENT)])
            rig = make_gateway(transport, clock, limits=limits)
            await call(rig.gateway, "POST", "/v1/messages", body={**MESSAGE, "stream": True})
            request, _ = transport.requests[0]
            assert type(request.headers) is EncodedHeaders
            assert dict(request.headers)[b"x-api-key"] == b"service-key"

    clock = VirtualClock()
    run_virtual(main(), clock)


def test_a_call_drops_its_header_fields_unless_other_code_may_read_them() -> None:
    async def main(*, straight: bool) -> Any:
        server = OwnServer()

        async def receive() -> Any:
            raise AssertionError

        async def between(message: Any) -> None:
            await server.send(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/messages",
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
            "extensions": {EXCHANGE: server},
        }
        rig = make_gateway(FakeTransport([Reply()]), clock)
        await rig.gateway(scope, receive, server.send if straight else between)
        assert server.sent
        return scope["headers"]

    clock = VirtualClock()
    assert run_virtual(main(straight=True), clock) == ()
    assert run_virtual(main(straight=False), clock) == [(b"host", b"localhost")]
