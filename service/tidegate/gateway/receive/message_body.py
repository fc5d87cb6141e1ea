"""The parts of a `POST /v1/messages` body that the limiter looks at, decoded; all else is passed over and never built.

Decoding takes about a third of a millisecond a megabyte, in one go. Parts of type `Raw` are slices of the text.
"""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from math import isfinite
from typing import Any, Final, TypeVar

import orjson
from msgspec import DecodeError, Raw, Struct, ValidationError
from msgspec.json import Decoder

__all__ = ["ABSENT", "Block", "MessageBody", "part", "read_body"]

ABSENT: Final = Raw(b"")
"""Where a part is missing."""
_MAX_LENIENT_BYTES: Final = 256 * 1024
"""So much is read by `json`, and written again, in two milliseconds; in twenty if it is brackets alone."""
_MAX_FAULTY_BYTES: Final = 1024 * 1024
"""In so much, the place of a fault is found in a few milliseconds."""
_MAX_VALUE_BYTES: Final = 1_000
"""Names and numbers are shorter; what is longer, the upstream will refuse."""
_LONG_TEXT_BYTES: Final = 8 * 1024
"""To make a string of so much takes longer than to look at a message twice."""
_FIRST_FIELDS_BYTES: Final = 4 * 1024
_CONTENT: Final = re.compile(rb'"content"[ \t\n\r]*+:[ \t\n\r]*+')
_QUOTE: Final = ord(b'"')
_BOM: Final = b"\xef\xbb\xbf"
_SPACE: Final = b" \t\n\r"
_VALUES: Final = {
    "[": "an array",
    '"': "a string",
    "t": "a boolean",
    "f": "a boolean",
    "n": "null",
    **dict.fromkeys("-0123456789", "a number"),
}
"""What a JSON text is, by its first character."""

_Scalar = str | int | float | bool | None
_Part = TypeVar("_Part")


class Block(Struct, gc=False):
    """A block of a prompt, or a tool."""

    type: str | None = None
    cache_control: Raw = ABSENT
    source: Raw = ABSENT
    content: Raw = ABSENT


class Message(Struct, gc=False):
    """A turn of the conversation; a `content` that is a text may be given as an empty one."""

    content: str | list[Block] | None = None


_PLAIN: Final = Message([Block("text")])
"""What most messages are, as far as it is looked at: passed over at once."""


class _Fields(Struct, gc=False):
    """What stands beside the prompt's texts."""

    model: _Scalar = None
    max_tokens: _Scalar = None
    stream: _Scalar = None
    speed: _Scalar = None
    tools: list[Block] | None = None
    tool_choice: Raw = ABSENT
    cache_control: Raw = ABSENT


class MessageBody(_Fields, gc=False):
    """A body; the upstream judges what of it is missing or wrong."""

    system: str | list[Block] | None = None
    messages: list[Message] | None = None

    def is_marked(self, special: list[Block]) -> bool:
        """Whether anything is marked for caching, with the special blocks of the messages."""
        if self.cache_control is not ABSENT:
            return True
        for blocks in (special, self.tools, self.system):
            if isinstance(blocks, list):
                for block in blocks:
                    if block.cache_control is not ABSENT:
                        return True
        return False

    def special_blocks(self) -> list[Block]:
        """The blocks of messages that are marked for caching, or may hold other things than text."""
        return [
            block
            for message in self.messages or ()
            if message != _PLAIN and type(message.content) is list
            for block in message.content
            if block.cache_control is not ABSENT or block.source is not ABSENT or block.content is not ABSENT
        ]


class _TextMessage(Struct, gc=False):
    content: Raw = ABSENT


class _TextBody(_Fields, gc=False):
    """As `MessageBody`, with texts that are not made strings of."""

    system: Raw = ABSENT
    messages: list[_TextMessage] | None = None


class _Outline(Struct, gc=False):
    """Of a body whose parts have other shapes than the API takes."""

    model: Raw = ABSENT
    max_tokens: Raw = ABSENT
    stream: Raw = ABSENT
    speed: Raw = ABSENT


_BODY: Final = Decoder(MessageBody).decode
_TEXT_BODY: Final = Decoder(_TextBody).decode
_CONTENT_BLOCKS: Final = Decoder(list[Block] | None).decode
_OUTLINE: Final = Decoder(_Outline).decode
_SCALAR: Final[Callable[[Raw], _Scalar]] = Decoder(_Scalar).decode


def read_body(body: bytes, *, only_outline: bool = False) -> tuple[bytes, MessageBody]:
    """A body, and the text that its parts are slices of: `body`, unless that is not quite JSON, but Python takes it so.

    `only_outline`: without `tools`, `system` and `messages`.

    Raises:
        ValueError: the body is not a JSON object, in words for its sender.
        RecursionError: it is nested too deeply.
    """
    text = body.removeprefix(_BOM)
    try:
        return text, _read(text, only_outline=only_outline)
    except ValidationError:
        first = text.lstrip(_SPACE)[:1].decode()
        raise ValueError(f"the body must be a JSON object, got {_VALUES[first]}") from None
    except (DecodeError, UnicodeDecodeError) as error:
        text = _strict(text, error)
    return read_body(text, only_outline=only_outline)


def part(decode: Callable[[Raw], _Part], raw: Raw) -> _Part | None:
    """A part of a body; None if it has another shape than the API takes."""
    try:
        return decode(raw)
    except (ValidationError, UnicodeDecodeError):
        return None


def _read(text: bytes, *, only_outline: bool) -> MessageBody:
    """Raises `ValidationError` for what is no object."""
    if not only_outline:
        try:
            return _texts(_TEXT_BODY(text)) if _begins_with_a_long_text(text) else _BODY(text)
        except ValidationError:
            pass
    outline = _OUTLINE(text)
    return MessageBody(
        _scalar(outline.model), _scalar(outline.max_tokens), _scalar(outline.stream), _scalar(outline.speed)
    )


def _begins_with_a_long_text(text: bytes) -> bool:
    """Whether the first message is a long text, and no list of blocks. Inside of a text, quotes follow a backslash."""
    if len(text) < _LONG_TEXT_BYTES:
        return False
    content = _CONTENT.search(text, 0, _FIRST_FIELDS_BYTES)
    if content is None:
        return False
    start = content.end()
    return text[start] == _QUOTE and text.find(b"}", start, start + _LONG_TEXT_BYTES) < 0


def _texts(body: _TextBody) -> MessageBody:
    """Raises `ValidationError` where a content is neither a text nor a list of blocks."""
    return MessageBody(
        body.model,
        body.max_tokens,
        body.stream,
        body.speed,
        body.tools,
        body.tool_choice,
        body.cache_control,
        _content(body.system),
        None if body.messages is None else [Message(_content(message.content)) for message in body.messages],
    )


def _content(raw: Raw) -> str | list[Block] | None:
    """Of a text only that it is one."""
    if raw is ABSENT:
        return None
    return "" if memoryview(raw)[0] == _QUOTE else _CONTENT_BLOCKS(raw)


def _scalar(raw: Raw) -> _Scalar:
    return part(_SCALAR, raw) if 0 < len(memoryview(raw)) <= _MAX_VALUE_BYTES else None


def _strict(text: bytes, fault: Exception) -> bytes:
    """As JSON what Python writes and takes as such: no numbers that are none, and no halves of characters."""
    if len(text) <= _MAX_LENIENT_BYTES:
        with suppress(ValueError):
            value: Any = json.loads(text, parse_constant=_finite, parse_float=_finite)
            return json.dumps(value, ensure_ascii=False).encode(errors="replace")
    raise ValueError(f"The request body is not valid JSON: {_fault(text) or fault}")


def _finite(number: str) -> float | None:
    value = float(number)
    return value if isfinite(value) else None


def _fault(text: bytes) -> str:
    """What is wrong with a short text, in the API's words, which are orjson's; empty for a long one: it takes time.

    Source: answers that are quoted in anthropics/claude-code issues 8272, 9586 and 77525.
    """
    if len(text) <= _MAX_FAULTY_BYTES:
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError as error:
            return str(error)
    return ""
