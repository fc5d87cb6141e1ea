"""Settings of logs, traces and metrics. OpenTelemetry's own settings are its standard variables."""

from typing import Annotated

from tidegate.settings.fields.field_docs import FieldDoc, SettingsModel
from tidegate.settings.fields.field_types import COUNT_TEXT, Count, Flag, LogFormat, LogLevel, Text

__all__ = ["MonitoringSettings"]


class MonitoringSettings(SettingsModel):
    """Settings of logs, traces and metrics."""

    log_level: Annotated[
        LogLevel,
        FieldDoc(
            "TIDEGATE_LOG_LEVEL",
            "debug, info, warning or error",
            "Level of the log on stderr; `info` logs one line per call, `debug` each attempt of a generation.",
        ),
    ] = "info"
    log_format: Annotated[
        LogFormat,
        FieldDoc("TIDEGATE_LOG_FORMAT", "auto, json or console", "`auto`: JSON unless stderr is a terminal."),
    ] = "auto"
    trace_upstream: Annotated[
        Flag,
        FieldDoc(
            "TIDEGATE_TRACE_UPSTREAM",
            "true or false",
            "Whether trace context (`traceparent`, `tracestate`, `baggage`) is sent to the upstream.",
        ),
    ] = False
    revision: Annotated[
        Text, FieldDoc("TIDEGATE_REVISION", "a commit id", "Commit of the build, for the metric `build_info`.")
    ] = "unknown"
    metric_callers: Annotated[
        Count,
        FieldDoc(
            "TIDEGATE_METRIC_CALLERS",
            COUNT_TEXT,
            "Maximum number of callers with a metric label of their own; of more callers, those used most have one, "
            "and all others are `other`.",
        ),
    ] = 50
