"""Requests and responses over ASGI."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from claude_simulator.errors import ApiError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


T = TypeVar("T")


class ClientGoneError(Exception):
    """The client disconnected before it had sent the whole request."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response. `headers` are in addition to those of every response.

    `cut_after_bytes` breaks the connection after that many bytes of the body; None sends the whole body.
    """

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    cut_after_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request with its whole body. Header names are in lower case; `request_id` is sent with the response."""

    headers: dict[str, str]
    body: bytes
    request_id: str


def json_response(value: Mapping[str, Any]) -> Response:
    """Creates a 200 with a JSON body."""
    return Response(200, json.dumps(value).encode())


def error_response(error: ApiError, request_id: str, headers: dict[str, str] | None = None) -> Response:
    """Creates the response of an error, with further headers."""
    return Response(error.status, error.body(request_id), {**(headers or {}), **error.headers()})


def request_headers(scope: "Scope") -> dict[str, str]:
    """Headers by lower-case name. The last of several equal names counts."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def body_chunks(receive: "Receive", headers: dict[str, str], *, limit_bytes: int) -> AsyncIterator[bytes]:
    """Iterates over the chunks of a request body.

    Raises:
        ApiError: 413, as soon as the declared or the received size exceeds `limit_bytes`.
        ClientGoneError: the client disconnected.
    """
    too_large = ApiError(413, "request_too_large", f"Request exceeds the maximum size of {limit_bytes} bytes")
    declared = headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > limit_bytes:
        raise too_large
    received_bytes = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = message.get("body", b"")
        received_bytes += len(chunk)
        if received_bytes > limit_bytes:
            raise too_large
        more = message.get("more_body", False)
        if chunk:
            yield chunk


async def send_head(send: "Send", status: int, content_type: str, headers: dict[str, str]) -> None:
    """Sends status and headers."""
    pairs = {"content-type": content_type, **headers}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs.items()],
        }
    )


async def send_response(send: "Send", response: Response, headers: dict[str, str]) -> None:
    """Sends a complete response; `headers` precede its own."""
    length = {"content-length": str(len(response.body))}
    await send_head(send, response.status, response.content_type, {**headers, **response.headers, **length})
    cut = response.cut_after_bytes is not None
    await send({"type": "http.response.body", "body": response.body[: response.cut_after_bytes], "more_body": cut})


async def until_disconnect(receive: "Receive", work: Coroutine[Any, Any, T]) -> T | None:
    """Awaits a coroutine and returns its result. If the client disconnects first, cancels it and returns None."""

    async def wait_for_disconnect() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    task, watcher = asyncio.ensure_future(work), asyncio.ensure_future(wait_for_disconnect())
    try:
        await asyncio.wait((task, watcher), return_when=asyncio.FIRST_COMPLETED)
    finally:
        watcher.cancel()
        task.cancel()
        await asyncio.wait((task, watcher))
    return None if task.cancelled() else task.result()
