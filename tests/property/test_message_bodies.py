"""The reader of Messages bodies agrees with a plain parser of the same input."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from support.hypothesis_settings import share_of_examples
from tidegate.core.pricing.prompt_size import PromptSize, tool_prompt_tokens
from tidegate.gateway.receive.request import InvalidCall, MessageRequest, read_message

MODEL = "claude-sonnet-5-5"
MARKER = {"type": "ephemeral", "ttl": "5m"}
TEXTS = st.text(max_size=12) | st.sampled_from(
    ['"cache_control": {}', '{"source": [', '\\"\n\t\x00', "日本 \N{GRINNING FACE}"]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.just("cache_control"), inner, max_size=3),
    max_leaves=8,
)
LAYOUTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "indent": st.sampled_from([None, 0, 3]),
        "separators": st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " :\r\n")]),
        "ensure_ascii": st.booleans(),
    }
)
SPACES = st.sampled_from(["", " ", "\n\t"])


class Block(NamedTuple):
    """A block as text, with its marker if it has one, and without."""

    text: str
    plain: str
    marked: bool = False


class Body(NamedTuple):
    """A body as text, and what is in it. `head`: model, max_tokens, stream, cache_control, whichever are there."""

    text: bytes
    head: dict[str, Any]
    blocks: list[Block]
    has_tools: bool


@st.composite
def blocks(draw: Callable[..., Any]) -> Block:
    """An object with a type, other members, and sometimes a marker anywhere among them."""
    others = draw(st.dictionaries(TEXTS, VALUES, max_size=3))
    for name in ("cache_control", "source", "content"):
        others.pop(name, None)
    members = [("type", draw(st.sampled_from(["text", "tool_use"]))), *others.items()]
    if draw(st.booleans()):
        members.append(
            ("content", draw(TEXTS | st.lists(st.fixed_dictionaries({"type": TEXTS, "x": VALUES}), max_size=2)))
        )
    members, layout = draw(st.permutations(list(dict(members).items()))), draw(LAYOUTS)
    plain = json.dumps(dict(members), **layout)
    if not draw(st.booleans()):
        return Block(plain, plain)
    at = draw(st.integers(0, len(members)))
    return Block(
        json.dumps(dict([*members[:at], ("cache_control", MARKER), *members[at:]]), **layout), plain, marked=True
    )


@st.composite
def bodies(draw: Callable[..., Any]) -> Body:
    """A body in which everything has the shape that the API takes, in any order and with any spaces."""
    space = draw(SPACES)
    layout = draw(LAYOUTS)

    def array(parts: list[str]) -> str:
        return f"[{space}{f'{space},{space}'.join(parts)}{space}]"

    def content() -> tuple[list[Block], str]:
        if draw(st.booleans()):
            found = draw(st.lists(blocks(), max_size=3))
            return found, array([block.text for block in found])
        text = json.dumps(draw(TEXTS), **layout)
        return [Block(text, text)], text

    head = {
        "model": draw(st.just(MODEL) | st.text() | st.integers()),
        "max_tokens": draw(
            st.integers(-1, 10**20) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none()
        ),
        "stream": draw(st.booleans() | st.just("true")),
        "tool_choice": {"type": draw(st.sampled_from(["any", "auto"]))},
        "cache_control": MARKER,
        "metadata": draw(VALUES),
    }
    head = {name: head[name] for name in draw(st.permutations(list(head))) if draw(st.booleans())}
    members = {name: json.dumps(value, **layout) for name, value in head.items()}
    tools, (system, system_text) = draw(st.lists(blocks(), max_size=2)), content()
    messages = [content() for _ in range(draw(st.integers(0, 3)))]
    members["tools"] = array([tool.text for tool in tools])
    members["system"] = system_text
    members["messages"] = array(
        [f'{{{space}"role":"user",{space}"content"{space}:{space}{text}}}' for _, text in messages]
    )
    text = ",".join(f'{space}"{name}"{space}:{members[name]}{space}' for name in draw(st.permutations(list(members))))
    return Body(
        f"{space}{{{text}}}{space}".encode(),
        head,
        [*tools, *system, *(block for found, _ in messages for block in found)],
        bool(tools),
    )


def read(body: bytes) -> MessageRequest:
    return asyncio.run(read_message(body))


def prefixes_of(body: Body, fixed_tokens: int) -> list[tuple[int, PromptSize, bool]]:
    """Text bytes so far and mark at each block, up to the last mark."""
    found, text_bytes = [], 0
    for number, block in enumerate(body.blocks, 1):
        text_bytes += len(block.plain.encode())
        is_last = number == len(body.blocks) and "cache_control" in body.head
        found.append((text_bytes, PromptSize(fixed_tokens=fixed_tokens), block.marked or is_last))
    while found and not found[-1][2]:
        found.pop()
    return found


@given(bodies())
def test_a_body_is_read_as_a_parser_reads_it(body: Body) -> None:
    fields = json.loads(body.text)
    model, max_tokens = fields.get("model"), fields.get("max_tokens")
    model = model if isinstance(model, str) else ""
    forced = fields.get("tool_choice") == {"type": "any"}
    fixed_tokens = tool_prompt_tokens(model, forced=forced) if body.has_tools else 0
    found = read(body.text)
    assert replace(found, prefixes=()) == MessageRequest(
        model,
        max_tokens if type(max_tokens) is int and 0 <= max_tokens < 10**18 else None,
        PromptSize(len(body.text), fixed_tokens=fixed_tokens),
        stream=fields.get("stream") is True,
    )
    assert [tuple(prefix)[1:] for prefix in found.prefixes] == prefixes_of(body, fixed_tokens)


@share_of_examples(0.35)
@given(bodies())
def test_where_the_markers_are_changes_no_beginning(body: Body) -> None:
    def digests(message: MessageRequest) -> list[int]:
        return [prefix.digest for prefix in message.prefixes]

    without = body.text
    for block in body.blocks:
        without = without.replace(block.text.encode(), block.plain.encode())
    everything = digests(read(without.rstrip()[:-1] + b',"cache_control":{}}'))
    assert digests(read(body.text)) == everything[: len(read(body.text).prefixes)]
    assert len(set(everything)) == len(everything) == len(body.blocks)


@given(bodies(), st.data())
def test_a_body_that_breaks_off_is_refused(body: Body, data: st.DataObject) -> None:
    text = body.text.rstrip()[: data.draw(st.integers(0, len(body.text.rstrip()) - 1))]
    with pytest.raises(InvalidCall, match="not valid JSON"):
        read(text)
