"""OpenTelemetry's SDK, put together: sampling, batching and exporting of spans."""

import math
import random
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Status

from tidegate import __version__
from tidegate.core.domain.errors import ConfigurationError

__all__ = ["DrawingProvider", "ScrubbingExporter", "new_provider"]

_QUERIES: Final = frozenset({"url.query", "url.full", "http.url", "http.target"})
"""Attributes that hold a query: whatever a client put there, a key perhaps."""
_NO_PARENT: Final = Context()
_HALF_AN_ID: Final = 2**64 - 1


class DrawingProvider(TracerProvider):
    """Tells beforehand whether a new trace would be sampled: of those that are not, nothing need be put together.

    OpenTelemetry asks its sampler when a span is started: that takes as long as the limiter.
    """

    def __init__(self, resource: Resource) -> None:
        self._ids = _DrawnIds()
        # Not at exit: that would wait once more for a collector that is dead, and without a bound.
        super().__init__(resource=resource, shutdown_on_exit=False, id_generator=self._ids)
        self._sampled_below = _sampled_below(self.sampler)
        self._left_out = self._next_after()

    def samples_next(self) -> bool:
        """Whether a trace is sampled that begins now, without a parent; to be started at once, in this thread, if so.

        Drawn is how many are left out until one is sampled, and that one's id: it is the same as drawing an id for each
        and takes a third of the time. The sampler is asked once more when that one starts, and says the same.
        """
        if self._left_out > 0:
            self._left_out -= 1  # no lock: what two threads count as one is one call more that is left out
            return False
        self._left_out = self._next_after()
        self._ids.draw(self._sampled_below)
        return True

    def _next_after(self) -> float:
        share = self._sampled_below / (_HALF_AN_ID + 1)
        if share in (0.0, 1.0):
            return 0.0 if share else math.inf
        return math.log(1.0 - random.random()) // math.log1p(-share)  # noqa: S311  # no secret


def _sampled_below(sampler: sampling.Sampler) -> int:
    """Traces are sampled if the lower half of their id is below this number.

    The SDK's own samplers go by such a bound, if by anything, and do not tell it: it is found by asking. Others may go
    by a span's name or kind, or count how often they are asked: those are asked when a span starts, and not before.
    """
    most = _HALF_AN_ID + 1
    if type(sampler).__module__ != sampling.__name__:
        return most
    least = 0
    while least < most:
        middle = (least + most) // 2
        if sampler.should_sample(_NO_PARENT, middle, "").decision is sampling.Decision.DROP:
            most = middle
        else:
            least = middle + 1
    return least


class _DrawnIds(RandomIdGenerator):
    """Gives a trace the id that was drawn for it last."""

    def __init__(self) -> None:
        self._drawn = threading.local()

    def draw(self, below: int) -> None:
        """Draws an id whose lower half is below this number."""
        upper_half = super().generate_trace_id() & ~_HALF_AN_ID
        self._drawn.trace_id = upper_half | random.randrange(below)  # noqa: S311  # as the SDK's own

    def generate_trace_id(self) -> int:
        trace_id: int | None = getattr(self._drawn, "trace_id", None)
        self._drawn.trace_id = None
        return super().generate_trace_id() if trace_id is None else trace_id


def new_provider(exporters: Iterable[str], service_name: str | None) -> DrawingProvider:
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
        provider = DrawingProvider(Resource.create(attributes))
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
