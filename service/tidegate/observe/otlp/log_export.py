"""Exports log lines over OTLP beside stderr, with the ids of their spans."""

import contextlib
import logging
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct, to_builtins
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, ConsoleLogRecordExporter, LogRecordExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from tidegate import __version__
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.observe.logging.log_format import add_error, add_request_id, add_span
from tidegate.observe.otlp.blocking import within

__all__ = ["LogExport", "new_exporter"]

_LAST_SECONDS: Final = 3.0
"""Time for the last lines when the service stops: as for spans."""
_ITS_OWN: Final = ("opentelemetry", "grpc", "urllib3", "requests")
"""Loggers of the exporter: a line about a failed export must not cause the next one."""
_SEVERITIES: Final = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
}
_IN_RECORD: Final = frozenset({"timestamp", "level", "logger", "event", "trace_id", "span_id"})
"""Fields of a line that a log record of OpenTelemetry has a place of its own for."""


class LogExport(logging.Handler):
    """A handler of `logging`, and of the lines of calls. They carry the same fields as on stderr.

    Lines are exported in batches by a thread of the SDK. It drops what exceeds its queue.

    Args:
        exporters: where lines go.
        attributes: of this service, beside those of the environment.
    """

    def __init__(self, exporters: Iterable[LogRecordExporter], attributes: Mapping[str, str]) -> None:
        super().__init__()
        self._provider = LoggerProvider(Resource.create(attributes), shutdown_on_exit=False)
        for exporter in exporters:
            self._provider.add_log_record_processor(BatchLogRecordProcessor(exporter))

    def emit(self, record: logging.LogRecord) -> None:
        """Exports a record of the standard library's `logging`. Only messages of `OSError` are included."""
        if record.name.startswith(_ITS_OWN):
            return
        with contextlib.suppress(
            Exception
        ):  # the code that logs must not fail; stderr shows what is wrong with a record
            fields: dict[str, Any] = {"event": record.getMessage(), "exc_info": record.exc_info}
            for add in (add_request_id, add_span, add_error):
                add(None, "", fields)
            unix_ns = round(record.created * NS_PER_SECOND)
            self._export({**fields, "level": record.levelname.lower(), "logger": record.name}, unix_ns)

    def line(self, line: Struct) -> None:
        """Exports the line of a call that has just ended."""
        self._export(to_builtins(line), time.time_ns())

    @contextlib.asynccontextmanager
    async def exporting(self) -> AsyncIterator[None]:
        """Receives the records of all loggers while a block runs. The last ones have three seconds to be exported."""
        logging.getLogger().addHandler(self)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(self)
            await within(_LAST_SECONDS, self._provider.shutdown)

    def _export(self, fields: Mapping[str, Any], unix_ns: int) -> None:
        level = fields["level"]
        record = LogRecord(
            timestamp=unix_ns,
            severity_text=level.upper(),
            severity_number=_SEVERITIES.get(level, SeverityNumber.UNSPECIFIED),
            body=fields["event"],
            attributes={name: value for name, value in fields.items() if name not in _IN_RECORD},
            context=_context_of(fields),
        )
        self._provider.get_logger(fields["logger"], __version__).emit(record)


def _context_of(fields: Mapping[str, Any]) -> Context:
    """The context of the span whose ids are in the fields of a line; without a span if there are none.

    Lines of calls are written together, in the context of any of them. An empty context would mean that one.
    """
    if "trace_id" not in fields:
        return set_span_in_context(INVALID_SPAN, Context())
    ids = int(fields["trace_id"], 16), int(fields["span_id"], 16)
    span_context = SpanContext(*ids, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(span_context), Context())


def new_exporter(name: str) -> LogRecordExporter:
    """An exporter: `console`, `grpc` or `http/protobuf`.

    Raises:
        ValueError: the SDK refuses the value of an OpenTelemetry variable.
    """
    if name == "console":
        return ConsoleLogRecordExporter(out=sys.stderr)
    if name == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as Grpc  # noqa: PLC0415

        return Grpc()
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as Http  # noqa: PLC0415

    return Http()
