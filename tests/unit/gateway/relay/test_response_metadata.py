"""Id, model and stop reason of a response: in a document, in a stream, missing, and invalid."""

import gzip
import json
from typing import Any

import pytest

from tidegate.gateway.relay.response_metadata import ResponseMetadata
from tidegate.gateway.relay.usage_reader import ResponseReader, reader_for

MESSAGE: dict[str, Any] = {"id": "msg_1", "model": "claude-sonnet-5-5", "stop_reason": "end_turn"}
NONSENSE: dict[str, Any] = {"id": 7, "model": None, "stop_reason": ["end_turn"]}


def reader(content_type: bytes, *headers: tuple[bytes, bytes], route: str = "/v1/messages") -> ResponseReader:
    fields = [(b"content-type", content_type), *headers]
    return reader_for(route, fields, dict(fields))


@pytest.mark.parametrize(
    ("message", "metadata"),
    [(MESSAGE, ResponseMetadata(*MESSAGE.values())), (NONSENSE, ResponseMetadata()), ({}, ResponseMetadata())],
)
def test_of_a_document(message: dict[str, Any], metadata: ResponseMetadata) -> None:
    plain = reader(b"application/json")
    plain.feed(json.dumps(message).encode())
    packed = reader(b"application/json", (b"content-encoding", b"gzip"))
    packed.feed(gzip.compress(json.dumps(message).encode()))
    assert plain.metadata == packed.metadata == metadata


@pytest.mark.parametrize(
    ("started", "delta", "metadata"),
    [
        (MESSAGE, {"stop_reason": "max_tokens"}, ResponseMetadata("msg_1", "claude-sonnet-5-5", "max_tokens")),
        (NONSENSE, {"stop_reason": 7}, ResponseMetadata()),
        ({}, "nonsense", ResponseMetadata()),
    ],
)
def test_of_a_stream(started: dict[str, Any], delta: object, metadata: ResponseMetadata) -> None:
    stream = reader(b"text/event-stream")
    for name, data in (("message_start", {"message": started}), ("message_delta", {"delta": delta})):
        stream.feed(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
    assert stream.metadata == metadata


def test_of_what_is_no_message() -> None:
    file = reader(b"application/json", route="/v1/files")
    file.feed(json.dumps(MESSAGE).encode())
    assert file.metadata == ResponseMetadata()
