"""The allowed differences from stock uvicorn and from aiohttp, with their reasons."""

import re
from typing import Final

from differential.clients import Got
from differential.servers import Seen, Served
from differential.streams import Stream

_UPGRADE: Final = re.compile(rb"(?im)^upgrade(?=[ \t]*:)")
_EITHER: Final = re.compile(rb"(?im)^(?:upgrade|x-grade)(?=[ \t]*:)|^(?:up?g?r?a?d?e?|x-?g?r?a?d?e?)[ \t]*\Z")
"""The field or its replacement, inside a body; possibly truncated."""
_IGNORED: Final = {b"upgrade", b"x-grade"}

STRICTER_THAN_H11: Final = {
    "Invalid method encountered": "only known methods are read",
    "Expected space after method": "only known methods are read",
    "Expected HTTP/, RTSP/ or ICE/": "only known methods are read",
    "Missing expected LF after header value": "lines end with CR LF only, not with LF",
    "Missing expected CR after header value": "lines end with CR LF only, not with LF",
    "Expected CRLF after version": "lines end with CR LF only, not with LF",
    "Expected LF after headers": "lines end with CR LF only, not with LF",
    "Expected CRLF": "lines end with CR LF only, not with LF",
    "Unexpected whitespace after header value": "no folded fields",
    "Duplicate Content-Length": "no repeated length, not even the same one",
    "Invalid character in Content-Length": "no list of lengths",
    "Content-Length can't be present with Transfer-Encoding": "not both framings",
    "Transfer-Encoding can't be present with Content-Length": "not both framings",
    "Invalid header value char": "no control characters in values",
    "Invalid characters in url": "no such characters in targets",
    "Invalid char in url path": "no such characters in targets",
    "Unexpected start char in url": "no such characters in targets",
    "Unexpected char in url schema": "no such characters in targets",
    "Invalid header field char": "no such characters in targets",
    "Invalid header token": "no invalid characters in names",
    "Request has invalid `Transfer-Encoding`": "no tab after a coding",
    "Chunk size overflow": "chunks are smaller than 2^64 bytes",
    "Missing expected CR after chunk size": "chunks are framed by CR LF",
    "Missing expected CR after chunk data": "chunks are framed by CR LF",
    "Expected LF after chunk size": "chunks are framed by CR LF",
    "Expected LF after chunk data": "chunks are framed by CR LF",
    "Invalid character in chunk size": "chunks are framed by CR LF",
    **dict.fromkeys(
        (
            "Invalid character in chunk extensions",
            "Invalid character in chunk extensions name",
            "Invalid character in chunk extensions quote value",
            "Invalid character in chunk extensions quoted value",
            "Invalid character in chunk extensions value",
            "Invalid quoted-pair in chunk extensions quoted value",
            "Missing expected CR after chunk extension name",
            "Missing expected CR after chunk extension value",
        ),
        "chunk extensions have names and closed quotes",
    ),
}
"""Errors of llhttp for input that h11 accepts."""
MORE_LENIENT_THAN_H11: Final = {
    r"Only Transfer-Encoding: chunked is supported": "codings before `chunked` are read; framing is the same",
    r"no request line received|illegal request line": "CR and LF before a request, and spaces in it, are ignored",
}
"""Errors of h11 for input that llhttp accepts."""


class Unexplained(AssertionError):
    """A difference is not listed."""


def as_stock_takes_it(stream: Stream) -> Stream:
    """The stream without `Upgrade` fields: stock uvicorn drops the bodies of such requests; we ignore the field."""
    return Stream(_UPGRADE.sub(b"x-grade", stream.data), stream.cuts)


def difference(ours: Served, theirs: Served, server: str) -> str:
    """Describe the difference between our server and another one; empty if there is none.

    Raises:
        Unexplained: The difference is not listed.
    """
    for mine, other in zip(ours.requests, theirs.requests, strict=False):
        if not _is_same(mine, other, server):
            raise Unexplained(f"another request: {mine} {other}")
    if not (ours.answers.startswith(theirs.answers) or theirs.answers.startswith(ours.answers)):
        raise Unexplained(f"other answers: {ours.answers!r} {theirs.answers!r}")
    if (ours.refused or ours.reason) and theirs.reason:  # we send no error if the connection ends anyway
        return _both_refuse(ours, theirs, server)
    if ours.refused:
        return _we_refuse(ours, theirs, server)
    if theirs.reason:
        return _they_refuse(theirs, server)
    if len(ours.requests) < len(theirs.requests) and len(ours.requests) == 17 and ours.closed:
        return "more than 16 requests at once"
    if _result(ours) != _result(theirs):
        raise Unexplained(f"another result: {_result(ours)} {_result(theirs)}")
    return ""


def _result(served: Served) -> tuple[object, ...]:
    return len(served.requests), [seen.whole for seen in served.requests], served.answers, served.closed


def _is_same(mine: Seen, other: Seen, server: str) -> bool:
    if (mine.method, _target(mine), mine.version) != (other.method, _target(other), other.version):
        return False
    if mine.whole and other.whole and _EITHER.sub(b"", mine.body) != _EITHER.sub(b"", other.body):
        return False
    own_fields, fields = _fields(mine), _fields(other)
    if server == "httptools" and (b"transfer-encoding", b"chunked") in own_fields:
        fields = fields[: len(own_fields)]  # uvicorn appends trailer fields to the headers; we drop them
    return own_fields == fields


def _fields(seen: Seen) -> list[tuple[bytes, bytes]]:
    # llhttp keeps a tab after a value, h11 does not.
    return [(name, value.strip(b" \t")) for name, value in seen.headers if name not in _IGNORED]


def _target(seen: Seen) -> bytes:
    """Path and query; h11 leaves scheme, authority and fragment in the path."""
    _, path, query = seen.target
    target = (path + b"?" + query if query else path).partition(b"#")[0]
    if not target.startswith(b"/") and b"://" in target:
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    return target


def _both_refuse(ours: Served, theirs: Served, server: str) -> str:
    if _result(ours)[:3] == _result(theirs)[:3]:
        return ""
    if len(theirs.requests) <= len(ours.requests):
        return "we answer complete requests before we refuse"
    return _we_refuse(ours, theirs, server)


def _we_refuse(ours: Served, theirs: Served, server: str) -> str:
    if _result(ours)[:3] == _result(theirs)[:3]:
        return "we refuse a head or body before it is complete"
    if theirs.requests[len(ours.requests) :] and _is_unacceptable(theirs.requests[len(ours.requests)]):
        return "a head that we refuse"
    if server == "h11" and ours.reason in STRICTER_THAN_H11:
        return STRICTER_THAN_H11[ours.reason]
    raise Unexplained(f"only we refuse: {ours.reason}")


def _they_refuse(theirs: Served, server: str) -> str:
    for words, reason in MORE_LENIENT_THAN_H11.items():
        if server == "h11" and re.match(words, theirs.reason):
            return reason
    raise Unexplained(f"only they refuse: {theirs.reason}")


def _is_unacceptable(seen: Seen) -> bool:
    hosts = sum(name == b"host" for name, _ in seen.headers)
    return seen.version not in {"1.0", "1.1"} or hosts > 1 or (not hosts and seen.version == "1.1")


def _spaced_alike(got: Got) -> list[tuple[bytes, bytes]]:
    """Fields with normalized spaces in values: folded lines may be joined differently."""
    return [(name, b" ".join(value.split())) for name, value in got.headers]


STRICTER_THAN_AIOHTTP: Final = {
    "Invalid header token": "no invalid characters in names, and no spaces after them",
    "Invalid header value char": "no control characters in values",
    "Missing expected LF after header value": "lines end with CR LF only",
    "Missing expected CR after header value": "lines end with CR LF only",
    "Missing expected CR after response line": "lines end with CR LF only",
    "Invalid response status": "lines end with CR LF only",  # so llhttp reports an LF right after the status code
    "Invalid header field char": "lines end with CR LF only",
    "Expected LF after CR": "lines end with CR LF only",
    "Unexpected space after start line": "no spaces before the first field",
    "Invalid character in chunk size": "no spaces after a chunk size",
    "Expected LF after chunk size": "chunks are framed by CR LF",
    "Expected LF after chunk data": "chunks are framed by CR LF",
    "Missing expected CR after chunk data": "chunks are framed by CR LF",
    "Missing expected LF after chunk size": "chunks are framed by CR LF",
    "Missing expected CR after chunk size": "chunks are framed by CR LF",
    "a line end without CR": "lines end with CR LF only",
    "not the status of a response": "no status below 100, and no change of protocol",
}
"""Errors of llhttp for input that aiohttp accepts: it uses the lenient parser."""
MORE_LENIENT_THAN_AIOHTTP: Final = ("Duplicate Content-Length", "Invalid character in Content-Length")
"""Errors of aiohttp for a length that is repeated with the same value."""
_PARSER_WORDS: Final = re.compile(r"not HTTP/1\.1: ([^)]*)")


def client_difference(ours: Got, theirs: Got) -> str:
    """Describe the difference between our client and aiohttp; empty if there is none.

    Raises:
        Unexplained: The difference is not listed.
    """
    if not ours.broken and any(words in theirs.reason for words in MORE_LENIENT_THAN_AIOHTTP):
        return "an equal length may be repeated"
    if ours.reusable and not theirs.reusable:
        raise Unexplained("only we would use the connection again")
    if ours.broken and not theirs.broken:
        words = _PARSER_WORDS.search(ours.reason)
        if words is not None and words[1] in STRICTER_THAN_AIOHTTP:
            return STRICTER_THAN_AIOHTTP[words[1]]
        raise Unexplained(f"only we refuse: {ours.reason}")
    if theirs.broken and not ours.broken:
        if not ours.reusable:
            return "we relay a response with trailing bytes, and close its connection"
        raise Unexplained(f"only they refuse: {theirs.reason}")
    if ours.broken:
        return ""
    if (ours.status, ours.body) != (theirs.status, theirs.body):
        raise Unexplained(f"another answer: {ours.status} {theirs.status}")
    if _spaced_alike(ours) != _spaced_alike(theirs):
        raise Unexplained(f"other fields: {set(ours.headers) ^ set(theirs.headers)}")
    return ""
