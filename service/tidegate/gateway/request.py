"""What the relay needs to know of a call: its route, and a few fields of a Messages body."""

import asyncio
import json
import re
from collections.abc import Generator
from typing import Final, NamedTuple

import orjson

from tidegate.core.errors import TidegateError
from tidegate.core.price import Prefix
from tidegate.core.prompt_size import PromptSize, tool_prompt_tokens
from tidegate.gateway.json_scan import NestedTooDeeplyError, NotJsonError, Scanner, Span
from tidegate.gateway.lenient_json import parsed
from tidegate.gateway.media import MEDIA_MARK, Medium, media_in, size_of
from tidegate.gateway.prefixes import PromptBlocks

__all__ = [
    "BATCHES_ROUTE",
    "COUNT_TOKENS_ROUTE",
    "MESSAGES_ROUTE",
    "InvalidCall",
    "MessageRequest",
    "most_body_bytes",
    "read_message",
    "route_of",
]

MESSAGES_ROUTE: Final = "/v1/messages"
COUNT_TOKENS_ROUTE: Final = "/v1/messages/count_tokens"
BATCHES_ROUTE: Final = "/v1/messages/batches"

_MB: Final = 1024 * 1024
_ROUTES: Final = (COUNT_TOKENS_ROUTE, BATCHES_ROUTE, "/v1/models", "/v1/files")
_WANTED: Final = frozenset({b"model", b"max_tokens", b"stream", b"cache_control", b"tools", b"tool_choice"})
_MOST_VALUE_BYTES: Final = 1_000
"""Names and numbers are shorter; what is longer, the upstream will refuse."""
_SHORT_BYTES: Final = 1024 * 1024
"""So much is parsed in less than half a millisecond."""
_BOM: Final = b"\xef\xbb\xbf"
_COUNT: Final = re.compile(rb"[0-9]{1,18}")
_VALUES: Final = {
    "[": "an array",
    '"': "a string",
    "t": "a boolean",
    "f": "a boolean",
    "n": "null",
    **dict.fromkeys("-0123456789", "a number"),
}
"""What a JSON text is, by its first character."""


class InvalidCall(TidegateError):
    """A call that is answered here with a client error, because it cannot be sent on as it is.

    Attributes:
        status: HTTP status.
        error_type: Anthropic `error.type`.
    """

    def __init__(self, message: str, *, status: int = 400, error_type: str = "invalid_request_error") -> None:
        self.status = status
        self.error_type = error_type
        super().__init__(message)


class MessageRequest(NamedTuple):
    """What the limiter needs of a Messages body, as far as it can be read; the upstream judges the rest.

    Attributes:
        model: empty when it is missing or no string.
        max_tokens: None when it is missing or no whole number from 0.
        size: what the body holds.
        prefixes: the beginnings of the prompt that may be cached; none where nothing is marked for caching.
        stream: whether the answer is to come as an event stream.
    """

    model: str
    max_tokens: int | None
    size: PromptSize
    prefixes: tuple[Prefix, ...] = ()
    stream: bool = False


def route_of(path: str) -> str:
    """The route of a `/v1/…` path, from a closed set: fit for a metric label."""
    if path == MESSAGES_ROUTE:
        return MESSAGES_ROUTE
    return next((route for route in _ROUTES if path == route or path.startswith(f"{route}/")), "/v1/other")


def most_body_bytes(route: str) -> int:
    """The upstream's limit for request bodies. Source: Claude Platform Docs, "Claude API errors" (read 2026-11-24)."""
    return 32 * _MB if route in {MESSAGES_ROUTE, COUNT_TOKENS_ROUTE} else 500 * _MB


async def read_message(body: bytes) -> MessageRequest:
    """Reads a body of `POST /v1/messages`; a long one in slices, between which the event loop gets its turn.

    Raises:
        InvalidCall: the body is not a JSON object.
    """
    try:
        if len(body) <= _SHORT_BYTES and b"cache_control" not in body:
            return _parsed(body)
        steps = _scanned(body)
        while True:
            next(steps)
            await asyncio.sleep(0)
    except StopIteration as end:
        message: MessageRequest = end.value
        return message
    except (NestedTooDeeplyError, RecursionError):
        raise InvalidCall("the body is nested too deeply to be read as JSON") from None
    except ValueError as error:
        raise InvalidCall(f"The request body is not valid JSON: {_fault(body) or error}") from None


def _parsed(body: bytes) -> MessageRequest:
    """The same as `_scanned`, at a fifth of its cost, as long as the whole text is short."""
    fields = parsed(body)
    if not isinstance(fields, dict):
        raise _no_object(json.dumps(fields)[0])
    model, max_tokens = fields.get("model"), fields.get("max_tokens")
    is_count = isinstance(max_tokens, int) and not isinstance(max_tokens, bool) and 0 <= max_tokens < 10**18
    model = model if isinstance(model, str) else ""
    media = media_in(fields.get("messages"))
    return MessageRequest(
        model,
        max_tokens if is_count else None,
        _size(model, len(body), media, has_tools=bool(fields.get("tools")), tool_choice=fields.get("tool_choice")),
        stream=fields.get("stream") is True,
    )


def _size(model: str, body_bytes: int, media: list[Medium], *, has_tools: bool, tool_choice: object) -> PromptSize:
    if not media and not has_tools:
        return PromptSize(body_bytes)
    fixed_tokens = 0
    if has_tools:
        forced = isinstance(tool_choice, dict) and tool_choice.get("type") in ("any", "tool")
        fixed_tokens = tool_prompt_tokens(model, forced=forced)
    return size_of(model, body_bytes, media).plus(PromptSize(fixed_tokens=fixed_tokens))


def _fault(body: bytes) -> str:
    """What is wrong with a short text, in the API's words, which are orjson's; empty for a long one: it takes time.

    Source: answers that are quoted in anthropics/claude-code issues 8272, 9586 and 77525.
    """
    if len(body) <= _SHORT_BYTES:
        try:
            orjson.loads(body)
        except orjson.JSONDecodeError as error:
            return str(error)
    return ""


def _no_object(first: str) -> InvalidCall:
    return InvalidCall(f"the body must be a JSON object, got {_VALUES[first]}")


def _scanned(body: bytes) -> Generator[None, None, MessageRequest]:
    scanner = Scanner(body)
    start = scanner.skip_space(len(_BOM) if body.startswith(_BOM) else 0)
    first = body[start : start + 1].decode("latin-1")
    if first != "{":
        if first in _VALUES:
            raise _no_object(first)
        raise NotJsonError(start, "no value" if first else "an unexpected end")
    found: dict[bytes, Span] = {}
    is_marked = yield from scanner.contains(b"cache_control")
    has_media = yield from scanner.contains(MEDIA_MARK)
    blocks = PromptBlocks(scanner, has_media=has_media) if is_marked or has_media else None
    end = scanner.skip_space((yield from scanner.members(start, blocks.readers() if blocks else {}, _WANTED, found)))
    if end != len(body):
        raise NotJsonError(end, "something after the object")

    def text(name: bytes) -> bytes:
        span = found.get(name)
        return b"" if span is None or span.end - span.start > _MOST_VALUE_BYTES else body[span.start : span.end]

    model, max_tokens = _value(text(b"model")), text(b"max_tokens")
    model = model if isinstance(model, str) else ""
    if blocks is not None:
        has_tools, media = blocks.has_tools, blocks.media
    else:
        tools = found.get(b"tools", Span(0, 0))
        has_tools, media = body[tools.start : tools.start + 1] == b"[" and tools.end - tools.start > len("[]"), []
    size = _size(model, len(body), media, has_tools=has_tools, tool_choice=_value(text(b"tool_choice")))
    prefixes: tuple[Prefix, ...] = ()
    if blocks is not None and is_marked:
        prefixes = yield from blocks.prefixes(model, size.fixed_tokens, is_marked=b"cache_control" in found)
    return MessageRequest(
        model,
        int(max_tokens) if _COUNT.fullmatch(max_tokens) else None,
        size,
        prefixes,
        stream=text(b"stream") == b"true",
    )


def _value(text: bytes) -> object:
    """The value that a JSON text stands for; None if it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None
