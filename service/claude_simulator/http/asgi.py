"""The little of HTTP over ASGI that the simulator needs."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from claude_simulator.errors import ApiError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


T = TypeVar("T")


class ClientGoneError(Exception):
    """The client closed its connection before it had sent its whole request."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer: status, body and the headers that are its own.

    `cut_after_bytes` breaks the connection after that many bytes of the body; None sends all of it.
    """

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    cut_after_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has been read: its headers by lower-case name, its body, and the id that its answer carries."""

    headers: dict[str, str]
    body: bytes
    request_id: str


def error_reply(error: ApiError, request_id: str, headers: dict[str, str] | None = None) -> Reply:
    """An error as an answer, with `headers` beside its own."""
    return Reply(error.status, error.body(request_id), {**(headers or {}), **error.headers()})


def request_headers(scope: "Scope") -> dict[str, str]:
    """The request's headers by lower-case name. Of a repeated header the last one counts."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def body_chunks(receive: "Receive", headers: dict[str, str], *, limit_bytes: int) -> AsyncIterator[bytes]:
    """The request's body, piece by piece.

    Raises:
        ApiError: 413, as soon as the announced or the received size is above `limit_bytes`.
        ClientGoneError: The client left first.
    """
    too_large = ApiError(413, "request_too_large", f"Request exceeds the maximum size of {limit_bytes} bytes")
    announced = headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > limit_bytes:
        raise too_large
    seen_bytes = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = message.get("body", b"")
        seen_bytes += len(chunk)
        if seen_bytes > limit_bytes:
            raise too_large
        more = message.get("more_body", False)
        if chunk:
            yield chunk


async def send_head(send: "Send", status: int, content_type: str, headers: dict[str, str]) -> None:
    """Send status and headers."""
    pairs = {"content-type": content_type, **headers}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs.items()],
        }
    )


async def send_reply(send: "Send", reply: Reply, headers: dict[str, str]) -> None:
    """Send a whole answer with `headers` before its own ones."""
    length = {"content-length": str(len(reply.body))}
    await send_head(send, reply.status, reply.content_type, {**headers, **reply.headers, **length})
    cut = reply.cut_after_bytes is not None
    await send({"type": "http.response.body", "body": reply.body[: reply.cut_after_bytes], "more_body": cut})


async def until_disconnect(receive: "Receive", work: Coroutine[Any, Any, T]) -> T | None:
    """Do some work and return its result; cancel it at once when the client leaves, and return None."""

    async def wait_for_disconnect() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(wait_for_disconnect())
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
    finally:
        watching.cancel()
        working.cancel()
        await asyncio.wait((working, watching))
    return None if working.cancelled() else working.result()
