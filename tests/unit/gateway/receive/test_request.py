import asyncio
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from claude_simulator.errors import ApiError
from claude_simulator.requests.validation import parse_json
from support.turns import turns_during
from tidegate.core.pricing.prompt_size import PromptSize
from tidegate.gateway.receive import request
from tidegate.gateway.receive.request import InvalidCall, MessageRequest, max_body_bytes, route_of


def read_message(body: bytes) -> MessageRequest:
    return asyncio.run(request.read_message(body))


def test_the_fields_that_the_limiter_needs_are_read() -> None:
    body = b'{"model": "claude-haiku-5-5", "max_tokens": 12, "stream": true, "messages": [], "from_the_future": 1}'
    assert read_message(body) == MessageRequest("claude-haiku-5-5", 12, PromptSize(len(body)), stream=True)


@pytest.mark.parametrize("filler", [b"", b" " * 9_000], ids=["short", "long"])
@pytest.mark.parametrize(
    ("speed", "is_fast"), [(b'"fast"', True), (b'"standard"', False), (b"1", False), (b"null", False)]
)
def test_fast_mode_is_read(speed: bytes, is_fast: bool, filler: bytes) -> None:  # noqa: FBT001 - a parameter
    body = b'{"messages": [{"role": "user", "content": "x%s"}], "speed": %s}' % (filler, speed)
    assert read_message(body).is_fast is is_fast
    crooked = b'{"messages": 5, "speed": %s}' % speed
    assert read_message(crooked).is_fast is is_fast


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"model": 5, "max_tokens": "9", "stream": 1}', b'{"model": null, "max_tokens": -1, "stream": "true"}'],
)
def test_values_that_the_upstream_will_refuse_are_accepted(body: bytes) -> None:
    assert read_message(body) == MessageRequest("", None, PromptSize(len(body)))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"\xef\xbb\xbf {} \r\n", ("", None)),
        (b'{"model": "a", "model": "b"}', ("b", None)),
        (b'{"model": "\\u0061\\"}{["}', ('a"}{[', None)),
        (b'{"model": "\\ud800"}', ("?", None)),
        (b'{"max_tokens": 1e3}', ("", None)),
        (b'{"max_tokens": %s}' % (b"9" * 900), ("", None)),
        (b'{"metadata": {"model": "inner", "stream": true}, "model": "outer"}', ("outer", None)),
    ],
)
def test_values_are_those_that_a_parser_would_find(body: bytes, found: tuple[str, int | None]) -> None:
    read = read_message(body)
    assert (read.model, read.max_tokens) == found


@pytest.mark.parametrize("filler", [b"", b" " * 1_100_000], ids=["short", "long"])
def test_a_fault_has_a_place(filler: bytes) -> None:
    position = len(b'{"model": 1 ') + len(filler)
    with pytest.raises(InvalidCall, match=f"not valid JSON: .*(char|byte) {position}"):
        read_message(b'{"model": 1 %s"x"}' % filler)


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (b'{"model": "m", "x": [NaN, Infinity, -Infinity, 1e999]}', MessageRequest("m", None, PromptSize())),
        (b'{"model": 0.5, "max_tokens": 7, "x": NaN}', MessageRequest("", 7, PromptSize())),
        (b'{"model": 1e999, "max_tokens": 1e2, "x": NaN}', MessageRequest("", None, PromptSize())),
        (b'{"model": "half of \\ud83d a sign", "max_tokens": 5}', MessageRequest("half of ? a sign", 5, PromptSize())),
        ('{"model": "m", "stream": true}'.encode("utf-16"), MessageRequest("m", None, PromptSize(), stream=True)),
    ],
)
def test_what_python_takes_as_json_is_read_all_the_same(body: bytes, read: MessageRequest) -> None:
    assert read_message(body) == replace(read, size=PromptSize(len(body)))


def test_what_is_not_quite_json_is_read_like_what_is() -> None:
    messages = '"messages": [{"content": [{"type": "text", "text": "x", "cache_control": {}}]}]'
    strict, odd = (
        read_message(f'{{"model": "m", "tools": [{{"name": "t"}}], "x": {x}, {messages}}}'.encode())
        for x in ("1", "NaN")
    )
    assert odd.prefixes == strict.prefixes
    assert odd.size == strict.size._replace(text_bytes=strict.size.text_bytes + 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages": 5},
        {"messages": [5]},
        {"messages": [{"content": 5}]},
        {"messages": [{"content": {}}]},
        {"messages": [{"content": [[]]}]},
        {"messages": [{"content": [{"type": 5}]}]},
        {"system": 5},
        {"system": {"type": "text"}},
        {"tools": {}},
        {"tools": ["x"]},
        {"x": "y" * 300_000, "messages": 5},
    ],
)
def test_of_a_body_of_another_shape_the_rest_is_read(wrong: dict[str, Any]) -> None:
    body = json.dumps({"model": "m", "max_tokens": 7, "stream": True, "cache_control": {}, **wrong}).encode()
    assert read_message(body) == MessageRequest("m", 7, PromptSize(len(body)), stream=True)


@pytest.mark.parametrize("value", [b'"%s"' % (b"x" * 2_000), b"[1]", b"{}", b"1e999", b"9" * 5_000, b'"\xff"'])
def test_a_value_that_cannot_be_is_passed_over(value: bytes) -> None:
    body = b'{"model": %s, "max_tokens": %s, "stream": %s, "system": 5}' % (value, value, value)
    if value == b'"\xff"':
        with pytest.raises(InvalidCall, match="not valid JSON"):
            read_message(body)
    else:
        assert read_message(body) == MessageRequest("", None, PromptSize(len(body)))


def test_a_long_name_and_a_long_value_are_passed_over() -> None:
    name, model = b"n" * 300_000, b"x" * 200_000
    assert read_message(b'{"%s": 1, "model": "%s", "max_tokens": 5}' % (name, model)).max_tokens == 5


SCALARS: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.text('"\\{}[]'), max_leaves=20
)


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
    read = read_message(json.dumps(fields, indent=indent, ensure_ascii=ascii_only).encode())
    model, max_tokens = fields.get("model"), fields.get("max_tokens")
    assert read.model == (model if isinstance(model, str) else "")
    is_count = isinstance(max_tokens, int) and not isinstance(max_tokens, bool) and 0 <= max_tokens < 10**18
    assert read.max_tokens == (max_tokens if is_count else None)
    assert read.stream is (fields.get("stream") is True)


LONG_TEXT = "x" * 10_000
BLOCKS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "tool_result"])},
        optional={
            "cache_control": st.just({"type": "ephemeral"}),
            "content": st.text() | st.lists(st.just({"type": "text"})),
        },
    )
)
CONTENTS = st.text() | BLOCKS | st.none()


@given(
    contents=st.lists(CONTENTS),
    beside=st.fixed_dictionaries(
        {"model": st.just("claude-haiku-5-5")},
        optional={"system": CONTENTS, "tools": BLOCKS, "max_tokens": st.integers(1, 9), "stream": st.booleans()},
    ),
)
def test_behind_a_long_text_all_is_read_as_it_is_behind_a_short_one(
    contents: list[Any], beside: dict[str, Any]
) -> None:
    """A long text is skipped, a short one is decoded."""
    short_body, long_body = (
        {**beside, "messages": [{"role": "user", "content": first}, *({"content": content} for content in contents)]}
        for first in ("x", LONG_TEXT)
    )
    short, long = (read_message(json.dumps(body).encode()) for body in (short_body, long_body))
    added_bytes = len(LONG_TEXT) - 1
    assert long.size == short.size._replace(text_bytes=short.size.text_bytes + added_bytes)
    assert [(one.marked, one.beside) for one in long.prefixes] == [(one.marked, one.beside) for one in short.prefixes]
    assert (long.model, long.max_tokens, long.stream) == (short.model, short.max_tokens, short.stream)


@pytest.mark.parametrize("text", [b"", b"x" * 10_000], ids=["short", "long"])
def test_a_body_that_is_not_utf_8_is_refused_if_its_prompt_is_examined(text: bytes) -> None:
    body = b'{"model": "m", "cache_control": {"type": "ephemeral"}, "messages": [{"content": "%s\xff"}]}' % text
    with pytest.raises(InvalidCall, match=r"not valid JSON: .*(UTF-8|utf-8)"):
        read_message(body)


@pytest.mark.parametrize(
    "wrong",
    [{"messages": [{"content": LONG_TEXT}, {"content": 5}]}, {"system": {}}, {"system": 5}, {"tools": {}}],
)
def test_behind_a_long_text_what_has_another_shape_is_passed_over(wrong: dict[str, Any]) -> None:
    fields = {"model": "m", "max_tokens": 7, "stream": True, "messages": [{"content": LONG_TEXT}]}
    body = json.dumps({**fields, "cache_control": {}, **wrong}).encode()
    assert read_message(body) == MessageRequest("m", 7, PromptSize(len(body)), stream=True)


@given(data=st.binary(max_size=60) | st.text('{}[]",:\\a1 ').map(str.encode))
def test_any_body_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(InvalidCall):
        read_message(b'{"cache_control":1,"messages":' + data)


MARKED = b'{"model": "m", "cache_control": {}, "messages": [%s{"content": "x"}]}'


@pytest.mark.parametrize(
    ("body", "turns"),
    [
        (MARKED % (b'{"content": "%s"},' % (b"x" * 8_000_000)), 60),  # looked over, decoded, hashed
        (MARKED % (b'{"content": "x"},' * 90_000), 25),
        (MARKED % (b'{"content": [{}, {}, {}, {}, {}]},' * 19_000), 20),
        (MARKED % (b'{"content": [%s{}]},' % (b'{"source": {}},' * 90_000)), 200),
    ],
    ids=["a long block", "many messages", "many blocks", "many that may be media"],
)
def test_a_long_body_leaves_turns_to_others(body: bytes, turns: int) -> None:
    had, read = asyncio.run(turns_during(request.read_message(body)))
    assert had >= turns
    assert 0 < len(read.prefixes) <= 10_000


@pytest.mark.parametrize(
    "filler", [b"[]," * 450_000, b'{"content": [{"type": "text"}]},' * 110_000], ids=["", "objects"]
)
def test_of_a_long_body_of_many_objects_only_the_fields_beside_them_are_read(filler: bytes) -> None:
    body = MARKED % filler
    assert read_message(body) == MessageRequest("m", None, PromptSize(len(body)))


@pytest.mark.parametrize(
    "text",
    [
        b"," * 2_100_000,
        b"\\\\" * 3_000_000 + b"," * 2_100_000,
        b"[{" * 1_100_000,
        b'\\",' * 700_000,
        b"\\\\," * 2_100_000,
        b'x\\\\\\",[' * 500_000,
    ],
    ids=["commas", "backslashes in a row", "brackets", "quotes", "backslashes", "backslashes and quotes"],
)
def test_the_model_is_read_beside_any_text(text: bytes) -> None:
    body = b'{"model": "m", "messages": [{"role": "user", "content": "%s"}], "max_tokens": 7, "stream": true}' % text
    had, read = asyncio.run(turns_during(request.read_message(body)))
    assert read == MessageRequest("m", 7, PromptSize(len(body)), stream=True)
    assert had >= 10


@pytest.mark.parametrize(
    "filler",
    [
        b"1," * 2_100_000,
        b"[" * 2_100_000,
        b'{"":0},' * 1_100_000,
        b'"",' * 2_100_000,
        b",,,," * 600_000 + b'""' * 2_000_000,
    ],
    ids=["numbers", "arrays", "objects", "texts", "no separators"],
)
def test_a_body_of_more_values_than_any_prompt_has_is_refused(filler: bytes) -> None:
    with pytest.raises(InvalidCall, match="more than 2,000,000 JSON values") as refused:
        read_message(MARKED % filler)
    assert (refused.value.status, refused.value.error_type) == (413, "request_too_large")


def values_in(text: str) -> int:
    """Commas, opening brackets and strings of a JSON document, counted character by character."""
    values, is_within, is_escaped = 0, False, False
    for character in text:
        if is_within:
            is_within = is_escaped or character != '"'
            is_escaped = character == "\\" and not is_escaped
        else:
            is_within = character == '"'
            values += character in '",[{'
    return values


@given(value=VALUES, slice_bytes=st.integers(2, 40))
def test_values_are_counted_alike_wherever_a_body_is_cut(value: Any, slice_bytes: int) -> None:
    body = json.dumps(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request, "_SLICE_BYTES", slice_bytes)
        patch.setattr(request, "_MAX_VALUES", values_in(body))
        asyncio.run(request._check_values(body.encode()))
        patch.setattr(request, "_MAX_VALUES", values_in(body) - 1)
        if values_in(body):
            with pytest.raises(InvalidCall):
                asyncio.run(request._check_values(body.encode()))


@given(text=st.text('"\\,[{x'))
def test_a_text_without_an_end_ends_the_counting(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request, "_SLICE_BYTES", 3)
        asyncio.run(request._check_values(text.encode()))


def test_braces_and_commas_in_long_texts_are_no_objects() -> None:
    block = {"type": "text", "text": '{"a": 1, "b": {}}, { x },' * 60_000, "cache_control": {}}
    read = read_message(json.dumps({"messages": [{"content": [block]}]}).encode())
    assert [prefix.marked for prefix in read.prefixes] == [True]


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
        b'{"model": "\xff"}',
        b"{} {}",
        b'{"cache_control": [1, }',
        b'{\n"cache_control": 1,\n}',
    ],
)
def test_a_body_that_is_not_json_gets_the_error_of_the_api(body: bytes) -> None:
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
    assert max_body_bytes("/v1/messages") == max_body_bytes("/v1/messages/count_tokens") == 33_554_432
    assert max_body_bytes("/v1/files") == 524_288_000
