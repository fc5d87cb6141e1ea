"""Reads a request's body, and notices when the client disconnects."""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self

from tidegate.gateway.receive.request import InvalidCall
from tidegate.http.asgi import Message, Receive, ServerExchange

__all__ = ["ClientDisconnected", "ClientRequest", "too_large"]


class ClientDisconnected(Exception):
    """The client closed its connection before it had its response."""


class ClientRequest:
    """Reads a request's body. From `watch` on, it cancels its block as soon as the client disconnects.

    Used as `with ClientRequest(receive, now_ns) as request:`. If the client disconnects, the block raises
    `ClientDisconnected`. The body must be read before `watch`, because both wait for the same events.

    Args:
        receive: as in ASGI.
        now_ns: a monotonic clock.
        grace_seconds: returns for how long the block may go on after the client has disconnected.
        exchange: the server's extension `EXCHANGE`, if it has it.

    Attributes:
        waited_ns: how long `read` has waited for the client.
    """

    __slots__ = (
        "_cancelled",
        "_disconnected",
        "_exchange",
        "_grace_seconds",
        "_grace_timer",
        "_is_watching",
        "_now_ns",
        "_receive",
        "_task",
        "_watcher",
        "waited_ns",
    )

    def __init__(
        self,
        receive: Receive,
        now_ns: Callable[[], int],
        grace_seconds: Callable[[], float] | None = None,
        exchange: ServerExchange | None = None,
    ) -> None:
        self.waited_ns = 0
        self._receive = receive
        self._now_ns = now_ns
        self._grace_seconds = grace_seconds
        self._exchange = exchange
        self._task: asyncio.Task[Any] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._grace_timer: asyncio.TimerHandle | None = None
        self._is_watching = False
        self._disconnected = False
        self._cancelled = False

    @property
    def task(self) -> asyncio.Task[Any] | None:
        """The task that runs the block."""
        return self._task

    async def chunks(self, max_bytes: int) -> AsyncIterator[bytes]:
        """The body as it arrives. At its end, `watch` is called.

        Raises:
            InvalidCall: 413, the body is longer than `max_bytes`.
            ClientDisconnected: the client disconnected before the end.
        """
        left_bytes = max_bytes
        more = True
        while more:
            chunk, more = _part(await self._receive())
            left_bytes -= len(chunk)
            if left_bytes < 0:
                raise too_large(max_bytes)
            if chunk:
                yield chunk
        self.watch()

    def whole(self, max_bytes: int, add_body_bytes: Callable[[int], None]) -> bytes | None:
        """The whole body, if all of it has arrived, else None; raises as `read`."""
        body = None if self._exchange is None else self._exchange.whole_body()
        if body is not None:
            if len(body) > max_bytes:
                raise too_large(max_bytes)
            add_body_bytes(len(body))
            self.watch()
        return body

    async def read(self, max_bytes: int, add_body_bytes: Callable[[int], None]) -> bytes:
        """The whole body; raises as `chunks`, and as `add_body_bytes`, which gets the length of each piece."""
        body, more = b"", True
        chunks = []
        left_bytes = max_bytes
        while more:
            asked_ns = self._now_ns()
            message = await self._receive()
            self.waited_ns += self._now_ns() - asked_ns
            body, more = _part(message)
            left_bytes -= len(body)
            if left_bytes < 0:
                raise too_large(max_bytes)
            add_body_bytes(len(body))
            chunks.append(body)
        self.watch()
        return body if len(chunks) == 1 else b"".join(chunks)

    def watch(self) -> None:
        """Begins to wait for the client to disconnect."""
        self._is_watching = True
        if self._exchange is None:
            self._watcher = asyncio.create_task(self._wait_for_disconnect())
        else:
            self._exchange.on_disconnect(self._on_disconnect)

    def unwatch(self) -> None:
        """Ends `watch`: the client has its response, and may disconnect."""
        self._is_watching = False
        if self._exchange is not None:
            self._exchange.on_disconnect(None)
        elif self._watcher is not None:
            self._watcher.cancel()

    def __enter__(self) -> Self:
        task = None if self._exchange is None else self._exchange.task
        self._task = task or asyncio.current_task()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_watching:
            self.unwatch()
        if not self._disconnected:
            return
        if self._grace_timer is not None:
            self._grace_timer.cancel()
        if not self._cancelled:
            if kind is None:
                raise ClientDisconnected
            return
        # As in `asyncio.timeout`: only the cancellation made here becomes another exception.
        if self._task is not None and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise ClientDisconnected from error

    async def _wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._on_disconnect()

    def _on_disconnect(self) -> None:
        self._disconnected = True
        seconds = 0.0 if self._grace_seconds is None else self._grace_seconds()
        if seconds > 0:
            self._grace_timer = asyncio.get_running_loop().call_later(seconds, self._cancel)
        else:
            self._cancel()

    def _cancel(self) -> None:
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()


def too_large(max_bytes: int) -> InvalidCall:
    """The error for a body above the limit."""
    return InvalidCall(
        f"the body is longer than the {max_bytes} bytes that are allowed here",
        status=413,
        error_type="request_too_large",
    )


def _part(message: Message) -> tuple[bytes, bool]:
    """A part of the body, and whether more follows."""
    if message["type"] == "http.disconnect":
        raise ClientDisconnected
    return message.get("body", b""), message.get("more_body", False)
