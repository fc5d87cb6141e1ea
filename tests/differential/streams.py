"""Byte streams: recorded, mutated, and generated."""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Final

from hypothesis import strategies as st

RECORDINGS: Final = Path(__file__).parent / "recordings"

_STATUS_LINE: Final = re.compile(rb"(?=HTTP/1\.1 [2-5]\d\d )")
_TOKENS: Final = [
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"\x7f",
        b"\xff",
        b"\xc3\xa9",
        b"0",
        b"-1",
        b"+5",
        b"0x5",
    ),
    *(
        b"\r\n\r\n",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"5;a=b\r\nhello\r\n",
        b"000\r\n\r\n",
        b"0\r\nx-trailer: 1\r\n\r\n",
    ),
    *(b"content-length: 5\r\n", b"Content-Length: 0\r\n", b"content-length: 5, 5\r\n", b"content-length: 05\r\n"),
    *(b"transfer-encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"transfer-encoding: identity\r\n"),
    *(b"connection: close\r\n", b"Connection: keep-alive\r\n", b"connection: upgrade\r\nupgrade: h2c\r\n"),
    *(
        b"host: b\r\n",
        b"expect: 100-continue\r\n",
        b"x: a\r\n b\r\n",
        b"x:\r\n",
        b"x : y\r\n",
        b": y\r\n",
        b"HTTP/1.0",
        b"HTTP/2.0",
    ),
    *(
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"FFFFFFFFFFFFFFFFF\r\n",
    ),
]
"""Tokens with a meaning to parsers, or known from attacks."""


def recordings(kind: str) -> list[bytes]:
    """Recorded `requests`, by connection, or `answers`, one by one."""
    streams = [file.read_bytes() for file in sorted((RECORDINGS / kind).glob("*.http"))]
    if kind == "requests":
        return streams
    answers = (answer for stream in streams for answer in _STATUS_LINE.split(stream))
    return sorted({answer for answer in answers if answer.startswith(b"HTTP/1.1 ")})


@dataclass(frozen=True)
class Stream:
    """Bytes, and the positions at which they are split into reads."""

    data: bytes
    cuts: tuple[int, ...] = ()

    def pieces(self) -> list[bytes]:
        edges = sorted({0, len(self.data), *(cut for cut in self.cuts if cut < len(self.data))})
        return [self.data[start:end] for start, end in pairwise(edges)]


def mutated(sources: list[bytes], random: Random) -> Stream:
    """One recording or two in a row, mutated in a few places, and split at random."""
    data = random.choice(sources)
    if random.random() < 0.3:
        data += random.choice(sources)
    for _ in range(random.randrange(4)):
        data = _changed(data, random)
    return Stream(data, tuple(random.randrange(len(data) + 1) for _ in range(random.choice((0, 0, 1, 2, 5)))))


def _changed(data: bytes, random: Random) -> bytes:
    head = data.find(b"\r\n\r\n") + 4
    start = random.randrange((head if head > 4 and random.random() < 0.7 else len(data)) + 1)
    if random.random() < 0.4:  # at the beginning of a line
        start = data.find(b"\r\n", start) + 2
    length = random.choice((1, 1, 2, 8, 40))
    match random.randrange(5):
        case 0:
            return data[:start] + random.choice(_TOKENS) + data[start:]
        case 1:
            return data[:start] + data[start + length :]
        case 2:
            return data[:start] + random.choice(_TOKENS) + data[start + length :]
        case 3:
            return data[:start] + data[start : start + length] + data[start:]
        case _:
            return data[:start] + bytes([random.randrange(256)]) + data[start + 1 :]


def _lines(*lines: bytes) -> bytes:
    return b"\r\n".join(lines) + b"\r\n"


_FIELDS: Final = st.sampled_from(
    [b"x-a: b", b"x-b:c", b"x-c:   d  ", b"x-d:", b"accept: */*", b"cookie: a=1; b=2", b"x-e: \xc3\xa9", b"X-A: again"]
)
_ODD_FIELDS: Final = st.sampled_from(
    [
        *(
            b"content-length: 3",
            b"Content-Length: 3",
            b"content-length:  3 ",
            b"content-length: 03",
            b"content-length: 3, 3",
        ),
        *(b"content-length: +3", b"content-length:", b"transfer-encoding: identity", b"transfer-encoding: xchunked"),
        *(
            b"transfer-encoding: chunked, identity",
            b"transfer-encoding: chunked, chunked",
            b"transfer-encoding: \tchunked",
        ),
        *(
            b"connection: close",
            b"connection: keep-alive, close",
            b"connection: upgrade\r\nupgrade: h2c",
            b"upgrade: h2c",
        ),
        *(
            b"expect: 100-continue",
            b"expect: 100-Continue",
            b"x: a\r\n b",
            b"x : y",
            b" x: y",
            b"x\x00: y",
            b"x: a\x00b",
            b"x: a\rb",
        ),
        *(b"host: b", b"trailer: x-t", b"te: trailers", b"x_y: z", b"\xff: y"),
    ]
)
_BODIES: Final = st.sampled_from([b"", b"abc", b"hello, world", b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"])
_EXTENSIONS: Final = st.sampled_from([b"", b"", b"", b";a", b";a=b", b' ; a="b;c"', b";", b" ", b';a="', b"\t"])


@st.composite
def _chunked(draw: st.DrawFn) -> bytes:
    """A chunked body, mostly valid."""
    body = b""
    for chunk in draw(st.lists(_BODIES.filter(bool), max_size=3)):
        size = draw(st.sampled_from([b"%x", b"%X", b"0%x"])) % len(chunk)
        body += size + draw(_EXTENSIONS) + b"\r\n" + chunk + draw(st.sampled_from([b"\r\n"] * 9 + [b"\n", b""]))
    trailers = draw(st.lists(_FIELDS, max_size=2))
    return (
        body + draw(st.sampled_from([b"0", b"0", b"000", b"0;x"])) + b"\r\n" + b"".join(map(_lines, trailers)) + b"\r\n"
    )


@st.composite
def _framed(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Fields that frame a body, and the body."""
    kind = draw(st.sampled_from(["none", "length", "chunked", "odd"]))
    body = draw(_BODIES)
    if kind == "none":
        return [], b""
    if kind == "length":
        return [b"content-length: %d" % len(body)], body
    if kind == "chunked":
        return [b"transfer-encoding: chunked"], draw(_chunked())
    return draw(st.lists(_ODD_FIELDS, min_size=1, max_size=3)), draw(
        st.sampled_from([body, b"abc", b"3\r\nabc\r\n0\r\n\r\n"])
    )


@st.composite
def request_streams(draw: st.DrawFn) -> Stream:
    """One or more requests on a connection."""
    data = b""
    for _ in range(draw(st.integers(1, 3))):
        method = draw(
            st.sampled_from(
                [b"GET", b"POST", b"POST", b"HEAD", b"DELETE", b"OPTIONS", b"PUT", b"TRACE", b"get", b"NOVEL"]
            )
        )
        target = draw(
            st.sampled_from(
                [
                    b"/v1/messages",
                    b"/v1/m?x=1&y",
                    b"/a%20b",
                    b"/%C3%A9",
                    b"//x/y",
                    b"/a#b",
                    b"*",
                    b"http://h/p?q",
                    b"x",
                    b"/?",
                ]
            )
        )
        version = draw(st.sampled_from([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2", b"http/1.1"]))
        framing, body = draw(_framed())
        fields = [b"host: a", *draw(st.lists(_FIELDS, max_size=3)), *framing]
        data += _lines(b"%b %b %b" % (method, target, version), *draw(st.permutations(fields))) + b"\r\n" + body
    return Stream(data, tuple(draw(st.lists(st.integers(0, len(data)), max_size=3))))


@st.composite
def answer_streams(draw: st.DrawFn) -> Stream:
    """A response, possibly after informational ones, possibly with trailing bytes."""
    data = b"".join(
        draw(
            st.lists(
                st.sampled_from([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"]),
                max_size=2,
            )
        )
    )
    status = draw(
        st.sampled_from(
            [
                b"200 OK",
                b"200 ",
                b"200",
                b"204 No Content",
                b"304 Not Modified",
                b"404 Not Found",
                b"599 Odd",
                b"999 Odd",
                b"099 Odd",
                b"20 Odd",
            ]
        )
    )
    framing, body = draw(_framed())
    fields = [*draw(st.lists(_FIELDS, max_size=3)), *framing]
    data += (
        _lines(
            draw(st.sampled_from([b"HTTP/1.1 ", b"HTTP/1.1 ", b"HTTP/1.0 "])) + status, *draw(st.permutations(fields))
        )
        + b"\r\n"
        + body
    )
    data += draw(st.sampled_from([b""] * 6 + [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"\r\n", b"junk"]))
    return Stream(data, tuple(draw(st.lists(st.integers(0, len(data)), max_size=3))))
