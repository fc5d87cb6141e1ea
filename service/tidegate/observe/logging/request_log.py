"""Sets up logging: one line per call, and the records of all loggers in the same format."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Final, Literal, TextIO

from msgspec import Struct, to_builtins
from structlog.contextvars import merge_contextvars
from structlog.stdlib import ProcessorFormatter

from tidegate.core.domain.events import HeadRefused, RequestFinished
from tidegate.observe.logging.log_format import (
    add_error,
    add_origin,
    add_request_id,
    add_span,
    add_timestamp,
    as_console,
    as_json,
    struct_as_json,
)
from tidegate.observe.logging.request_lines import request_line

__all__ = ["LogFormat", "RequestLog", "open_logs"]

LogFormat = Literal["auto", "json", "console"]

_OWN_LOGGERS: Final = ("tidegate", "services")
"""Loggers that the configured level applies to; `services` is the older API.

All others stay at WARNING: at DEBUG, the Anthropic SDK logs whole requests, prompts included.
"""
_FLUSH_SECONDS: Final = 0.02
"""The time that a line waits to be written together with others. One write takes as long as rendering ten lines, and
lines rendered together take a third of the time each."""
_MAX_PENDING: Final = 64
"""Rendering this many takes 0.1 ms, which bounds the delay of the call that triggers it."""


class RequestLog:
    """Writes one line at INFO for each call that ended.

    Args:
        stream: where lines go. A line that cannot be written is dropped: no call fails because of its log line.
        render: returns the text of a line.

    Attributes:
        is_enabled: whether the log level includes INFO; if not, no lines are written.
        on_line: receives each line as well; it must not raise or block.
    """

    def __init__(self, stream: TextIO, render: Callable[[Struct], str]) -> None:
        self.is_enabled = True
        self.on_line: Callable[[Struct], None] | None = None
        self._stream = stream
        self._render = render
        self._pending: list[tuple[int, RequestFinished | HeadRefused]] = []

    def log(self, event: RequestFinished | HeadRefused) -> None:
        """Writes the line of the event, within 20 ms."""
        if not self.is_enabled:
            return
        self._pending.append((time.time_ns(), event))
        count = len(self._pending)
        if count >= _MAX_PENDING:
            self.flush()
        elif count == 1:
            try:
                asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)
            except RuntimeError:  # no running loop
                self.flush()

    def flush(self) -> None:
        """Writes the pending lines. Must also be called when the process ends."""
        pending, self._pending = self._pending, []
        lines = [request_line(event, unix_ns) for unix_ns, event in pending]
        if self.on_line is not None:
            for line in lines:
                self.on_line(line)
        try:
            self._stream.write(
                "\n".join((*map(self._render, lines), ""))
            )  # one write: lines of several threads do not interleave
            self._stream.flush()
        except (OSError, ValueError):  # the stream or its reader is closed
            return

    def set_level(self, level: str) -> None:
        """Sets the lowest level of Tidegate's own loggers and of this log: `debug`, `info`, `warning` or `error`."""
        for name in _OWN_LOGGERS:
            logging.getLogger(name).setLevel(level.upper())
        self.is_enabled = level in {"debug", "info"}


def open_logs(level: str, form: LogFormat, stream: TextIO | None = None) -> RequestLog:
    """Sends all log records of the process to a stream, in one format.

    Records carry the request id, variables bound with `structlog.contextvars`, and the ids of the current span.

    Args:
        level: as `RequestLog.set_level`.
        form: `json`, `console`, or `auto`, which is `console` on a terminal.
        stream: where lines go; default: stderr.

    Returns:
        the log of calls.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    colors = terminal and not os.environ.get("NO_COLOR")
    console = as_console(colors=colors) if form == "console" or (form == "auto" and terminal) else None
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[merge_contextvars, add_request_id, add_span, add_timestamp, add_origin, add_error],
            processors=[ProcessorFormatter.remove_processors_meta, console or as_json],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    if console is None:
        log = RequestLog(stream, struct_as_json)
    else:
        log = RequestLog(stream, lambda line: str(console(None, "info", to_builtins(line))))
    log.set_level(level)
    return log
