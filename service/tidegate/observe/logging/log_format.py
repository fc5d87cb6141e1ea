"""Formats log records as JSON or for a console, the same for all loggers."""

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
    "add_request_id",
    "add_span",
    "add_timestamp",
    "as_console",
    "as_json",
    "struct_as_json",
    "time_text",
]

REQUEST_ID: Final[ContextVar[str]] = ContextVar("tidegate_request_id", default="")
"""Id of the current request. Setting structlog's own context variables takes ten times as long."""

_FIRST: Final = ("timestamp", "level", "logger", "event")
"""Fields that come first in each line."""
_JSON: Final = json.JSONEncoder(default=repr)
_encode: Final = Encoder().encode


def add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Adds the id of the current request, if there is one."""
    request_id = REQUEST_ID.get()
    if request_id:
        event["request_id"] = request_id
    return event


def add_timestamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Adds the current time as `time_text` formats it."""
    event["timestamp"] = time_text(time.time_ns())
    return event


def time_text(unix_ns: int) -> str:
    """Formats a Unix time as UTC in RFC 3339, with microseconds."""
    seconds, ns = divmod(unix_ns, NS_PER_SECOND)
    return f"{_second_text(seconds)}.{ns // 1_000:06d}+00:00"


@lru_cache(maxsize=1)
def _second_text(unix_seconds: int) -> str:
    return dt.datetime.fromtimestamp(unix_seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def add_origin(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Adds level and logger name of a record of the standard library's `logging`."""
    record: logging.LogRecord = event["_record"]
    event["level"] = record.levelname.lower()
    event["logger"] = record.name
    return event


def add_span(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Adds the ids of the current span, if it is sampled."""
    event.update(current_exemplar() or {})
    return event


def add_error(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Adds an error's type, its causes and its stack frames. Only messages of `OSError` are included.

    Messages of other errors may quote the data in hand: a prompt, a response, a header with a key.
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
    """Renders one line of ASCII JSON, so that no value can start a new line."""
    if next(iter(event), "") != _FIRST[0]:
        event = {**{name: event.pop(name) for name in _FIRST if name in event}, **event}
    try:
        line = orjson.dumps(event, default=repr)
    except TypeError:  # numbers beyond 64 bits, lone surrogates
        return _JSON.encode(event)
    return line.decode() if line.isascii() else _JSON.encode(event)


def struct_as_json(line: Struct) -> str:
    """Renders a struct as `as_json` does, with the fields in their order."""
    try:
        text = _encode(line)
    except UnicodeEncodeError:  # lone surrogates
        return _JSON.encode(to_builtins(line))
    return text.decode() if text.isascii() else _JSON.encode(to_builtins(line))


def as_console(*, colors: bool) -> structlog.typing.Processor:
    """Returns a renderer for terminals. It quotes values with control characters, so that they have no effect there."""
    renderer = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0, sort_keys=False)

    def render(logger: WrappedLogger, method: str, event: MutableMapping[str, Any]) -> str:
        event["event"] = str(event["event"]) if str(event["event"]).isprintable() else repr(event["event"])
        return str(renderer(logger, method, event))

    return render


def _chain(error: BaseException) -> str:
    """The error and its causes, outermost first."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(parts) < 5:
        name = f"{type(cause).__module__}.{type(cause).__qualname__}".removeprefix("builtins.")
        harmless = isinstance(cause, OSError)
        parts.append(f"{name}: {cause}" if harmless else name)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return ", from ".join(parts)
