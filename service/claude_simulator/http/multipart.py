"""Reads `multipart/form-data` as it comes, so that no upload has to fit into memory. Format: RFC 7578, RFC 2046."""

from collections.abc import AsyncIterator, Iterator
from email.message import Message
from typing import Final

from claude_simulator.errors import invalid_request

_MOST_HEAD_BYTES: Final = 16 * 1024


class Part:
    """One field of a form: its name, and for a file what its client calls it."""

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
    """The boundary that a `content-type` names.

    Raises:
        ApiError: 400, it is no form with one.
    """
    header = Message()
    header["content-type"] = content_type
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        raise invalid_request(f"content-type: {content_type[:80]!r} was given; multipart/form-data is allowed")
    return boundary.encode()


async def read_form(chunks: AsyncIterator[bytes], boundary: bytes) -> AsyncIterator[tuple[Part, bytes]]:
    """Each part with its content, in as many pieces as it comes; the last piece of a part may be empty.

    Raises:
        ApiError: 400, the body is no form with this boundary, or it ends early.
    """
    reader = _Reader(boundary)
    async for chunk in chunks:
        for piece in reader.feed(chunk):
            yield piece
    if not reader.complete:
        raise invalid_request("The request body is not a valid form: it has no end")


class _Reader:
    def __init__(self, boundary: bytes) -> None:
        self.complete = False
        self._delimiter = b"\r\n--" + boundary
        self._held = b"\r\n"  # the first delimiter has no line before it
        self._part: Part | None = None

    def feed(self, chunk: bytes) -> Iterator[tuple[Part, bytes]]:
        if self.complete:
            return  # nothing that follows belongs to the form
        self._held += chunk
        while (position := self._held.find(self._delimiter)) >= 0:
            yield from self._settle(position)
            after = self._held[len(self._delimiter) :]
            if after.startswith(b"--"):
                self.complete = True
                return
            head, end, content = after.partition(b"\r\n\r\n")
            if len(head) > _MOST_HEAD_BYTES:
                raise invalid_request("The request body is not a valid form: a part's head has no end")
            if not end:
                return
            self._part, self._held = Part(head), content
            yield self._part, b""  # a file may have no content at all
        # The end of what is held may be the beginning of a delimiter.
        yield from self._settle(max(0, len(self._held) - len(self._delimiter) + 1))

    def _settle(self, size: int) -> Iterator[tuple[Part, bytes]]:
        if self._part is not None and size:
            yield self._part, self._held[:size]
        self._held = self._held[size:]
