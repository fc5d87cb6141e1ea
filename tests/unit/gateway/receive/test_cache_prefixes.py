"""The prefixes of a prompt that may be in the upstream's cache."""

import asyncio
import contextlib
import json
from typing import Any

import pytest

from support.media import encoded, png
from tidegate.core.pricing.message_shape import Prefix
from tidegate.gateway.receive.request import InvalidCall, MessageRequest
from tidegate.gateway.receive.request import read_message as read_message_in_slices

MARKER = {"cache_control": {"type": "ephemeral"}}
TOOL = {"name": "look_up", "input_schema": {"type": "object"}}
SYSTEM = [{"type": "text", "text": "You are helpful."}]
TEXTS = [{"type": "text", "text": "first"}, {"type": "text", "text": "second"}]
FIRST = {"role": "user", "content": TEXTS}
LAST = {"role": "user", "content": "last"}


def fields(**changes: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet-5-5", "messages": [FIRST], **changes}


def marked(block: dict[str, Any]) -> dict[str, Any]:
    return {**block, **MARKER}


def read_message(body: bytes) -> MessageRequest:
    return asyncio.run(read_message_in_slices(body))


def cacheable_prefixes(message: dict[str, Any], **layout: Any) -> tuple[Prefix, ...]:
    return read_message(json.dumps(message, **{"separators": (",", ":"), **layout}).encode()).prefixes


def digests(**changes: Any) -> list[int]:
    return [prefix.digest for prefix in cacheable_prefixes(fields(**changes))]


@pytest.mark.parametrize("nothing", [fields(), {}, MARKER, fields(messages=None)])
def test_nothing_is_cacheable_where_nothing_is_marked(nothing: dict[str, Any]) -> None:
    assert cacheable_prefixes(nothing) == ()


def test_beginnings_go_by_tools_then_system_then_messages_up_to_the_last_marker() -> None:
    messages = [{"role": "user", "content": [marked(TEXTS[0])]}, LAST]
    prefixes = cacheable_prefixes(fields(messages=messages, system=[marked(SYSTEM[0])], tools=[TOOL]))
    assert [prefix.marked for prefix in prefixes] == [False, True, True]
    sizes = [len(json.dumps(block, separators=(",", ":"))) for block in (TOOL, SYSTEM[0], TEXTS[0])]
    assert [prefix.size.text_bytes for prefix in prefixes] == [sizes[0], sum(sizes[:2]), sum(sizes)]


def test_what_stands_in_a_beginning_beside_text_counts_by_its_own_rules() -> None:
    image = {"type": "image", "source": {"type": "base64", "data": encoded(png(200, 200)) + "A" * 4_000}}
    messages = [{"role": "user", "content": [TEXTS[0], marked(image), TEXTS[1]]}]
    prefixes = cacheable_prefixes(fields(messages=messages, tools=[TOOL]))
    assert [prefix.size.image_tokens for prefix in prefixes] == [0, 0, 64]
    assert [prefix.size.fixed_tokens for prefix in prefixes] == [290, 290, 290]
    assert prefixes[-1].size.text_bytes < 300


def test_a_marker_at_the_top_stands_for_the_last_block() -> None:
    prefixes = cacheable_prefixes(fields(messages=[FIRST, LAST], **MARKER))
    assert [prefix.marked for prefix in prefixes] == [False, False, True]


def test_a_conversation_that_goes_on_begins_as_before_wherever_its_markers_are() -> None:
    before = digests(system=[marked(SYSTEM[0])])
    after = digests(system=SYSTEM, messages=[FIRST, {"role": "user", "content": [marked({"type": "text"})]}])
    assert after[: len(before)] == before


@pytest.mark.parametrize(
    "other",
    [{"model": "claude-haiku-5"}, {"system": [marked({"type": "text", "text": "Be brief."})]}, {"tools": [TOOL]}],
)
def test_another_model_text_or_order_is_another_beginning(other: dict[str, Any]) -> None:
    changed = {"system": [marked(SYSTEM[0]), TOOL], **other}
    assert not set(digests(system=[marked(SYSTEM[0])])) & set(digests(**changed))


def test_a_beginning_is_no_longer_than_what_was_sent() -> None:
    message = fields(system=[marked({"type": "text", "text": "日本語 \N{GRINNING FACE}" * 100})])
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    (prefix,) = cacheable_prefixes(message, ensure_ascii=False)
    assert prefix.size.text_bytes < len(body)


@pytest.mark.parametrize("content", [7, "text", ["text"], {"type": "text"}, [None], "\ud800"])
@pytest.mark.parametrize("where", ["tools", "system", "messages", "content"])
def test_a_body_that_the_upstream_will_reject_is_still_read(where: str, content: object) -> None:
    wrong = {"messages": [{"content": content}]} if where == "content" else {"messages": [7], where: content}
    read = read_message(json.dumps({**wrong, **MARKER}).encode())
    assert all(not prefix.marked for prefix in read.prefixes[:-1])


@pytest.mark.parametrize("layout", [{}, {"separators": (", ", ": ")}, {"indent": 2}])
def test_a_block_is_the_same_wherever_its_marker_stands_or_if_it_has_none(layout: dict[str, Any]) -> None:
    block = {"type": "text", "text": 'with "cache_control": {} in it, and {brackets]'}
    placed = [block, {**MARKER, **block}, {**block, **MARKER}, {"type": "text", **MARKER, "text": block["text"]}]
    seen = {cacheable_prefixes(fields(system=[each], **MARKER), **layout)[0].digest for each in placed}
    assert len(seen) == 1


@pytest.mark.parametrize(
    "inner",
    [
        [{"cache_control": 1}],
        [MARKER],
        [{**MARKER, "type": "text"}, {"type": "text", **MARKER}],
        {"properties": {"cache_control": {"type": "ephemeral"}, "x": {"cache_control": {"type": "ephemeral"}}}},
        ["cache_control", {"cache_control": "cache_control"}],
        [MARKER] * 7,
    ],
)
@pytest.mark.parametrize("layout", [{}, {"indent": 1}])
def test_markers_inside_of_a_block_belong_to_it(inner: object, layout: dict[str, Any]) -> None:
    block = {"type": "tool_result", "content": inner}
    prefixes = [
        cacheable_prefixes(fields(system=[each], messages=[], **MARKER), **layout)
        for each in (block, {**MARKER, **block}, {"type": "tool_result", **MARKER, "content": inner}, marked(block))
    ]
    assert prefixes == prefixes[:1] * 4


def test_a_marker_among_many_stays_what_it_is() -> None:
    block = {**MARKER, "type": "tool_result", "content": [MARKER] * 20}
    (prefix,) = cacheable_prefixes(fields(system=[block], messages=[]))
    assert (prefix.text_bytes, prefix.marked) == (len(json.dumps(block, separators=(",", ":"))), True)


@pytest.mark.parametrize(
    "block",
    [
        '{"type":"text","cache\\u005fcontrol":{}}',
        '{"type":"text","cache_control":1,"cache_control":2}',
        '{"type":"text","cache_control"  :  {"a":1}  ,  "text":"x"}',
        '{"type":"text"' + " " * 2_000 + ',"cache_control":{}}',
        '{"type":"text",' + " " * 2_000 + '"cache_control":{}}',
    ],
)
def test_a_marker_is_recognized_in_each_spelling(block: str) -> None:
    (prefix,) = read_message(f'{{"system":[{block}]}}'.encode()).prefixes
    assert prefix.marked
    assert len('{"type":"text"}') <= prefix.text_bytes <= len(block)


def test_a_block_of_nothing_but_a_marker_is_empty() -> None:
    (prefix,) = cacheable_prefixes(fields(system=[MARKER]))
    assert (prefix.size.text_bytes, prefix.marked) == (len("{}"), True)


def test_a_marker_inside_of_a_block_marks_nothing() -> None:
    result = {"type": "tool_result", "content": [marked(TEXTS[0])]}
    assert cacheable_prefixes(fields(messages=[{"role": "user", "content": [result]}])) == ()


def test_nesting_at_the_edge_of_what_can_be_read_is_an_invalid_call() -> None:
    def nested(depth: int) -> MessageRequest:
        block = '{"type":"text","x":' + '{"a":' * depth + "1" + "}" * depth + "}"
        return read_message(f'{{"cache_control":{{}},"system":[{block}]}}'.encode())

    assert nested(500).prefixes
    for depth in (*range(900, 1_000, 3), 100_000):  # wherever in its reading it becomes too deep
        with contextlib.suppress(InvalidCall):
            nested(depth)
    with pytest.raises(InvalidCall, match="the body is nested too deeply to be read as JSON"):
        nested(100_000)
