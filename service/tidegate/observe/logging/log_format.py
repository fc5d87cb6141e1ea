"""How a log line looks: as JSON for machines, or for a person at a console; every logger's alike."""

import datetime as dt
import json
import time
import traceback
from collections.abc import MutableMapping
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog
from msgspec import Struct, to_builtins
from msgspec.json import Encoder
from structlog.typing import EventDict, WrappedLogger

from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.observe.tracing.span_observer import current_exemplar

if TYPE_CHECKING:
    import logging

__all__ = [
    "REQUEST_ID",
    "add_error",
    "add_origin",
    "add_span",
    "add_timestamp",
    "as_console",
    "as_json",
    "struct_as_json",
    "time_text",
]

REQUEST_ID: Final[ContextVar[str]] = ContextVar("tidegate_request_id", default="")
"""The id of the request that is worked on: structlog's own variables take ten times as long to set."""

_FIRST: Final = ("timestamp", "level", "logger", "event")
"""What a person looks for first stands first."""
_JSON: Final = json.JSONEncoder(default=repr)
_encode: Final = Encoder().encode


def add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Adds the id of the request that is worked on, if there is one."""
    request_id = REQUEST_ID.get()
    if request_id:
        event["request_id"] = request_id
    return event


def add_timestamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Adds the time of day: UTC, RFC 3339, microseconds."""
    event["timestamp"] = time_text(time.time_ns())
    return event


def time_text(unix_ns: int) -> str:
    """A time of day as it stands in a line."""
    seconds, ns = divmod(unix_ns, NS_PER_SECOND)
    return f"{_second_text(seconds)}.{ns // 1_000:06d}+00:00"


@lru_cache(maxsize=1)
def _second_text(unix_seconds: int) -> str:
    return dt.datetime.fromtimestamp(unix_seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def add_origin(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Adds level and logger of a line of the standard library's `logging`."""
    record: logging.LogRecord = event["_record"]
    event["level"] = record.levelname.lower()
    event["logger"] = record.name
    return event


def add_span(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Adds the ids of the span around the caller, if there is one and it is sampled."""
    event.update(current_exemplar() or {})
    return event


def add_error(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Adds an error as its type and the places it came through; its message only where that is known to be harmless.

    The messages of other errors may quote what was being worked on: a prompt, an answer, a header with a key.
    """
    exc_info = event.pop("exc_info", None)
    error = exc_info[1] if exc_info else None
    if error is not None:
        event["error"] = _chain(error)
        event["frames"] = [
            f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
        ]
    return event


def as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """One line of JSON, ASCII only: nothing inside a value can start a line of its own."""
    if next(iter(event), "") != _FIRST[0]:
        event = {**{name: event.pop(name) for name in _FIRST if name in event}, **event}
    try:
        line = orjson.dumps(event, default=repr)
    except TypeError:  # numbers beyond 64 bits, text that is no Unicode
        return _JSON.encode(event)
    return line.decode() if line.isascii() else _JSON.encode(event)


def struct_as_json(line: Struct) -> str:
    """The same of a struct, fields in its order."""
    try:
        text = _encode(line)
    except UnicodeEncodeError:  # text that is no Unicode
        return _JSON.encode(to_builtins(line))
    return text.decode() if text.isascii() else _JSON.encode(to_builtins(line))


def as_console(*, colors: bool) -> structlog.typing.Processor:
    """A line for a person; values with control characters are quoted, so that they cannot paint the terminal."""
    renderer = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0, sort_keys=False)

    def render(logger: WrappedLogger, method: str, event: MutableMapping[str, Any]) -> str:
        event["event"] = str(event["event"]) if str(event["event"]).isprintable() else repr(event["event"])
        return str(renderer(logger, method, event))

    return render


def _chain(error: BaseException) -> str:
    """The error and what it came from, outermost first."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(parts) < 5:
        name = f"{type(cause).__module__}.{type(cause).__qualname__}".removeprefix("builtins.")
        harmless = isinstance(cause, OSError)
        parts.append(f"{name}: {cause}" if harmless else name)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return ", from ".join(parts)
