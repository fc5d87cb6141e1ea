"""OpenTelemetry's SDK, put together: sampling, batching and exporting of spans."""

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.trace import Status

from tidegate import __version__
from tidegate.core.errors import ConfigurationError

__all__ = ["ScrubbingExporter", "new_provider"]

_QUERIES: Final = frozenset({"url.query", "url.full", "http.url", "http.target"})
"""Attributes that hold a query: whatever a client put there, a key perhaps."""


def new_provider(exporters: Iterable[str], service_name: str | None) -> TracerProvider:
    """A provider that sends spans in batches, from threads of its own; what does not fit its queue is dropped.

    Args:
        exporters: `console`, `grpc` or `http/protobuf`.
        service_name: `service.name`; None where the environment names the service.

    Raises:
        ConfigurationError: a variable of OpenTelemetry has a value that its SDK refuses.
    """
    attributes = {"service.version": __version__}
    if service_name is not None:
        attributes["service.name"] = service_name
    try:
        # Not at exit: that would wait once more for a collector that is dead, and without a bound.
        provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
        for exporter in exporters:
            provider.add_span_processor(BatchSpanProcessor(ScrubbingExporter(_exporter(exporter))))
    except ValueError as error:
        raise ConfigurationError("OTEL_…", str(error), "what OpenTelemetry's specification allows") from None
    return provider


class ScrubbingExporter(SpanExporter):
    """Takes out of spans, whoever made them, what may quote a prompt or a key: errors' texts, and queries of URLs."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hands on the spans, scrubbed."""
        return self._exporter.export([_scrubbed(span) for span in spans])

    def shutdown(self) -> None:
        """Ends the exporter."""
        self._exporter.shutdown()


def _scrubbed(span: ReadableSpan) -> ReadableSpan:
    attributes = span.attributes or {}
    if not span.events and not span.status.description and _QUERIES.isdisjoint(attributes):
        return span
    description = span.status.description
    # Texts of errors begin with a type and a colon; the descriptions that we set are single words.
    told = None if description is None else description.partition(":")[0]
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes={name: value for name, value in attributes.items() if name not in _QUERIES},
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, told),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _exporter(name: str) -> SpanExporter:
    if name == "console":
        return ConsoleSpanExporter(out=sys.stderr)
    if name == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc  # noqa: PLC0415

        return Grpc()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http  # noqa: PLC0415

    return Http()
