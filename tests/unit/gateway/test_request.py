import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.prompt_size import PromptSize
from tidegate.gateway import request
from tidegate.gateway.request import InvalidCall, MessageRequest, most_body_bytes, route_of
from tidegate.simulator.errors import ApiError
from tidegate.simulator.validation import parse_json


def read_message(body: bytes) -> MessageRequest:
    return asyncio.run(request.read_message(body))


@pytest.fixture(params=[0, 1_000_000], ids=["scanned", "parsed"], autouse=True, scope="module")
def _each_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """A short body is read in another way than a long one; both must find the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tidegate.gateway.request._SHORT_BYTES", request.param)
        yield


def test_the_fields_that_the_limiter_needs_are_read() -> None:
    body = b'{"model": "claude-haiku-5-5", "max_tokens": 12, "stream": true, "messages": [], "from_the_future": 1}'
    assert read_message(body) == MessageRequest("claude-haiku-5-5", 12, PromptSize(len(body)), stream=True)


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"model": 5, "max_tokens": "9", "stream": 1}', b'{"model": null, "max_tokens": -1, "stream": "true"}'],
)
def test_what_the_upstream_will_refuse_is_not_judged_here(body: bytes) -> None:
    assert read_message(body) == MessageRequest("", None, PromptSize(len(body)))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"\xef\xbb\xbf {} \r\n", ("", None)),
        (b'{"model": "a", "model": "b"}', ("b", None)),
        (b'{"model": "\\u0061\\"}{["}', ('a"}{[', None)),
        (b'{"model": "\\ud800"}', ("\ud800", None)),
        (b'{"max_tokens": 1e3}', ("", None)),
        (b'{"max_tokens": %s}' % (b"9" * 900), ("", None)),
        (b'{"metadata": {"model": "inner", "stream": true}, "model": "outer"}', ("outer", None)),
    ],
)
def test_values_are_those_that_a_parser_would_find(body: bytes, found: tuple[str, int | None]) -> None:
    read = read_message(body)
    assert (read.model, read.max_tokens) == found


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"", "an unexpected end at byte 0"),
        (b"\xff\xfe", "no value at byte 0"),
        (b'{"model": "x', "an unexpected end at byte 12"),
        (b'{"model": "x\\', "an unfinished string at byte 12"),
        (b'{"model": }', "no value at byte 10"),
        (b'{"model" 1}', "no colon at byte 9"),
        (b'{"model": 1 "x"}', "no comma at byte 12"),
        (b"{model: 1}", "no string at byte 1"),
        (b'{"cache_control": 1, "tools": [1 2]}', "no comma at byte 33"),
        (b"{} {}", "something after the object at byte 3"),
    ],
)
def test_in_a_long_body_a_fault_has_a_place(body: bytes, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.gateway.request._SHORT_BYTES", -1)
    with pytest.raises(InvalidCall, match=f"not valid JSON: {part}"):
        read_message(body)


def test_a_long_name_and_a_long_value_are_passed_over() -> None:
    name, model = b"n" * 300_000, b"x" * 200_000
    assert read_message(b'{"%s": 1, "model": "%s", "max_tokens": 5}' % (name, model)).max_tokens == 5


SCALARS: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.text('"\\{}[]'))


@given(
    fields=st.dictionaries(
        st.sampled_from(["model", "max_tokens", "stream", "messages", "a", '"']) | st.text(), VALUES
    ),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
)
def test_any_object_is_read_as_a_parser_reads_it(
    fields: dict[str, Any], *, indent: int | None, ascii_only: bool
) -> None:
    read = read_message(json.dumps(fields, indent=indent, ensure_ascii=ascii_only).encode(errors="surrogatepass"))
    model, max_tokens = fields.get("model"), fields.get("max_tokens")
    assert read.model == (model if isinstance(model, str) else "")
    is_count = isinstance(max_tokens, int) and not isinstance(max_tokens, bool) and 0 <= max_tokens < 10**18
    assert read.max_tokens == (max_tokens if is_count else None)
    assert read.stream is (fields.get("stream") is True)


@given(data=st.binary(max_size=60) | st.text('{}[]",:\\a1 ').map(str.encode))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(InvalidCall):
        read_message(b'{"cache_control":1,"messages":' + data)


LONG = {
    "a long text": json.dumps({"messages": "x" * 8_000_000}),
    "many escapes": json.dumps({"messages": "\n\t" * 1_000_000}),
    "many brackets": '{"messages":[' + "[]," * 1_000_000 + "1]}",
    "many members": "{" + ",".join(f'"{number}":1' for number in range(300_000)) + "}",
    "many elements": '{"cache_control":{},"system":[' + "1," * 1_000_000 + "1]}",
    "many messages": '{"cache_control":{},"messages":[' + '{"content":"x"},' * 100_000 + "1]}",
    "many blocks": '{"cache_control":{},"messages":[' + '{"content":[1,2,3,4,5]},' * 50_000 + "1]}",
    "a long block": '{"cache_control":{},"system":"' + "x" * 8_000_000 + '"}',
}


@pytest.mark.parametrize("body", LONG.values(), ids=LONG.keys())
def test_a_long_body_leaves_turns_to_others(body: str) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main() -> MessageRequest:
        task = asyncio.create_task(others())
        read = await request.read_message(body.encode())
        task.cancel()
        return read

    read = asyncio.run(main())
    assert turns >= len(body) / 140_000
    assert len(read.prefixes) <= 10_000


def test_true_is_no_number_of_tokens() -> None:
    assert read_message(b'{"max_tokens": true}').max_tokens is None


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"", "not valid JSON"),
        (b'{"model": ', "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b'{"model": "x', "not valid JSON"),
        (b'{"model": "x\\', "not valid JSON"),
        (b'{"model": }', "not valid JSON"),
        (b'{"model" 1}', "not valid JSON"),
        (b'{"model": 1 "x"}', "not valid JSON"),
        (b"{model: 1}", "not valid JSON"),
        (b'{"a": [1, {"b": 2}', "not valid JSON"),
        (b"{} {}", "not valid JSON"),
        (b"[1]", "must be a JSON object, got an array"),
        (b"null", "must be a JSON object, got null"),
        (b"3", "must be a JSON object, got a number"),
        (b'"text"', "must be a JSON object, got a string"),
        (b"true", "must be a JSON object, got a boolean"),
        (b'{"a":' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused_with_the_reason(body: bytes, part: str) -> None:
    with pytest.raises(InvalidCall, match=part) as caught:
        read_message(body)
    assert (caught.value.status, caught.value.error_type) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"model": ',
        b"{'model': 1}",
        b'{"model": "x}',
        b'{"model": 1 "x"}',
        b'{"a": "\xff"}',
        b"{} {}",
        b'{"cache_control": [1, }',
        b'{\n"cache_control": 1,\n}',
    ],
)
def test_what_is_no_json_is_refused_in_the_words_of_the_api(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.gateway.request._SHORT_BYTES", 1_000_000)
    with pytest.raises(ApiError) as upstream:
        parse_json(body)
    with pytest.raises(InvalidCall) as ours:
        read_message(body)
    assert str(ours.value) == upstream.value.message
    assert ours.value.error_type == upstream.value.error_type


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/messages", "/v1/messages"),
        ("/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("/v1/messages/batches/b1/results", "/v1/messages/batches"),
        ("/v1/models/claude-haiku-5-5", "/v1/models"),
        ("/v1/files", "/v1/files"),
        ("/v1/filesystem", "/v1/other"),
        ("/v1/complete", "/v1/other"),
    ],
)
def test_routes_are_a_closed_set(path: str, route: str) -> None:
    assert route_of(path) == route


def test_the_upstreams_limits_for_bodies() -> None:
    assert most_body_bytes("/v1/messages") == most_body_bytes("/v1/messages/count_tokens") == 33_554_432
    assert most_body_bytes("/v1/files") == 524_288_000
