"""An answer of the upstream, read so far that it is certain whether it will be relayed or the attempt has failed."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final

from tidegate.core.clock import Clock
from tidegate.core.errors import UpstreamError, UpstreamUnreachable
from tidegate.core.transport import TransportResponse
from tidegate.gateway.error_answer import upstream_error
from tidegate.gateway.reading import AnswerReader, reader_for

__all__ = ["OpenedAnswer", "open_answer"]

_MOST_ERROR_BYTES: Final = 1024 * 1024
"""Error bodies are a few hundred bytes; a longer one is treated as no answer."""


class OpenedAnswer:
    """An answer with the chunks that were read already. Must be closed.

    Attributes:
        response: the answer, for status and headers.
        reader: what has been learned from the bytes so far.
        first_token_ns: when the first content of a stream came, on the clock that was given; None for other answers.
    """

    def __init__(self, response: TransportResponse, reader: AnswerReader, now_ns: Callable[[], int]) -> None:
        self.response = response
        self.reader = reader
        self.first_token_ns: int | None = None
        self._now_ns = now_ns
        self._source = response.chunks()
        self._held: list[bytes] = []
        self._pending: asyncio.Task[bytes | None] | None = None

    @property
    def held(self) -> bytes:
        """What was read and not yet handed on."""
        return b"".join(self._held)

    async def hold(self, hold_seconds: float) -> None:
        """Reads until the first content, an error event or the end; at most `hold_seconds` beyond `message_start`."""
        loop = asyncio.get_running_loop()
        until_seconds: float | None = None
        while not self.reader.has_content and self.reader.error is None:
            if until_seconds is None and self.reader.started:
                until_seconds = loop.time() + hold_seconds
            chunk = await self._next_before(until_seconds)
            if chunk is None:
                return
            self._held.append(chunk)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The whole body, held chunks first; raises as `TransportResponse.chunks`."""
        if self._held:
            held, self._held = self.held, []
            yield held
        if self._pending is not None:
            chunk = await self._pending
            self._pending = None
            if chunk is None:
                return
            yield chunk
        async for chunk in self._source:
            self._read(chunk)
            yield chunk

    async def aclose(self) -> None:
        """Ends the exchange; the connection is closed unless the body was read to its end."""
        if self._pending is not None and not self._pending.cancel():
            self._pending.exception()  # looked at, so that asyncio does not complain: nobody is left to tell
        await self.response.aclose()

    async def _next_before(self, until_seconds: float | None) -> bytes | None:
        """The next chunk; None at the end, or when time is up: then the read goes on and `chunks` takes it over."""
        if until_seconds is None:
            return await self._next()
        self._pending = asyncio.create_task(self._next())
        await asyncio.wait({self._pending}, timeout=until_seconds - asyncio.get_running_loop().time())
        if not self._pending.done():
            return None
        pending, self._pending = self._pending, None
        return pending.result()

    async def _next(self) -> bytes | None:
        chunk = await anext(self._source, None)
        if chunk is not None:
            self._read(chunk)
        return chunk

    def _read(self, chunk: bytes) -> None:
        self.reader.feed(chunk)
        if self.first_token_ns is None and self.reader.started and self.reader.has_content:
            self.first_token_ns = self._now_ns()


async def open_answer(response: TransportResponse, route: str, *, hold_seconds: float, clock: Clock) -> OpenedAnswer:
    """Reads an answer until it can be relayed; closes it if it cannot.

    Raises:
        UpstreamError: an error status, or an error event before any content.
        UpstreamUnreachable: the connection broke before any content.
    """
    opened = OpenedAnswer(response, reader_for(route, response.headers), clock.monotonic_ns)
    try:
        await _read_on(opened, hold_seconds, clock)
    except BaseException:
        await opened.aclose()
        raise
    return opened


async def _read_on(opened: OpenedAnswer, hold_seconds: float, clock: Clock) -> None:
    response, reader = opened.response, opened.reader
    if response.status >= 400:
        raise upstream_error(response.status, response.headers, await _error_body(response), clock.wall_seconds())
    await opened.hold(hold_seconds)
    if reader.error is not None and not reader.has_content:
        raise UpstreamError(
            str(reader.error),
            status=200,
            error_type=reader.error.error_type,
            headers=response.headers,
            body=opened.held,
        )


async def _error_body(response: TransportResponse) -> bytes:
    body = b""
    async for chunk in response.chunks():
        body += chunk
        if len(body) > _MOST_ERROR_BYTES:
            raise UpstreamUnreachable(
                f"no usable answer from the upstream: an error above {_MOST_ERROR_BYTES} bytes",
                may_have_been_accepted=False,
            )
    return body
