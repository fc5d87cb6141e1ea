"""Decodes the parts of a `POST /v1/messages` body that the limiter needs. Everything else is skipped.

Decoding takes about a third of a millisecond per megabyte, and blocks the event loop for so long. Parts of type `Raw`
are slices of the text.
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
"""Stands for a missing part."""
_MAX_LENIENT_BYTES: Final = 256 * 1024
"""`json` reads and writes so much in 2 ms, or in 20 ms if it is brackets alone."""
_MAX_EXPLAINED_BYTES: Final = 1024 * 1024
"""The place of a syntax error in so much is found in a few milliseconds."""
_MAX_VALUE_BYTES: Final = 1_000
"""Names and numbers are shorter. The upstream will refuse longer ones."""
_LONG_TEXT_BYTES: Final = 8 * 1024
"""Building a string of this length takes longer than decoding a message twice."""
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
"""The type of a JSON text, by its first character."""

_Scalar = str | int | float | bool | None
_Part = TypeVar("_Part")


class Block(Struct, gc=False):
    """A block of a prompt, or a tool."""

    type: str | None = None
    cache_control: Raw = ABSENT
    source: Raw = ABSENT
    content: Raw = ABSENT
    file_id: Raw = ABSENT


class Message(Struct, gc=False):
    """A turn of the conversation. A `content` that is a string may be empty here."""

    content: str | list[Block] | None = None


_PLAIN: Final = Message([Block("text")])
"""Most messages, as far as they are decoded. They need no further look."""


class _Fields(Struct, gc=False):
    """The members beside the texts of the prompt."""

    model: _Scalar = None
    max_tokens: _Scalar = None
    stream: _Scalar = None
    speed: _Scalar = None
    tools: list[Block] | None = None
    tool_choice: Raw = ABSENT
    cache_control: Raw = ABSENT
    container: Raw = ABSENT


class MessageBody(_Fields, gc=False):
    """A body. The upstream validates it."""

    system: str | list[Block] | None = None
    messages: list[Message] | None = None

    def is_marked(self, special: list[Block]) -> bool:
        """Whether anything is marked for caching; `special` are the `special_blocks`."""
        if self.cache_control is not ABSENT:
            return True
        for blocks in (special, self.tools, self.system):
            if isinstance(blocks, list):
                for block in blocks:
                    if block.cache_control is not ABSENT:
                        return True
        return False

    def special_blocks(self) -> list[Block]:
        """The blocks of messages that are marked for caching, or may contain something other than text."""
        return [
            block
            for message in self.messages or ()
            if message != _PLAIN and type(message.content) is list
            for block in message.content
            if block.cache_control is not ABSENT
            or block.source is not ABSENT
            or block.content is not ABSENT
            or block.file_id is not ABSENT
        ]


class _TextMessage(Struct, gc=False):
    content: Raw = ABSENT


class _TextBody(_Fields, gc=False):
    """Like `MessageBody`, with raw texts, of which no strings are built."""

    system: Raw = ABSENT
    messages: list[_TextMessage] | None = None


class _Outline(Struct, gc=False):
    """The scalar members of a body whose parts have other types than the API accepts."""

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
    """Decodes a body; returns it with the text of which its parts are slices.

    The text is `body`, unless only Python's `json` accepts it: then it is written again as valid JSON. With
    `only_outline`, `tools`, `system` and `messages` are not decoded.

    Raises:
        ValueError: the body is not a JSON object; the text is for its sender.
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
    """Decodes a part of a body; None if it has another type than the API accepts."""
    try:
        return decode(raw)
    except (ValidationError, UnicodeDecodeError):
        return None


def _read(text: bytes, *, only_outline: bool) -> MessageBody:
    """Raises `ValidationError` if the text is not an object."""
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
    """Whether the first message is a long string, and not a list of blocks. In a string, quotes follow a backslash."""
    if len(text) < _LONG_TEXT_BYTES:
        return False
    content = _CONTENT.search(text, 0, _FIRST_FIELDS_BYTES)
    if content is None:
        return False
    start = content.end()
    return text[start] == _QUOTE and text.find(b"}", start, start + _LONG_TEXT_BYTES) < 0


def _texts(body: _TextBody) -> MessageBody:
    """Raises `ValidationError` if a content is neither a string nor a list of blocks."""
    return MessageBody(
        body.model,
        body.max_tokens,
        body.stream,
        body.speed,
        body.tools,
        body.tool_choice,
        body.cache_control,
        body.container,
        _content(body.system),
        None if body.messages is None else [Message(_content(message.content)) for message in body.messages],
    )


def _content(raw: Raw) -> str | list[Block] | None:
    """A list of blocks, or an empty string in place of any string."""
    if raw is ABSENT:
        return None
    return "" if memoryview(raw)[0] == _QUOTE else _CONTENT_BLOCKS(raw)


def _scalar(raw: Raw) -> _Scalar:
    return part(_SCALAR, raw) if 0 < len(memoryview(raw)) <= _MAX_VALUE_BYTES else None


def _strict(text: bytes, error: Exception) -> bytes:
    """Valid JSON in place of a text that only Python's `json` accepts: with NaN, or halves of surrogate pairs."""
    if len(text) <= _MAX_LENIENT_BYTES:
        with suppress(ValueError):
            value: Any = json.loads(text, parse_constant=_finite, parse_float=_finite)
            return json.dumps(value, ensure_ascii=False).encode(errors="replace")
    raise ValueError(f"The request body is not valid JSON: {_syntax_error(text) or error}")


def _finite(number: str) -> float | None:
    value = float(number)
    return value if isfinite(value) else None


def _syntax_error(text: bytes) -> str:
    """The syntax error of a short text, in the API's words, which are orjson's; empty for a long text.

    Source: responses quoted in anthropics/claude-code issues 8272, 9586 and 77525.
    """
    if len(text) <= _MAX_EXPLAINED_BYTES:
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError as error:
            return str(error)
    return ""
