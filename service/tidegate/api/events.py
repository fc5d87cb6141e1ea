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

from tidegate.api.disconnect import ClientDisconnected, cancel_on_disconnect
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
"""Proxies often close connections after 30 to 60 s of silence, and a wait for quota can take longer."""
_KEEP_ALIVE: Final = b": still at work\n\n"


class ProgressFeed:
    """Queues progress for one client. Consecutive texts are merged, so that a slow client takes bounded memory."""

    def __init__(self) -> None:
        self._pending: deque[Progress] = deque()
        self._changed = asyncio.Event()
        self._closed = False

    def push(self, progress: Progress) -> None:
        """Adds progress without blocking."""
        if isinstance(progress, TextReceived) and self._pending and isinstance(self._pending[-1], TextReceived):
            self._pending.pop()
        self._pending.append(progress)
        self._changed.set()

    def close(self) -> None:
        """Ends the feed."""
        self._closed = True
        self._changed.set()

    async def next(self) -> Progress | None:
        """Removes and returns the oldest progress; None once the feed is closed and empty."""
        while not self._pending and not self._closed:
            self._changed.clear()
            await self._changed.wait()
        return self._pending.popleft() if self._pending else None


class EventStream(Response):
    """A response of progress events, then `done` with the result or `error` with a problem document.

    The work is cancelled when the client disconnects. A failure is also put into `scope["state"]["late_problem"]`,
    because the status was sent before.
    """

    media_type = "text/event-stream"

    def __init__(self, work: Callable[[OnProgress], Awaitable[dict[str, Any]]], request_id: str) -> None:
        # Neither caches nor buffering proxies may delay events.
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._work = work
        self._request_id = request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the stream."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        with contextlib.suppress(ClientDisconnected):
            await cancel_on_disconnect(receive, self._send_events(scope, send))

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
            problem.set_span_cause()
            return _event("error", problem.document(self._request_id))


async def _encoded(feed: ProgressFeed) -> AsyncGenerator[bytes, None]:
    while True:
        try:
            # The timeout must not enclose the yield: it would cancel the consumer's task.
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
