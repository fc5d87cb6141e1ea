"""Reads what the relay needs to know of a request: its route, and a few members of a Messages body."""

import asyncio
import re
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Final

from msgspec import Struct
from msgspec.json import Decoder

from tidegate.core.domain.errors import TidegateError
from tidegate.core.pricing.message_shape import Prefix
from tidegate.core.pricing.prompt_size import PromptSize, tool_prompt_tokens
from tidegate.gateway.receive.cache_prefixes import prefixes_of
from tidegate.gateway.receive.media import media_in, size_of
from tidegate.gateway.receive.message_body import ABSENT, MessageBody, part, read_body
from tidegate.gateway.receive.object_mentions import may_create_objects, may_name_objects

__all__ = [
    "BATCHES_ROUTE",
    "COUNT_TOKENS_ROUTE",
    "MESSAGES_ROUTE",
    "OTHER_ROUTE",
    "InvalidCall",
    "MessageRequest",
    "check_target",
    "is_priced_later",
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
_PRICED_LATER: Final = re.compile(
    "/v1/(?:messages/batches|complete|chat/completions|sessions|sessions/[^/]+/events|deployments/[^/]+/run|dreams)"
)
_REFUSED_METHODS: Final = frozenset({"TRACE", "CONNECT"})
_MB: Final = 1024 * 1024
_ROUTES: Final = (COUNT_TOKENS_ROUTE, BATCHES_ROUTE, "/v1/models", "/v1/files")
_LONG_BYTES: Final = 1024 * 1024
"""The values of longer bodies are counted before decoding. That takes a third of a millisecond per megabyte."""
_SLICE_BYTES: Final = 256 * 1024
_MAX_VALUES: Final = 2_000_000
"""Limit of the commas, brackets and strings of a body. Decoding skips so many in 60 ms at worst. A prompt has at most a
million tokens, so that it has more only if it consists of a quarter of a million blocks."""
_REST_OF_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
"""The rest of a string, up to its closing quote, or to the end of the search, less half an escape there."""
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+("?)', re.DOTALL)
"""A string from its opening quote on; the group is its closing quote, if it is found."""
_MAX_OBJECTS: Final = 100_000
"""So many objects are decoded in 20 ms."""
_OBJECT: Final = re.compile(rb'\{[ \t\n\r]*+["}]')
"""The beginning of an object. Inside a string, the quote would follow a backslash."""


class InvalidCall(TidegateError):
    """A call that gets a client error from Tidegate, because it cannot be sent on.

    Attributes:
        status: HTTP status.
        error_type: Anthropic `error.type`.
    """

    def __init__(self, message: str, *, status: int = 400, error_type: str = "invalid_request_error") -> None:
        self.status = status
        self.error_type = error_type
        super().__init__(message)


class MessageRequest(Struct, frozen=True, gc=False):
    """The facts of a Messages body that the limiter needs, as far as it can be read. The upstream validates the body.

    Attributes:
        model: empty if it is missing or not a string.
        max_tokens: None if it is missing or not a whole number from 0.
        size: the size of the prompt.
        prefixes: the prefixes of the prompt that may be cached; none if nothing is marked for caching.
        stream: whether an event stream is requested.
        is_fast: whether fast mode is requested, which has limits and prices of its own.
        names_objects: whether it may name objects that belong to a tenant, if that is asked for.
        creates_objects: whether its response may name new objects.
    """

    model: str
    max_tokens: int | None
    size: PromptSize
    prefixes: tuple[Prefix, ...] = ()
    stream: bool = False
    is_fast: bool = False
    names_objects: bool = False
    creates_objects: bool = False


def route_of(path: str) -> str:
    """The route of a `/v1/…` path, from a closed set that is suitable for a metric label."""
    if path == MESSAGES_ROUTE:
        return MESSAGES_ROUTE
    return next((route for route in _ROUTES if path == route or path.startswith(f"{route}/")), OTHER_ROUTE)


def is_priced_later(method: str, path: str) -> bool:
    """Whether a call lets a model work, but its response does not say what that costs."""
    return method == "POST" and _PRICED_LATER.fullmatch(path) is not None


def max_body_bytes(route: str) -> int:
    """The upstream's limit for request bodies. Source: Claude Platform Docs, "Claude API errors" (read 2026-11-24)."""
    return 32 * _MB if route in {MESSAGES_ROUTE, COUNT_TOKENS_ROUTE} else 500 * _MB


def check_target(method: str, raw_path: bytes) -> None:
    """Checks that every hop reads the path in the same way.

    A proxy or the upstream may normalize a path to another one, which belongs to another pool or leaves the base URL.

    Raises:
        InvalidCall: the path is ambiguous; or the method is CONNECT, or TRACE, whose response shows the service's key.
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


async def read_message(body: bytes, *, finds_objects: bool = False) -> MessageRequest:
    """Reads a body of `POST /v1/messages`. While it reads a long one, other tasks run from time to time.

    If a body has more objects than any prompt, only its scalar members are read.

    Raises:
        InvalidCall: the body is not a JSON object, or has more values than any prompt.
    """
    is_crowded = False
    if len(body) > _LONG_BYTES:
        if await _count(partial(_separators, body), len(body), _MAX_VALUES) > _MAX_VALUES:
            await _check_values(body)
        if await _count(partial(body.count, b","), len(body), _MAX_OBJECTS) > _MAX_OBJECTS:
            is_crowded = await _count(partial(_objects, body), len(body), _MAX_OBJECTS) > _MAX_OBJECTS
    try:
        text, fields = read_body(body, only_outline=is_crowded)
        return await _message(body, text, fields, finds_objects=finds_objects)
    except RecursionError:
        raise InvalidCall("the body is nested too deeply to be read as JSON") from None
    except UnicodeDecodeError as error:
        raise InvalidCall(f"The request body is not valid JSON: {error}") from None
    except ValueError as error:
        raise InvalidCall(str(error)) from None


async def _message(body: bytes, text: bytes, fields: MessageBody, *, finds_objects: bool) -> MessageRequest:
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
        finds_objects and await may_name_objects(fields, special),
        finds_objects and may_create_objects(fields),
    )


def _tool_prompt_tokens(model: str, fields: MessageBody) -> int:
    choice = part(_TOOL_CHOICE, fields.tool_choice) if fields.tool_choice is not ABSENT else None
    return tool_prompt_tokens(model, forced=choice is not None and choice.type in ("any", "tool"))


async def _count(count_between: Callable[[int, int], int], body_bytes: int, limit: int) -> int:
    """A count over a body, slice by slice; if it exceeds `limit`, any number above that."""
    count = 0
    for start in range(0, body_bytes, _SLICE_BYTES):
        count += count_between(start, start + _SLICE_BYTES)
        if count > limit:
            break
        await asyncio.sleep(0)
    return count


def _separators(body: bytes, start: int, end: int) -> int:
    """Counts commas and opening brackets, also inside strings: this is fast, and sufficient for most bodies."""
    return body.count(b",", start, end) + body.count(b"[", start, end) + body.count(b"{", start, end)


async def _check_values(body: bytes) -> None:
    """Counts values outside of strings.

    Raises:
        InvalidCall: there are more than decoding can skip in a short time.
    """
    values = start = 0
    in_string = False  # whether a string continues at `start`
    while start < len(body):
        end = min(start + _SLICE_BYTES, len(body))
        if in_string:
            rest = _REST_OF_STRING.match(body, start, end)
            string_end = rest.end() if rest is not None else start  # it always matches
            in_string = not body.startswith(b'"', string_end)
            start = string_end + (not in_string)
            if in_string and string_end >= len(body) - 1:  # the string does not end; the last byte may be a backslash
                return
        else:
            # Alternately: bytes outside of strings, and the closing quote of a string.
            parts = _STRING.split(body[start:end])
            outside = b"".join(parts[::2])
            in_string = len(parts) > 1 and not parts[-2]
            values += _separators(outside, 0, len(outside)) + len(parts) // 2
            start = end - (in_string and parts[-1] == b"\\")  # half an escape
        if values > _MAX_VALUES:
            raise InvalidCall(
                f"the body has more than {_MAX_VALUES:,} JSON values, which no prompt has",
                status=413,
                error_type="request_too_large",
            )
        await asyncio.sleep(0)


def _objects(body: bytes, start: int, end: int) -> int:
    return len(_OBJECT.findall(body, start, end))
