"""Reads along in the results of a batch, which alone say what it has used."""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Final, TypedDict

import msgspec

from tidegate.core.domain.caller import Caller
from tidegate.core.domain.errors import Refusal
from tidegate.core.domain.events import BatchResultsRead, Event
from tidegate.core.domain.usage import Usage
from tidegate.core.ports.transport import Fields
from tidegate.gateway.relay.json_reading import json_object
from tidegate.http.asgi import App, Message, Receive, Send
from tidegate.http.content_coding import Decoder, content_codings

__all__ = ["BatchUsage", "Lines"]

_RESULTS: Final = re.compile(r"/v1/messages/batches/([\w-]{1,200})/results")
_MAX_LINE_BYTES: Final = 4 * 1024 * 1024
"""A Messages answer is below 1 MB; a longer line is passed over, and its usage stays unknown."""
_MAX_BATCHES: Final = 10_000
"""Batches that are remembered. Results are kept for 29 days upstream; who has more of them in that time than this, and
downloads the first again, is told their cost twice."""
_SLICE_BYTES: Final = 64 * 1024
"""So much is read in about a millisecond; then others get their turn."""


class _Message(TypedDict, total=False):
    """What is read of an answer; its content is passed over."""

    model: Any
    usage: Any


class _Result(TypedDict, total=False):
    message: _Message


class _Line(TypedDict, total=False):
    result: _Result


_LINE: Final = msgspec.json.Decoder(_Line).decode


class Lines:
    """Cuts a body into lines as it comes; holds one line at most."""

    def __init__(self) -> None:
        self._line = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that end in these bytes; one that is too long is empty."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._add(data[start:end])
            yield self.rest()
            start = end + 1
        self._add(data[start:])

    def rest(self) -> bytes:
        """What has come since the last line ended."""
        line, self._line = self._line, bytearray()
        return bytes(line) if len(line) <= _MAX_LINE_BYTES else b""

    def _add(self, part: bytes) -> None:
        if len(self._line) <= _MAX_LINE_BYTES:  # one byte too many is enough to know
            self._line += part[: _MAX_LINE_BYTES + 1 - len(self._line)]


class BatchUsage:
    """Wraps the gateway: what the results of batches say that they used is reported while they pass, unchanged.

    Each result is reported once, however often it is downloaded: of a batch that has been read to its tenth line, a
    further download counts from the eleventh on. That is known for as long as the process lives.

    Args:
        gateway: answers the calls.
        identify: names the caller of a request with these header fields; may raise `Refusal`.
        report: hears a `BatchResultsRead` for the results that came in one piece.
    """

    def __init__(self, gateway: App, identify: Callable[[Fields], Caller], report: Callable[[Event], None]) -> None:
        self._gateway = gateway
        self._identify = identify
        self._report = report
        self._lines_read: OrderedDict[str, int] = OrderedDict()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serves one HTTP call."""
        found = _RESULTS.fullmatch(scope["path"])
        if found is None or scope["method"] != "GET":
            await self._gateway(scope, receive, send)
            return
        reading: _Reading | None = None

        async def read_along(message: Message) -> None:
            nonlocal reading
            await send(message)  # first: nobody waits for the books
            if message["type"] == "http.response.start":
                reading = self._reading(found[1], scope, message)
            elif reading is not None:
                await reading.read(message.get("body", b""), is_last=not message.get("more_body", False))

        await self._gateway(scope, receive, read_along)

    def is_new(self, batch: str, line: int) -> bool:
        """Whether a line, from 0, of a batch's results is read for the first time; from then on it is not."""
        lines = self._lines_read.get(batch, 0)
        if line < lines:
            return False
        self._lines_read[batch] = line + 1
        self._lines_read.move_to_end(batch)
        if len(self._lines_read) > _MAX_BATCHES:
            self._lines_read.popitem(last=False)
        return True

    def _reading(self, batch: str, scope: Message, start: Message) -> "_Reading | None":
        if start["status"] != 200:
            return None
        try:
            caller = self._identify(dict(scope["headers"]))
            decoder = Decoder(content_codings(start["headers"]))
        except (Refusal, ValueError):  # in a coding that cannot be read here, which the client has not asked for
            return None
        return _Reading(self, batch, caller, decoder, self._report)


class _Reading:
    """One download of a batch's results."""

    def __init__(
        self, books: BatchUsage, batch: str, caller: Caller, decoder: Decoder, report: Callable[[Event], None]
    ) -> None:
        self._books = books
        self._batch = batch
        self._caller = caller
        self._decoder: Decoder | None = decoder
        self._report = report
        self._lines = Lines()
        self._number = 0

    async def read(self, data: bytes, *, is_last: bool) -> None:
        """Reads the next bytes of the body."""
        if self._decoder is None:
            return
        try:
            for piece in self._decoder.feed(data):
                for start in range(0, len(piece), _SLICE_BYTES):
                    self._read_lines(self._lines.feed(piece[start : start + _SLICE_BYTES]))
                    await asyncio.sleep(0)
        except ValueError:  # not in the coding that it says
            self._decoder = None
            return
        if is_last:
            self._read_lines(iter([self._lines.rest()]))

    def _read_lines(self, lines: Iterator[bytes]) -> None:
        used = [found for line in lines if (found := self._used(line)) is not None]
        if used:
            self._report(BatchResultsRead(self._caller, tuple(used)))

    def _used(self, line: bytes) -> tuple[str, Usage] | None:
        """Model and usage of a result, unless it was read before or says none: only what succeeded is billed."""
        number, self._number = self._number, self._number + 1
        if not self._books.is_new(self._batch, number):
            return None
        result = json_object(line, _LINE).get("result")
        message = result.get("message") if isinstance(result, dict) else None
        usage = message.get("usage") if isinstance(message, dict) else None
        if not isinstance(message, dict) or not isinstance(usage, dict):
            return None
        model = message.get("model")
        return model if isinstance(model, str) else "", Usage.from_json(usage).possible(None)._replace(batch=True)
