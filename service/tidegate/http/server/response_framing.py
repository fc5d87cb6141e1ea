"""Encodes the head of a response, and frames the parts of its body."""

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

__all__ = ["ResponseFraming", "status_line"]

_NO_BODY_STATUSES: Final = frozenset({204, 304})
_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus}


def status_line(status: int) -> bytes:
    """The first line of a response, without its end."""
    line = _STATUS_LINES.get(status)
    return b"HTTP/1.1 %d " % status if line is None else line


class ResponseFraming:
    """The framing of one response.

    Args:
        method: the method of the request.
        http_version: the version of the request.
        keep_alive: whether the connection may be used again.

    Attributes:
        keep_alive: whether the connection may be used again after this response; set by `head`.
    """

    __slots__ = ("_chunked", "_has_no_body", "_http_version", "_left_bytes", "keep_alive")

    def __init__(self, method: str, http_version: str, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self._http_version = http_version
        self._has_no_body = method == "HEAD"
        self._chunked = False
        self._left_bytes: int | None = None

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Encodes the head. It gets a `date`, and the fields for its framing, if it has none.

        Raises:
            RuntimeError: a header field has a line end in it.
        """
        fields = dict(headers)
        lines = [status_line(status), *map(b": ".join, headers)]
        if b"date" not in fields:  # relayed responses have the upstream's
            lines.append(_date_line(int(time.time())))
        self._frame(status, fields, lines)
        if b"connection" in fields:
            if b"close" in fields[b"connection"].lower():
                self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close")
        ends = len(lines) + 1
        lines += (b"", b"")
        head = b"\r\n".join(lines)
        if head.count(b"\n") != ends or head.count(b"\r") != ends:
            raise RuntimeError("a line end inside of a header field")
        return head

    def part(self, body: bytes, *, is_last: bool) -> bytes:
        """Frames a part of the body; empty if nothing is to be written.

        Raises:
            RuntimeError: the body is longer or shorter than its content-length.
        """
        if self._has_no_body:
            return b""
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return data + b"0\r\n\r\n" if is_last else data
        if self._left_bytes is not None:
            self._left_bytes -= len(body)
            if self._left_bytes < 0 or (is_last and self._left_bytes):
                raise RuntimeError("the body is longer or shorter than its content-length")
        return body

    def _frame(self, status: int, fields: dict[bytes, bytes], lines: list[bytes]) -> None:
        """Decides how the end of the body is shown to the client."""
        length = fields.get(b"content-length")
        if self._has_no_body or status in _NO_BODY_STATUSES:
            self._has_no_body = True
        elif length is not None:
            self._left_bytes = int(length)
        elif self._http_version == "1.1":
            self._chunked = True
            if b"transfer-encoding" not in fields:
                lines.append(b"transfer-encoding: chunked")
        else:  # the connection's end is the body's
            self.keep_alive = False


@lru_cache(maxsize=1)
def _date_line(unix_seconds: int) -> bytes:
    return b"date: " + formatdate(unix_seconds, usegmt=True).encode()
