"""Keeps clients from giving up while their streams have not begun."""

import asyncio
import math
from typing import Final

from tidegate.core.claude.header_names import TIDEGATE_PREDICTED_WAIT_SECONDS
from tidegate.core.domain.snapshots import WaitLeft
from tidegate.gateway.call import Call
from tidegate.gateway.relay.client_response import ClientResponse

__all__ = ["KeepAlive"]

_EVERY_SECONDS: Final = 15.0
_PREDICTED: Final = TIDEGATE_PREDICTED_WAIT_SECONDS.encode()


class KeepAlive:
    """Sends comments to the client of one call from `start` to `stop`. After the first one, the status is 200.

    Comments, because every parser of event streams must skip them (HTML standard, "Server-sent events"), and because
    they count as life where it matters: Claude Code 2.1.332 drops a stream after 300 s without a byte, and one without
    a head after 360 s (measured 2026-12-01). The SDKs for Python (2.13.0) and TypeScript (1.14.0) limit only the
    silence before each byte, or before the head. nginx cuts after 60 s of silence.

    Args:
        call: the call.
        client_response: where the comments go.
        after_seconds: when the first one is sent; > 0. Further ones follow every 15 s, or as often if that is less.
    """

    __slots__ = ("_after_seconds", "_call", "_client_response", "_over", "_task", "_timer")

    def __init__(self, call: Call, client_response: ClientResponse, after_seconds: float) -> None:
        self._call = call
        self._client_response = client_response
        self._after_seconds = after_seconds
        self._over: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to measure. Almost every stream begins sooner: a timer is cheaper than a task."""
        self._timer = asyncio.get_running_loop().call_later(self._after_seconds, self._begin)

    async def stop(self) -> None:
        """Sends no more comments. None is being sent when it returns."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None and self._over is not None:
            self._over.set()
            await self._task

    def _begin(self) -> None:
        self._over = asyncio.Event()
        self._task = asyncio.create_task(self._send_comments(self._over))

    async def _send_comments(self, over: asyncio.Event) -> None:
        every_seconds = min(_EVERY_SECONDS, self._after_seconds)
        while not over.is_set():
            await self._send_comment()
            try:
                async with asyncio.timeout(every_seconds):
                    await over.wait()
            except TimeoutError:
                pass

    async def _send_comment(self) -> None:
        call = self._call
        if call.status is None and call.in_flight and call.may_be_compressed:
            return  # its head is not known yet, and must not be sent without its coding
        waiting = call.waiting
        left = None if waiting is None else await waiting.left()
        seconds = None if left is None else left.seconds
        headers = () if seconds is None else ((_PREDICTED, b"%d" % math.ceil(seconds)),)
        await self._client_response.comment(_text(left), headers)


def _text(left: WaitLeft | None) -> bytes:
    """A comment. It holds no text that a client has chosen, because that could end the comment."""
    if left is None:
        return b": waiting for the upstream\n\n"
    seconds = b"" if left.seconds is None else b", about %d s left" % math.ceil(left.seconds)
    return b": waiting: place %d of %d%b\n\n" % (left.place, left.waiting, seconds)
