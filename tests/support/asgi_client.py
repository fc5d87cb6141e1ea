"""Calls an ASGI application in this process: whole responses, event streams, and clients that disconnect."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[tuple[str, Any]]:
        """Names and data of the events received so far."""
        events = []
        for block in self.body.decode().split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            if fields:
                events.append((fields["event"], json.loads(fields["data"])))
        return events


async def call(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    added: Sequence[tuple[str, str]] = (),
    peer: str = "127.0.0.1",
    leaves: asyncio.Event | None = None,
    answer: Answer | None = None,
) -> Answer:
    """Makes one call. A body other than bytes is sent as JSON. The fields in `added` may repeat others.

    The client disconnects when `leaves` is set. `answer` is filled while the response is received.
    """
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"host": "localhost:8080", **({"content-type": "application/json"} if content else {}), **(headers or {})}
    given.setdefault("content-length", str(len(content)))
    result = Answer() if answer is None else answer
    done = asyncio.Event()
    requests = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> Message:
        if requests:
            return requests.pop()
        await (leaves or done).wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            result.status = message["status"]
            result.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            result.body += message.get("body", b"")
            result.complete = not message.get("more_body", False)
            if result.complete:
                done.set()

    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode("latin-1"),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in (*given.items(), *added)],
        "client": (peer, 50_000),
        "server": ("127.0.0.1", 8080),
    }
    await app(scope, receive, send)
    return result
