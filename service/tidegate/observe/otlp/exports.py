"""Starts the export of metrics and logs that the standard variables ask for. Imports the SDK only then."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from tidegate.core.domain.errors import ConfigurationError
from tidegate.observe.logging.request_log import RequestLog
from tidegate.observe.otlp.signals import Signal, exporters_of, resource_attributes

if TYPE_CHECKING:
    from tidegate.observe.otlp.metric_export import MetricExport

__all__ = ["exporting_logs", "metric_export"]


def metric_export(environ: Mapping[str, str]) -> "MetricExport | None":
    """The export of metrics; None if it is off.

    Raises:
        ConfigurationError: a variable has an unknown value.
        MissingExtra: OTLP over gRPC is enabled, but the extra `otlp-grpc` is not installed.
    """
    exporters = exporters_of(Signal.METRICS, environ)
    if not exporters:
        return None
    interval = _milliseconds(environ, "OTEL_METRIC_EXPORT_INTERVAL", 60_000) / 1_000
    timeout = _milliseconds(environ, "OTEL_METRIC_EXPORT_TIMEOUT", 30_000) / 1_000
    from tidegate.observe.otlp.metric_export import MetricExport, new_exporter  # noqa: PLC0415 - imports the SDK

    try:
        return MetricExport(map(new_exporter, exporters), resource_attributes(environ), interval, timeout)
    except ValueError as error:
        raise _refused(error) from None


@contextlib.asynccontextmanager
async def exporting_logs(environ: Mapping[str, str], calls: RequestLog) -> AsyncIterator[None]:
    """Exports the records of all loggers and the lines of calls while a block runs, unless it is off.

    Raises:
        ConfigurationError: a variable has an unknown value.
        MissingExtra: OTLP over gRPC is enabled, but the extra `otlp-grpc` is not installed.
    """
    exporters = exporters_of(Signal.LOGS, environ)
    if not exporters:
        yield
        return
    from tidegate.observe.otlp.log_export import LogExport, new_exporter  # noqa: PLC0415 - imports the SDK

    try:
        export = LogExport(map(new_exporter, exporters), resource_attributes(environ))
    except ValueError as error:
        raise _refused(error) from None
    async with export.exporting():
        calls.on_line = export.line
        try:
            yield
        finally:
            calls.flush()
            calls.on_line = None


def _refused(error: ValueError) -> ConfigurationError:
    return ConfigurationError("OTEL_…", str(error), "what OpenTelemetry's specification allows")


def _milliseconds(environ: Mapping[str, str], variable: str, default: int) -> int:
    text = environ.get(variable, "").strip()
    if not text:
        return default
    if not text.isdecimal() or not int(text):
        raise ConfigurationError(variable, text, "milliseconds, at least 1")
    return int(text)
