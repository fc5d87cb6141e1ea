"""Finds the objects that a response of Messages names as created: containers, and files that code has written in them.

The client reads such a file by `/v1/files/…`, and names the container in its next request.
Source: Python SDK 2.13.0, `types/container.py`, `types/*code_execution*_block.py`.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from tidegate.gateway.relay.json_reading import json_object

__all__ = ["MessageObjects"]

_NAMES: Final = (b'"file_id"', b'"container"')
_MAX_LINE_BYTES: Final = 32 * 1024 * 1024


class MessageObjects:
    """Reads a response, as one JSON value or in lines, and records the objects that it names.

    Args:
        record: records them. It is awaited before the bytes that name them are relayed.
    """

    def __init__(self, record: Callable[[list[str]], Awaitable[None]]) -> None:
        self._record = record
        self._line = bytearray()

    async def feed(self, data: bytes) -> None:
        """Reads the next bytes, before they are relayed."""
        lines, end, rest = data.rpartition(b"\n")
        if end:
            self._line += lines
            complete, self._line = bytes(self._line), bytearray()
            for line in complete.split(b"\n"):
                await self._read(line)
        self._line += rest
        if len(self._line) > _MAX_LINE_BYTES:
            self._line.clear()

    async def end(self) -> None:
        """Reads the rest, before the end is relayed."""
        line, self._line = bytes(self._line), bytearray()
        await self._read(line)

    async def _read(self, line: bytes) -> None:
        if any(name in line for name in _NAMES):
            ids = list(dict.fromkeys(_created(json_object(line.removeprefix(b"data:")))))
            if ids:
                await self._record(ids)


def _created(body: dict[str, Any]) -> Iterator[str]:
    """The ids in a message, in an event of a stream, or in a line of a batch's results."""
    result = _member(body, "result")
    for holder in (body, _member(body, "message"), _member(body, "delta"), _member(result, "message")):
        yield from _text(_member(holder, "container"), "id")
        yield from _files(holder.get("content"))
    yield from _files([body.get("content_block")])


def _files(blocks: object) -> Iterator[str]:
    """The files in the results of the API's own tools. A tool of the client may name any file: that proves nothing."""
    for block in blocks if isinstance(blocks, list) else []:
        kind = block.get("type") if isinstance(block, dict) else None
        if isinstance(kind, str) and kind.endswith("code_execution_tool_result"):
            outputs = _member(block, "content").get("content")
            for output in outputs if isinstance(outputs, list) else []:
                if isinstance(output, dict):
                    yield from _text(output, "file_id")


def _member(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def _text(body: dict[str, Any], name: str) -> Iterator[str]:
    value = body.get(name)
    if isinstance(value, str) and value:
        yield value
