"""Streaming parser of `multipart/form-data` (RFC 7578, RFC 2046): an upload need not fit into memory."""

from collections.abc import AsyncIterator, Iterator
from email.message import Message
from typing import Final

from claude_simulator.errors import invalid_request

_MAX_HEAD_BYTES: Final = 16 * 1024


class Part:
    """One form field: its name, and for a file its filename and content type."""

    def __init__(self, head: bytes) -> None:
        fields = Message()
        for line in head.decode("utf-8", "replace").split("\r\n"):
            name, _, value = line.partition(":")
            if name.strip():
                fields[name.strip()] = value.strip()
        self.name = str(fields.get_param("name", "", "content-disposition"))
        self.filename = fields.get_filename()
        self.content_type: str | None = fields["content-type"]


def boundary_of(content_type: str) -> bytes:
    """The boundary in a `content-type`.

    Raises:
        ApiError: 400, it is not `multipart/form-data` with a boundary.
    """
    header = Message()
    header["content-type"] = content_type
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        raise invalid_request(f"content-type: {content_type[:80]!r} was given; multipart/form-data is allowed")
    return boundary.encode()


async def read_form(chunks: AsyncIterator[bytes], boundary: bytes) -> AsyncIterator[tuple[Part, bytes]]:
    """Iterates over the parts, each with one or more chunks of its content; a chunk may be empty.

    Raises:
        ApiError: 400, the body is not a form with this boundary, or is incomplete.
    """
    reader = _Reader(boundary)
    async for chunk in chunks:
        for part in reader.feed(chunk):
            yield part
    if not reader.complete:
        raise invalid_request("The request body is not a valid form: it has no end")


class _Reader:
    def __init__(self, boundary: bytes) -> None:
        self.complete = False
        self._delimiter = b"\r\n--" + boundary
        self._buffer = b"\r\n"  # no line precedes the first delimiter
        self._part: Part | None = None

    def feed(self, chunk: bytes) -> Iterator[tuple[Part, bytes]]:
        if self.complete:
            return  # ignore what follows the form
        self._buffer += chunk
        while (position := self._buffer.find(self._delimiter)) >= 0:
            yield from self._emit(position)
            after = self._buffer[len(self._delimiter) :]
            if after.startswith(b"--"):
                self.complete = True
                return
            head, end, content = after.partition(b"\r\n\r\n")
            if len(head) > _MAX_HEAD_BYTES:
                raise invalid_request("The request body is not a valid form: a part's head has no end")
            if not end:
                return
            self._part, self._buffer = Part(head), content
            yield self._part, b""  # a file may be empty
        # The end of the buffer may be the start of a delimiter.
        yield from self._emit(max(0, len(self._buffer) - len(self._delimiter) + 1))

    def _emit(self, size: int) -> Iterator[tuple[Part, bytes]]:
        if self._part is not None and size:
            yield self._part, self._buffer[:size]
        self._buffer = self._buffer[size:]
