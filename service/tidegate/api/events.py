"""Server-sent events for the progress of a generation."""

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import asdict
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tidegate.api.disconnect import ClientLeft, unless_client_leaves
from tidegate.api.problems import problem_of
from tidegate.core.domain.errors import TidegateError
from tidegate.generation.request import AttemptStarted, OnProgress, Progress, TextReceived, Validated, WaitPredicted

__all__ = ["EventStream", "ProgressFeed"]

logger = logging.getLogger(__name__)

_EVENT_NAMES: Final = {
    WaitPredicted: "queued",
    AttemptStarted: "attempt",
    TextReceived: "text",
    Validated: "validated",
}
_KEEP_ALIVE_SECONDS: Final = 15.0
"""Proxies cut connections that stay silent, often after 30 to 60 s; waiting for quota can take longer."""
_KEEP_ALIVE: Final = b": still at work\n\n"


class ProgressFeed:
    """Progress on its way to one client. A slow client gets the latest text only: memory stays bounded."""

    def __init__(self) -> None:
        self._pending: deque[Progress] = deque()
        self._changed = asyncio.Event()
        self._closed = False

    def push(self, progress: Progress) -> None:
        """Takes in progress; never blocks."""
        if isinstance(progress, TextReceived) and self._pending and isinstance(self._pending[-1], TextReceived):
            self._pending.pop()
        self._pending.append(progress)
        self._changed.set()

    def close(self) -> None:
        """No more will come."""
        self._closed = True
        self._changed.set()

    async def next(self) -> Progress | None:
        """The oldest progress that was not yet taken; None once the feed is closed and empty."""
        while not self._pending and not self._closed:
            self._changed.clear()
            await self._changed.wait()
        return self._pending.popleft() if self._pending else None


class EventStream(Response):
    """Answers with progress events, then `done` with the whole answer, or `error` with a problem document.

    The work is cancelled when the client leaves. A failure is also noted in `scope["state"]["late_problem"]`, because
    the status that went out before cannot tell of it.
    """

    media_type = "text/event-stream"

    def __init__(self, work: Callable[[OnProgress], Awaitable[dict[str, Any]]], request_id: str) -> None:
        # no-store, no buffering by proxies: an event is of use when it happens.
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._work = work
        self._request_id = request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the stream."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        with contextlib.suppress(ClientLeft):
            await unless_client_leaves(receive, self._send_events(scope, send))

    async def _send_events(self, scope: Scope, send: Send) -> None:
        async def send_chunk(chunk: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": chunk, "more_body": more})

        feed = ProgressFeed()
        work = asyncio.ensure_future(self._work(feed.push))
        work.add_done_callback(lambda _: feed.close())
        try:
            async with contextlib.aclosing(_encoded(feed)) as chunks:
                async for chunk in chunks:
                    await send_chunk(chunk)
            await send_chunk(self._last_event(work, scope), more=False)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    def _last_event(self, work: asyncio.Future[dict[str, Any]], scope: Scope) -> bytes:
        try:
            return _event("done", work.result())
        except Exception as error:
            if not isinstance(error, TidegateError):
                logger.exception("generation failed, request %s", self._request_id)
            problem = scope["state"]["late_problem"] = problem_of(error, scope["state"].get("tally"))
            problem.note_cause()
            return _event("error", problem.document(self._request_id))


async def _encoded(feed: ProgressFeed) -> AsyncGenerator[bytes, None]:
    while True:
        try:
            # Only around the wait, never around the yield: see asyncio.timeout in generators.
            async with asyncio.timeout(_KEEP_ALIVE_SECONDS):
                progress = await feed.next()
        except TimeoutError:
            yield _KEEP_ALIVE
            continue
        if progress is None:
            return
        yield _event(_EVENT_NAMES[type(progress)], asdict(progress))


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
