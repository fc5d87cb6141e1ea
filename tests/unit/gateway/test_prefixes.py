"""Which beginnings of a prompt may be in the upstream's cache."""

import json
from typing import Any

import pytest

from tidegate.gateway.prefixes import cacheable_prefixes
from tidegate.gateway.request import InvalidCall, read_message

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


def digests(**changes: Any) -> list[bytes]:
    return [prefix.digest for prefix in cacheable_prefixes(fields(**changes))]


@pytest.mark.parametrize("nothing", [fields(), {}, MARKER, fields(messages=None)])
def test_nothing_is_cacheable_where_nothing_is_marked(nothing: dict[str, Any]) -> None:
    assert cacheable_prefixes(nothing) == ()


def test_beginnings_go_by_tools_then_system_then_messages_up_to_the_last_marker() -> None:
    messages = [{"role": "user", "content": [marked(TEXTS[0])]}, LAST]
    prefixes = cacheable_prefixes(fields(messages=messages, system=[marked(SYSTEM[0])], tools=[TOOL]))
    assert [prefix.marked for prefix in prefixes] == [False, True, True]
    sizes = [len(json.dumps(block, separators=(",", ":"))) for block in (TOOL, SYSTEM[0], TEXTS[0])]
    assert [prefix.body_bytes for prefix in prefixes] == [sizes[0], sum(sizes[:2]), sum(sizes)]


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
    (prefix,) = cacheable_prefixes(message)
    assert prefix.body_bytes < len(body)


@pytest.mark.parametrize("content", [7, "text", ["text"], {"type": "text"}, [None], "\ud800"])
@pytest.mark.parametrize("where", ["tools", "system", "messages", "content"])
def test_what_the_upstream_will_reject_is_read_all_the_same(where: str, content: object) -> None:
    wrong = {"messages": [{"content": content}]} if where == "content" else {"messages": [7], where: content}
    read = read_message(json.dumps({**wrong, **MARKER}).encode())
    assert all(not prefix.marked for prefix in read.prefixes[:-1])


def test_nesting_at_the_edge_of_what_can_be_read_is_an_invalid_call() -> None:
    edge = set()
    for depth in range(1_000):
        system = '{"a":' * depth + "1" + "}" * depth
        try:
            read_message(f'{{"cache_control":{{}},"system":{system}}}'.encode())
        except InvalidCall as error:
            edge.add(str(error))
    assert edge == {"the body is nested too deeply to be read as JSON"}
