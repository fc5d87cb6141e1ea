"""Logging of the service: one line per call, and whatever the process's loggers say, all in one form."""

import asyncio
import logging
import sys
from typing import Any, Final, Literal, TextIO

from structlog.contextvars import merge_contextvars
from structlog.stdlib import ProcessorFormatter
from structlog.typing import Processor

from tidegate.core.events import HeadRefused, RequestFinished
from tidegate.observe.log_lines import (
    add_error,
    add_origin,
    add_request_id,
    add_span,
    add_timestamp,
    as_console,
    as_json,
    now_text,
)

__all__ = ["LogFormat", "RequestLog", "open_logs"]

LogFormat = Literal["auto", "json", "console"]

_OWN_LOGGERS: Final = ("tidegate", "services")
"""Those that the configured level is for, the older module's names among them.

Others stay at WARNING: at DEBUG the SDK logs whole requests, prompts included.
"""
_LOGGER: Final = "tidegate.requests"
_WRITE_SECONDS: Final = 0.02
"""A line may wait so long for others, to be written with them: each write takes as long as making ten lines."""
_LONGEST_TEXT: Final = 120
"""Models and paths are whatever a client sends."""


class RequestLog:
    """Writes one line for each call that ended, at INFO; listens to `FanOut`.

    Args:
        stream: where lines go; what cannot be written is dropped, because no call must fail for its log line.
        render: makes the text of a line.
    """

    def __init__(self, stream: TextIO, render: Processor) -> None:
        self._stream = stream
        self._render = render
        self._lines: list[str] = []

    def hear(self, event: RequestFinished) -> None:
        """Writes the line of a call that ended."""
        self._add(_fields(event))

    def hear_refused(self, event: HeadRefused) -> None:
        """Writes the line of what would have become a call."""
        self._add(_line("head refused", {"status": event.status, "client": event.client}))

    def _add(self, fields: dict[str, Any]) -> None:
        self._lines.append(f"{self._render(None, 'info', fields)!s}\n")
        if len(self._lines) > 1:
            return
        try:
            asyncio.get_running_loop().call_later(_WRITE_SECONDS, self.write)  # what else ends soon goes with it
        except RuntimeError:  # no loop is running
            self.write()

    def write(self) -> None:
        """Writes the lines that wait: at the end of the process, too."""
        lines, self._lines = self._lines, []
        try:
            self._stream.write("".join(lines))  # one call: lines of several threads do not mix
            self._stream.flush()
        except (OSError, ValueError):  # closed, or its reader has gone
            return


def open_logs(level: str, form: LogFormat, stream: TextIO | None = None) -> RequestLog | None:
    """Sends all log records of the process to a stream (default: stderr), in one form.

    Records carry the request's id, what `structlog.contextvars` has bound, and the ids of the current span.

    Args:
        level: the least level of our own loggers: `debug`, `info`, `warning` or `error`.
        form: `json`, `console`, or `auto`, which is `console` on a terminal.
        stream: where lines go.

    Returns:
        what logs the calls; None when the level leaves them out.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    render = as_console(colors=terminal) if form == "console" or (form == "auto" and terminal) else as_json
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[merge_contextvars, add_request_id, add_span, add_timestamp, add_origin, add_error],
            processors=[ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in _OWN_LOGGERS:
        logging.getLogger(name).setLevel(level.upper())
    return RequestLog(stream, render) if level in {"debug", "info"} else None


def _fields(event: RequestFinished) -> dict[str, Any]:
    # What a logger of structlog would do, without its copies of the fields: every call comes by here.
    fields: dict[str, Any] = {
        "timestamp": now_text(),
        "level": "info",
        "logger": _LOGGER,
        "event": "request",
        "route": event.route,
        "caller": event.caller.label,
        "pool": event.pool,
        "model": event.model,
        "status": event.status,
        "outcome": event.outcome,
        "queue_ms": _ms(event.queued_ns),
        "attempts": event.attempts,
        "duration_ms": _ms(event.duration_ns),
        "request_id": event.request_id,
    }
    if len(event.route) + len(event.pool) + len(event.model) > _LONGEST_TEXT:
        fields.update((name, _shortened(fields[name])) for name in ("route", "pool", "model"))
    if event.cause is not None:
        fields["cause"] = event.cause.value
    if (usage := event.usage) is not None:
        fields["input_tokens"] = usage.input_tokens
        fields["output_tokens"] = usage.output_tokens
        fields["cache_read_tokens"] = usage.cache_read_tokens
        fields["cache_creation_tokens"] = usage.cache_creation_tokens
    if event.exemplar is not None:
        fields.update(event.exemplar)
    return fields


def _ms(ns: int) -> float:
    """Milliseconds to three places; `round` on a fraction takes five times as long."""
    return (ns + 500) // 1_000 / 1_000


def _line(event: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"timestamp": now_text(), "level": "info", "logger": _LOGGER, "event": event, **fields}


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
