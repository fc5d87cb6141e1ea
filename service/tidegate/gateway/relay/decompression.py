"""Compressed answers: their bytes pass as they came, and what has to be read is read from a decompressed copy."""

import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from tidegate.core.ports.transport import Headers

__all__ = ["READABLE_CODINGS", "Decoder", "content_codings", "decoded", "readable_codings"]

READABLE_CODINGS: Final = frozenset({"gzip", "x-gzip", "deflate", "identity"})
"""Content codings that can be read here (RFC 9110 section 8.4.1): those of the standard library."""

_GZIP_WBITS: Final = 16 + zlib.MAX_WBITS
_MAX_PIECE_BYTES: Final = 256 * 1024
"""A few bytes can stand for gigabytes: a copy is made in pieces of at most this size."""
_MAX_CODINGS: Final = 4
_FREE_BYTES: Final = 1024 * 1024
_MAX_RATIO: Final = 64
"""Bounds of one step, in which nobody else has a turn. Event streams are compressed to a fortieth at best."""
_MEMBER_BYTES: Final = 4 * 1024
"""Beginning another gzip member takes about as long as decompressing this much."""


class Decoder:
    """Decompresses a body incrementally: how its bytes are cut does not matter, up to a bound.

    One `feed` decompresses to at most 1 MB and 64 times the bytes that it was given, all codings together.

    Args:
        codings: as in `content-encoding`, in the order in which they were applied.

    Raises:
        ValueError: one of them cannot be read, or there are more than 4.
    """

    def __init__(self, codings: list[str]) -> None:
        if any(coding not in READABLE_CODINGS for coding in codings):
            raise ValueError(f"content-encoding: got {', '.join(codings)[:80]!r}, which cannot be read")
        if len(codings) > _MAX_CODINGS:
            raise ValueError(f"content-encoding: got {len(codings)} codings, at most {_MAX_CODINGS} are read")
        self._inflaters = [_Inflater(coding) for coding in reversed(codings) if coding != "identity"]
        self._left_bytes = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What these bytes stand for, in pieces.

        Raises:
            ValueError: they are not what the codings say, or stand for too much.
        """
        self._left_bytes = _FREE_BYTES + _MAX_RATIO * len(data)
        return self._through(0, data)

    def _through(self, number: int, data: bytes) -> Iterator[bytes]:
        if number == len(self._inflaters):
            yield data
            return
        for piece in self._inflaters[number].feed(data):
            self._left_bytes -= len(piece) or _MEMBER_BYTES
            if self._left_bytes < 0:
                raise ValueError(f"its content-encoding makes more than {_MAX_RATIO} times as many bytes of it")
            if piece:
                yield from self._through(number + 1, piece)


class _Inflater:
    """Undoes one coding."""

    def __init__(self, coding: str) -> None:
        self._first = b""
        self._is_deflate = coding == "deflate"
        self._state = None if self._is_deflate else zlib.decompressobj(_GZIP_WBITS)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What these bytes stand for, in pieces; an empty one stands for a member that begins."""
        if self._state is None:
            self._first += data
            if len(self._first) < 2:
                return
            # "deflate" is meant to have a zlib header, which some senders leave out (RFC 9110 section 8.4.1.2).
            self._state = zlib.decompressobj(zlib.MAX_WBITS if _has_zlib_header(self._first) else -zlib.MAX_WBITS)
            data = self._first
        while data:
            try:
                piece = self._state.decompress(data, _MAX_PIECE_BYTES)
            except zlib.error as error:
                raise ValueError(f"not what its content-encoding says ({error})") from None
            if piece:
                yield piece
            data = self._state.unconsumed_tail
            if self._state.eof and not self._is_deflate:
                # Members may follow one another (RFC 1952 section 2.2).
                data, self._state = self._state.unused_data, zlib.decompressobj(_GZIP_WBITS)
                yield b""


def _has_zlib_header(data: bytes) -> bool:
    """By RFC 1950 section 2.2: method 8, and a check over both bytes."""
    return data[0] & 15 == 8 and (data[0] << 8 | data[1]) % 31 == 0


def content_codings(headers: Headers) -> list[str]:
    """The codings of a body, in the order in which they were applied; empty for one that is as it is."""
    return _members(value for name, value in headers if name == b"content-encoding")


def decoded(headers: Headers, body: bytes, max_bytes: int) -> bytes:
    """A whole body without its codings; as it is where they cannot be read, and at most `max_bytes` of it."""
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


@lru_cache(maxsize=256)  # a program sends the same with each of its calls
def readable_codings(accept_encoding: tuple[bytes, ...]) -> bytes:
    """An `accept-encoding` without what cannot be read here, for fields that a client sent.

    What is left keeps its weight. Nothing left, or no field at all, is `identity`: otherwise any coding would be
    allowed (RFC 9110 section 12.5.3).
    """
    kept = [member for member in _members(accept_encoding) if _is_readable(member)]
    return ", ".join(kept).encode("latin-1") or b"identity"


def _is_readable(member: str) -> bool:
    name, _, weight = member.partition(";")
    # "*" stands for codings that are not listed: it passes only where it forbids them.
    return name.strip() in READABLE_CODINGS or (name.strip() == "*" and weight.strip() in {"q=0", "q=0.0", "q=0.00"})


def _members(values: Iterable[bytes]) -> list[str]:
    listed = (member.strip().lower() for value in values for member in value.decode("latin-1").split(","))
    return [member for member in listed if member]
