"""What the relay needs to know of a call: its route, and a few fields of a Messages body."""

import asyncio
import re
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Final

from msgspec import Struct
from msgspec.json import Decoder

from tidegate.core.domain.errors import TidegateError
from tidegate.core.pricing.cost_estimator import Prefix
from tidegate.core.pricing.prompt_size import PromptSize, tool_prompt_tokens
from tidegate.gateway.receive.cache_prefixes import prefixes_of
from tidegate.gateway.receive.media import media_in, size_of
from tidegate.gateway.receive.message_body import ABSENT, MessageBody, part, read_body

__all__ = [
    "BATCHES_ROUTE",
    "COUNT_TOKENS_ROUTE",
    "MESSAGES_ROUTE",
    "OTHER_ROUTE",
    "InvalidCall",
    "MessageRequest",
    "check_target",
    "max_body_bytes",
    "read_message",
    "route_of",
]

MESSAGES_ROUTE: Final = "/v1/messages"
COUNT_TOKENS_ROUTE: Final = "/v1/messages/count_tokens"
BATCHES_ROUTE: Final = "/v1/messages/batches"
OTHER_ROUTE: Final = "/v1/other"

_MESSAGES_TARGET: Final = MESSAGES_ROUTE.encode()
_AMBIGUOUS: Final = re.compile(rb"//|/\.{1,2}(?:/|$)|/$|\\|%2f|%5c|[^!-~]", re.IGNORECASE)
_REFUSED_METHODS: Final = frozenset({"TRACE", "CONNECT"})
_MB: Final = 1024 * 1024
_ROUTES: Final = (COUNT_TOKENS_ROUTE, BATCHES_ROUTE, "/v1/models", "/v1/files")
_LONG_BYTES: Final = 1024 * 1024
"""What is longer is looked over first; that takes a third of a millisecond for so much."""
_SLICE_BYTES: Final = 256 * 1024
_MAX_VALUES: Final = 2_000_000
"""Commas, brackets and texts of a body. Decoding passes over so many in 60 ms at worst. Prompts are no longer than a
million tokens, so only a prompt of a quarter of a million blocks has more."""
_REST_OF_TEXT: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
"""A text from within, up to its closing quote, or to where the search ends; there, half of an escape is left out."""
_TEXT: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+("?)', re.DOTALL)
"""The same from its opening quote on, with its closing quote, if it has one, as a group."""
_MAX_OBJECTS: Final = 100_000
"""So many are decoded in twenty milliseconds."""
_OBJECT: Final = re.compile(rb'\{[ \t\n\r]*+["}]')
"""The beginning of an object; inside of a string, the quote would follow a backslash."""


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


class MessageRequest(Struct, frozen=True, gc=False):
    """What the limiter needs of a Messages body, as far as it can be read; the upstream judges the rest.

    Attributes:
        model: empty when it is missing or no string.
        max_tokens: None when it is missing or no whole number from 0.
        size: what the body holds.
        prefixes: the beginnings of the prompt that may be cached; none where nothing is marked for caching.
        stream: whether the answer is to come as an event stream.
        is_fast: whether it asks for fast mode, which has limits and prices of its own.
    """

    model: str
    max_tokens: int | None
    size: PromptSize
    prefixes: tuple[Prefix, ...] = ()
    stream: bool = False
    is_fast: bool = False


def route_of(path: str) -> str:
    """The route of a `/v1/…` path, from a closed set: fit for a metric label."""
    if path == MESSAGES_ROUTE:
        return MESSAGES_ROUTE
    return next((route for route in _ROUTES if path == route or path.startswith(f"{route}/")), OTHER_ROUTE)


def max_body_bytes(route: str) -> int:
    """The upstream's limit for request bodies. Source: Claude Platform Docs, "Claude API errors" (read 2026-11-24)."""
    return 32 * _MB if route in {MESSAGES_ROUTE, COUNT_TOKENS_ROUTE} else 500 * _MB


def check_target(method: str, raw_path: bytes) -> None:
    """Checks that a call means the same to everybody on its way.

    An upstream or a proxy may normalise a path to another one, which draws on another pool or leaves the base URL.

    Raises:
        InvalidCall: the path has another reading; or the method is CONNECT, or TRACE, whose answer shows our key.
    """
    if method in _REFUSED_METHODS:
        raise InvalidCall(f"method: got {method!r}, allowed is any other", status=405)
    if raw_path != _MESSAGES_TARGET and _AMBIGUOUS.search(raw_path.replace(b"%2e", b".").replace(b"%2E", b".")):
        given = raw_path[:80].decode("latin-1")
        allowed = "ASCII without //, dot segments, encoded or backward slashes, or a slash at the end"
        raise InvalidCall(f"path: got {given!r}, allowed is {allowed}")


class _ToolChoice(Struct, gc=False):
    type: str | None = None


_TOOL_CHOICE: Final = Decoder(_ToolChoice).decode


async def read_message(body: bytes) -> MessageRequest:
    """Reads a body of `POST /v1/messages`; in a long one, the event loop gets its turn now and then.

    Of more objects than fit into a prompt only the fields beside them are read.

    Raises:
        InvalidCall: the body is not a JSON object, or has more values than any prompt.
    """
    is_crowded = False
    if len(body) > _LONG_BYTES:
        if await _count(partial(_marks, body), len(body), _MAX_VALUES) > _MAX_VALUES:
            await _check_values(body)
        if await _count(partial(body.count, b","), len(body), _MAX_OBJECTS) > _MAX_OBJECTS:
            is_crowded = await _count(partial(_objects, body), len(body), _MAX_OBJECTS) > _MAX_OBJECTS
    try:
        text, fields = read_body(body, only_outline=is_crowded)
        return await _message(body, text, fields)
    except RecursionError:
        raise InvalidCall("the body is nested too deeply to be read as JSON") from None
    except UnicodeDecodeError as error:
        raise InvalidCall(f"The request body is not valid JSON: {error}") from None
    except ValueError as error:
        raise InvalidCall(str(error)) from None


async def _message(body: bytes, text: bytes, fields: MessageBody) -> MessageRequest:
    model = fields.model if isinstance(fields.model, str) else ""
    max_tokens = fields.max_tokens
    size = PromptSize(len(body))
    prefixes: tuple[Prefix, ...] = ()
    special = fields.special_blocks()
    media = await media_in(special) if special else {}
    if media or fields.tools:
        fixed = PromptSize(fixed_tokens=_tool_prompt_tokens(model, fields) if fields.tools else 0)
        size = size_of(model, len(body), chain.from_iterable(media.values())).plus(fixed)
    if fields.is_marked(special):
        prefixes = await prefixes_of(model, text, fields, media, size.fixed_tokens)
    return MessageRequest(
        model,
        max_tokens if type(max_tokens) is int and 0 <= max_tokens < 10**18 else None,
        size,
        prefixes,
        fields.stream is True,
        fields.speed == "fast",
    )


def _tool_prompt_tokens(model: str, fields: MessageBody) -> int:
    choice = part(_TOOL_CHOICE, fields.tool_choice) if fields.tool_choice is not ABSENT else None
    return tool_prompt_tokens(model, forced=choice is not None and choice.type in ("any", "tool"))


async def _count(count_between: Callable[[int, int], int], body_bytes: int, most: int) -> int:
    """How much there is of something in a body; if more than `most`, any number above that."""
    count = 0
    for start in range(0, body_bytes, _SLICE_BYTES):
        count += count_between(start, start + _SLICE_BYTES)
        if count > most:
            break
        await asyncio.sleep(0)
    return count


def _marks(body: bytes, start: int, end: int) -> int:
    """Counts commas and opening brackets. Those within texts count, too: this is fast, and enough for most bodies."""
    return body.count(b",", start, end) + body.count(b"[", start, end) + body.count(b"{", start, end)


async def _check_values(body: bytes) -> None:
    """Counts values, without what is within texts.

    Raises:
        InvalidCall: there are more than decoding can pass over in a short time.
    """
    values = start = 0
    is_within = False  # whether a text goes on at `start`
    while start < len(body):
        end = min(start + _SLICE_BYTES, len(body))
        if is_within:
            rest = _REST_OF_TEXT.match(body, start, end)
            text_end = rest.end() if rest is not None else start  # it always matches
            is_within = not body.startswith(b'"', text_end)
            start = text_end + (not is_within)
            if is_within and text_end >= len(body) - 1:  # the text does not end; the last byte may be a backslash
                return
        else:
            parts = _TEXT.split(body[start:end])  # what is outside of texts, and between, whether each text ends
            outside = b"".join(parts[::2])
            is_within = len(parts) > 1 and not parts[-2]
            values += _marks(outside, 0, len(outside)) + len(parts) // 2
            start = end - (is_within and parts[-1] == b"\\")  # half of an escape
        if values > _MAX_VALUES:
            raise InvalidCall(
                f"the body has more than {_MAX_VALUES:,} JSON values, which no prompt has",
                status=413,
                error_type="request_too_large",
            )
        await asyncio.sleep(0)


def _objects(body: bytes, start: int, end: int) -> int:
    return len(_OBJECT.findall(body, start, end))
