"""Content codings: decompresses copies of bodies, and restricts `accept-encoding` to what can be decompressed."""

import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from tidegate.core.ports.transport import Headers

__all__ = ["READABLE_CODINGS", "Decoder", "content_codings", "decoded", "readable_codings"]

READABLE_CODINGS: Final = frozenset({"gzip", "x-gzip", "deflate", "identity"})
"""Content codings that can be decompressed (RFC 9110 section 8.4.1): those of the standard library."""

_GZIP_WBITS: Final = 16 + zlib.MAX_WBITS
_MAX_PIECE_BYTES: Final = 256 * 1024
"""A few bytes can decompress to gigabytes, so the output comes in pieces of at most this size."""
_MAX_CODINGS: Final = 4
_FREE_BYTES: Final = 1024 * 1024
_MAX_RATIO: Final = 64
"""Bounds of the output of one step, which blocks the event loop. Event streams compress at most forty to one."""
_MEMBER_BYTES: Final = 4 * 1024
"""Beginning another gzip member takes about as long as decompressing this much."""


class Decoder:
    """Decompresses a body incrementally. The output does not depend on how the body is cut, except for the bound.

    One `feed` decompresses at most 1 MB plus 64 times its input, all codings together.

    Args:
        codings: as in `content-encoding`, in the order in which they were applied.

    Raises:
        ValueError: a coding cannot be decompressed, or there are more than 4.
    """

    def __init__(self, codings: list[str]) -> None:
        if any(coding not in READABLE_CODINGS for coding in codings):
            raise ValueError(f"content-encoding: got {', '.join(codings)[:80]!r}, which cannot be decompressed")
        if len(codings) > _MAX_CODINGS:
            raise ValueError(f"content-encoding: got {len(codings)} codings, at most {_MAX_CODINGS} are allowed")
        self._inflaters = [_Inflater(coding) for coding in reversed(codings) if coding != "identity"]
        self._left_bytes = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decompresses the next bytes of the body, in pieces.

        Raises:
            ValueError: the bytes do not match the codings, or their output exceeds the bound.
        """
        self._left_bytes = _FREE_BYTES + _MAX_RATIO * len(data)
        return self._decode(0, data)

    def _decode(self, number: int, data: bytes) -> Iterator[bytes]:
        if number == len(self._inflaters):
            yield data
            return
        for piece in self._inflaters[number].feed(data):
            self._left_bytes -= len(piece) or _MEMBER_BYTES
            if self._left_bytes < 0:
                raise ValueError(f"the body decompresses to more than {_MAX_RATIO} times its size")
            if piece:
                yield from self._decode(number + 1, piece)


class _Inflater:
    """Decompresses one coding."""

    def __init__(self, coding: str) -> None:
        self._first = b""
        self._is_deflate = coding == "deflate"
        self._state = None if self._is_deflate else zlib.decompressobj(_GZIP_WBITS)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decompresses the next bytes, in pieces. An empty piece means that a new gzip member begins."""
        if self._state is None:
            self._first += data
            if len(self._first) < 2:
                return
            # "deflate" should have a zlib header, but some senders omit it (RFC 9110 section 8.4.1.2).
            self._state = zlib.decompressobj(zlib.MAX_WBITS if _has_zlib_header(self._first) else -zlib.MAX_WBITS)
            data = self._first
        while data:
            try:
                piece = self._state.decompress(data, _MAX_PIECE_BYTES)
            except zlib.error as error:
                raise ValueError(f"the body does not match its content-encoding ({error})") from None
            if piece:
                yield piece
            data = self._state.unconsumed_tail
            if self._state.eof and not self._is_deflate:
                # Another member may follow (RFC 1952 section 2.2).
                data, self._state = self._state.unused_data, zlib.decompressobj(_GZIP_WBITS)
                yield b""


def _has_zlib_header(data: bytes) -> bool:
    """Whether data begins with a header by RFC 1950 section 2.2: method 8, and a checksum over both bytes."""
    return data[0] & 15 == 8 and (data[0] << 8 | data[1]) % 31 == 0


def content_codings(headers: Headers) -> list[str]:
    """The codings of a body, in the order in which they were applied; empty if it has none."""
    return _members(value for name, value in headers if name == b"content-encoding")


def decoded(headers: Headers, body: bytes, max_bytes: int) -> bytes:
    """A whole body without its codings, cut to `max_bytes`. If it cannot be decompressed, it is returned unchanged."""
    codings = content_codings(headers)
    if not codings:
        return body
    copy = b""
    try:
        for piece in Decoder(codings).feed(body):
            copy += piece
            if len(copy) > max_bytes:
                break
    except ValueError:
        return body
    return copy[:max_bytes]


@lru_cache(maxsize=256)  # a client program sends the same value with each of its calls
def readable_codings(accept_encoding: tuple[bytes, ...]) -> bytes:
    """An `accept-encoding` without the codings that cannot be decompressed here, for the values that a client sent.

    The remaining codings keep their weights. If none remains, or there was no such field, the result is `identity`:
    without the field any coding would be allowed (RFC 9110 section 12.5.3).
    """
    kept = [member for member in _members(accept_encoding) if _is_readable(member)]
    return ", ".join(kept).encode("latin-1") or b"identity"


def _is_readable(member: str) -> bool:
    name, _, weight = member.partition(";")
    # "*" means all codings that are not listed: it is kept only if it forbids them.
    return name.strip() in READABLE_CODINGS or (name.strip() == "*" and weight.strip() in {"q=0", "q=0.0", "q=0.00"})


def _members(values: Iterable[bytes]) -> list[str]:
    listed = (member.strip().lower() for value in values for member in value.decode("latin-1").split(","))
    return [member for member in listed if member]
