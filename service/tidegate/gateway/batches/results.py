"""Reads the usage in the results of a batch, which no other response reports."""

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
_MAX_RESULT_BYTES: Final = 4 * 1024 * 1024
"""A Messages response is below 1 MB. A longer line is skipped, and its usage stays unknown."""
_MAX_BATCHES: Final = 10_000
"""Batches whose progress is kept. The upstream keeps results for 29 days. If there are more batches in that time and an
early one is downloaded again, it is counted twice."""
_READ_AT_ONCE_BYTES: Final = 64 * 1024
"""Takes about a millisecond to read. Then other tasks run."""


class _Message(TypedDict, total=False):
    """The members of a response that are read. Its content is skipped."""

    model: Any
    usage: Any


class _Result(TypedDict, total=False):
    message: _Message


class _Line(TypedDict, total=False):
    result: _Result


_LINE: Final = msgspec.json.Decoder(_Line).decode


class Lines:
    """Cuts a body into lines, incrementally. It buffers one line at most."""

    def __init__(self) -> None:
        self._line = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that end in these bytes. A line that is too long is returned empty."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._add(data[start:end])
            yield self.rest()
            start = end + 1
        self._add(data[start:])

    def rest(self) -> bytes:
        """The bytes since the end of the last line."""
        line, self._line = self._line, bytearray()
        return bytes(line) if len(line) <= _MAX_RESULT_BYTES else b""

    def _add(self, part: bytes) -> None:
        if len(self._line) <= _MAX_RESULT_BYTES:  # one byte too many shows that it is too long
            self._line += part[: _MAX_RESULT_BYTES + 1 - len(self._line)]


class BatchUsage:
    """Wraps the gateway. Reports the usage of batch results while they are relayed unchanged.

    Each result is reported once, however often it is downloaded, as long as the process lives. If a batch was read up
    to its tenth line, the next download is reported from the eleventh on.

    Args:
        gateway: the wrapped application.
        identify: identifies the caller of a request with these header fields; may raise `Refusal`.
        report: receives a `BatchResultsRead` for the results in each piece of a body.
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

        async def send_and_read(message: Message) -> None:
            nonlocal reading
            await send(message)  # first: the client should not wait for the accounting
            if message["type"] == "http.response.start":
                reading = self._reading(found[1], scope, message)
            elif reading is not None:
                await reading.read(message.get("body", b""), is_last=not message.get("more_body", False))

        await self._gateway(scope, receive, send_and_read)

    def is_new(self, batch: str, line: int) -> bool:
        """Whether a line of a batch's results, counted from 0, is read for the first time. Records that it was read."""
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
        except (Refusal, ValueError):  # for example a coding that was not requested
            return None
        return _Reading(self, batch, caller, decoder, self._report)


class _Reading:
    """One download of a batch's results."""

    def __init__(
        self, batch_usage: BatchUsage, batch: str, caller: Caller, decoder: Decoder, report: Callable[[Event], None]
    ) -> None:
        self._batch_usage = batch_usage
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
                for start in range(0, len(piece), _READ_AT_ONCE_BYTES):
                    self._read_lines(self._lines.feed(piece[start : start + _READ_AT_ONCE_BYTES]))
                    await asyncio.sleep(0)
        except ValueError:  # the body does not match its content-encoding
            self._decoder = None
            return
        if is_last:
            self._read_lines(iter([self._lines.rest()]))

    def _read_lines(self, lines: Iterator[bytes]) -> None:
        used = [found for line in lines if (found := self._used(line)) is not None]
        if used:
            self._report(BatchResultsRead(self._caller, tuple(used)))

    def _used(self, line: bytes) -> tuple[str, Usage] | None:
        """Model and usage of a result; None if it was read before, or failed and has none."""
        number, self._number = self._number, self._number + 1
        if not self._batch_usage.is_new(self._batch, number):
            return None
        result = json_object(line, _LINE).get("result")
        message = result.get("message") if isinstance(result, dict) else None
        usage = message.get("usage") if isinstance(message, dict) else None
        if not isinstance(message, dict) or not isinstance(usage, dict):
            return None
        model = message.get("model")
        return model if isinstance(model, str) else "", Usage.from_json(usage).possible(None)._replace(batch=True)
