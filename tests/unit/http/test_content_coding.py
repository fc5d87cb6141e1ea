"""Compressed responses are decompressed in a copy, however their bytes are cut."""

import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.gateway import ANSWER, CONTENT, MESSAGE_DELTA, MESSAGE_START, OVERLOADED_EVENT, Reply, post, sse
from tidegate.core.domain.usage import Usage
from tidegate.http.content_coding import Decoder, content_codings, decoded, readable_codings

TEXT = b"one and two, " * 50


def raw_deflate(data: bytes) -> bytes:
    state = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return state.compress(data) + state.flush()


CODED = {
    "identity": (["identity"], TEXT),
    "gzip": (["gzip"], gzip.compress(TEXT)),
    "x-gzip": (["x-gzip"], gzip.compress(TEXT)),
    "two members": (["gzip"], gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
    "deflate": (["deflate"], zlib.compress(TEXT)),
    "raw deflate": (["deflate"], raw_deflate(TEXT)),
    "two codings": (["deflate", "gzip"], gzip.compress(zlib.compress(TEXT))),
}


@given(case=st.sampled_from(sorted(CODED)), size=st.integers(1, 200))
def test_how_the_bytes_are_cut_does_not_matter(case: str, size: int) -> None:
    codings, data = CODED[case]
    decoder = Decoder(codings)
    pieces = [piece for start in range(0, len(data), size) for piece in decoder.feed(data[start : start + size])]
    assert b"".join(pieces) == TEXT
    assert all(pieces)


def test_a_few_bytes_that_stand_for_many_come_in_pieces_of_a_bounded_size() -> None:
    bomb = gzip.compress(bytes(1_000_000))
    assert max(len(piece) for piece in Decoder(["gzip"]).feed(bomb)) <= 256 * 1024
    assert len(decoded([(b"content-encoding", b"gzip")], bomb, 1_000)) == 1_000


def twice(data: bytes) -> bytes:
    return gzip.compress(gzip.compress(data, 9), 9)


@pytest.mark.parametrize(
    ("codings", "packed"),
    [
        (["gzip"], lambda: gzip.compress(bytes(40_000_000))),
        (["gzip", "gzip"], lambda: twice(bytes(40_000_000))),
        (["deflate"], lambda: zlib.compress(bytes(40_000_000))),
        (["gzip"], lambda: gzip.compress(b"") * 5_000),
    ],
    ids=["gzip", "gzip twice", "deflate", "empty members"],
)
def test_decompression_of_too_much_stops_after_a_bounded_part(codings: list[str], packed: Callable[[], bytes]) -> None:
    data = packed()
    seen: list[int] = []
    with pytest.raises(ValueError, match="the body decompresses to more than 64 times its size"):
        seen.extend(map(len, Decoder(codings).feed(data)))
    assert sum(seen) <= 1024 * 1024 + 64 * len(data)


def test_more_than_four_codings_are_not_read() -> None:
    with pytest.raises(ValueError, match="got 5 codings, at most 4 are allowed"):
        Decoder(["gzip"] * 5)


def test_a_bomb_passes_as_it_came_and_is_charged_the_estimate() -> None:
    bomb = twice(bytes(40_000_000))
    coding = (b"content-encoding", b"gzip, gzip")
    answer, rig, _, _ = post([Reply(200, ((b"content-type", b"application/json"), coding), (bomb,))])
    assert (answer.status, answer.body) == (200, bomb)
    assert (rig.usages(), rig.outcomes()) == ([None], ["settled"])


def test_what_cannot_be_read_says_so_and_is_passed_over() -> None:
    with pytest.raises(ValueError, match="content-encoding: got 'br', which cannot be decompressed"):
        Decoder(["br"])
    for coding in ("gzip", "deflate"):
        with pytest.raises(ValueError, match="does not match its content-encoding"):
            list(Decoder([coding]).feed(b"\xffplain text"))
    assert decoded([(b"content-encoding", b"br")], b"as it is", 100) == b"as it is"
    assert decoded([], b"as it is", 100) == b"as it is"


def test_codings_are_listed_in_any_number_of_fields() -> None:
    assert content_codings([(b"content-encoding", b"GZIP, deflate"), (b"x", b"1"), (b"content-encoding", b"br")]) == [
        "gzip",
        "deflate",
        "br",
    ]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ([], b"identity"),
        ([b""], b"identity"),
        ([b"gzip, deflate"], b"gzip, deflate"),
        ([b"gzip, deflate, br, zstd"], b"gzip, deflate"),
        ([b"br;q=1.0, GZIP;q=0.8, *;q=0.1"], b"gzip;q=0.8"),
        ([b"br", b"gzip"], b"gzip"),
        ([b"br, *"], b"identity"),
        ([b"identity, *;q=0"], b"identity, *;q=0"),
    ],
)
def test_codings_that_cannot_be_read_are_struck_from_what_is_asked_for(given: list[bytes], sent: bytes) -> None:
    assert readable_codings(tuple(given)) == sent


def packed(told: Reply) -> Reply:
    """The response in gzip, flushed after each chunk, as by a server."""
    state = zlib.compressobj(wbits=31)
    chunks: list[bytes | float | Exception] = [
        state.compress(chunk) + state.flush(zlib.Z_SYNC_FLUSH) if isinstance(chunk, bytes) else chunk
        for chunk in told.chunks
    ]
    return Reply(told.status, [*told.headers, (b"content-encoding", b"gzip")], chunks)


@pytest.mark.parametrize("told", [packed(Reply()), packed(sse(MESSAGE_START, CONTENT, MESSAGE_DELTA))])
def test_a_compressed_answer_passes_as_it_came_and_its_usage_counts(told: Reply) -> None:
    answer, rig, _, _ = post([told], headers={"accept-encoding": "gzip, br"})
    assert answer.body == b"".join(chunk for chunk in told.chunks if isinstance(chunk, bytes))
    assert answer.headers["content-encoding"] == "gzip"
    assert rig.usages() == [Usage(7, 3 if told.headers[0][1] == b"application/json" else 30)]


def test_an_error_inside_a_compressed_stream_is_hidden_like_any_other() -> None:
    answer, rig, _, _ = post([packed(sse(MESSAGE_START, OVERLOADED_EVENT)), Reply()])
    assert (answer.body, rig.outcomes()) == (ANSWER, ["overloaded", "settled"])


@pytest.mark.parametrize("coding", [b"br", b"gzip"])
def test_an_answer_that_cannot_be_read_passes_and_is_charged_the_estimate(coding: bytes) -> None:
    told = Reply(200, ((b"content-type", b"application/json"), (b"content-encoding", coding)), (b"\x01\x02", b"\x03"))
    answer, rig, _, _ = post([told])
    assert (answer.status, answer.body) == (200, b"\x01\x02\x03")
    assert (rig.usages(), rig.outcomes()) == ([None], ["settled"])


def test_why_an_error_is_final_is_read_from_its_compressed_body() -> None:
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"cap","details":{"error_code":"%s"}}}'
    capped = gzip.compress(body % b"enforced_spend_limit_reached")
    answer, _, transport, _ = post([Reply(429, [(b"content-encoding", b"gzip")], (capped,))])
    assert (answer.status, answer.body, answer.headers["x-should-retry"]) == (429, capped, "false")
    assert len(transport.requests) == 1
