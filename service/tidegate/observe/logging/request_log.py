"""Logging of the service: one line per call, and whatever the process's loggers say, all in one form."""

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
from tidegate.observe.logging.request_lines import line_of

__all__ = ["LogFormat", "RequestLog", "open_logs"]

LogFormat = Literal["auto", "json", "console"]

_OWN_LOGGERS: Final = ("tidegate", "services")
"""Those that the configured level is for, the older module's names among them.

Others stay at WARNING: at DEBUG the SDK logs whole requests, prompts included.
"""
_WRITE_SECONDS: Final = 0.02
"""A line may wait so long for others, to be made and written with them: a write takes as long as making ten, and one
that is made amid a call as long as three that are made together."""
_MOST_WAITING: Final = 64
"""So many are made in a tenth of a millisecond: no call waits longer for them."""


class RequestLog:
    """Writes one line for each call that ended, at INFO; listens to `Observers`.

    Args:
        stream: where lines go; what cannot be written is dropped, because no call must fail for its log line.
        render: makes the text of a line.
    """

    def __init__(self, stream: TextIO, render: Callable[[Struct], str]) -> None:
        self._stream = stream
        self._render = render
        self._waiting: list[tuple[int, RequestFinished | HeadRefused]] = []

    def hear(self, event: RequestFinished) -> None:
        """Writes the line of a call that ended."""
        self._add(event)

    def hear_refused(self, event: HeadRefused) -> None:
        """Writes the line of what would have become a call."""
        self._add(event)

    def _add(self, event: RequestFinished | HeadRefused) -> None:
        self._waiting.append((time.time_ns(), event))
        waiting = len(self._waiting)
        if waiting >= _MOST_WAITING:
            self.write()
        elif waiting == 1:
            try:
                asyncio.get_running_loop().call_later(_WRITE_SECONDS, self.write)  # what else ends soon goes with it
            except RuntimeError:  # no loop is running
                self.write()

    def write(self) -> None:
        """Makes and writes the lines that wait: at the end of the process, too."""
        waiting, self._waiting = self._waiting, []
        lines = [self._render(line_of(event, unix_ns)) for unix_ns, event in waiting]
        try:
            self._stream.write("\n".join((*lines, "")))  # one call: lines of several threads do not mix
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
    for name in _OWN_LOGGERS:
        logging.getLogger(name).setLevel(level.upper())
    if level not in {"debug", "info"}:
        return None
    if console is None:
        return RequestLog(stream, struct_as_json)
    return RequestLog(stream, lambda line: str(console(None, "info", to_builtins(line))))
