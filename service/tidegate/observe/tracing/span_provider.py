"""The tracer provider: sampling, batching and export of spans with OpenTelemetry's SDK."""

import math
import random
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Status

from tidegate.core.domain.errors import ConfigurationError

__all__ = ["PresamplingProvider", "ScrubbingExporter", "new_provider"]

_QUERY_ATTRIBUTES: Final = frozenset({"url.query", "http.url", "http.target"})
"""Attributes that contain a URL's query, in which a client may have put a key."""
_URL: Final = "url.full"
"""The URL of a request to the upstream. Its query is removed, whoever has recorded the span."""
_NO_PARENT: Final = Context()
_LOW_64_BITS: Final = 2**64 - 1


class PresamplingProvider(TracerProvider):
    """Decides whether a trace is sampled before it starts, so that unsampled calls cost nothing.

    Starting a span and asking the SDK's sampler takes as long as the whole limiter.
    """

    def __init__(self, resource: Resource) -> None:
        self._ids = _PresampledIds()
        # A shutdown at exit would wait again, without a bound, for a collector that does not respond.
        super().__init__(resource=resource, shutdown_on_exit=False, id_generator=self._ids)
        self._sampled_below = _sampled_below(self.sampler)
        self._skips_left = self._draw_skips()

    def samples_next(self) -> bool:
        """Whether a root trace that starts now is sampled. If so, it must be started next in this thread.

        The number of traces to skip is drawn from a geometric distribution, and then the id of the sampled one. This
        is equivalent to drawing an id for every trace and takes a third of the time. When that trace starts, the
        sampler is asked again and agrees.
        """
        if self._skips_left > 0:
            self._skips_left -= 1  # no lock: a lost decrement skips one more trace
            return False
        self._skips_left = self._draw_skips()
        self._ids.draw(self._sampled_below)
        return True

    def _draw_skips(self) -> float:
        share = self._sampled_below / (_LOW_64_BITS + 1)
        if share in (0.0, 1.0):
            return 0.0 if share else math.inf
        return math.log(1.0 - random.random()) // math.log1p(-share)  # noqa: S311  # no secret


def _sampled_below(sampler: sampling.Sampler) -> int:
    """The bound below which the lower 64 bits of a trace id are sampled.

    The SDK's own samplers compare ids with such a bound but do not expose it, so a binary search finds it. Samplers
    from elsewhere may depend on a span's name or kind, or count their calls: for these, every trace is started.
    """
    high = _LOW_64_BITS + 1
    if type(sampler).__module__ != sampling.__name__:
        return high
    low = 0
    while low < high:
        middle = (low + high) // 2
        if sampler.should_sample(_NO_PARENT, middle, "").decision is sampling.Decision.DROP:
            high = middle
        else:
            low = middle + 1
    return low


class _PresampledIds(RandomIdGenerator):
    """Gives the next trace of a thread the id drawn for it; others get a random one."""

    def __init__(self) -> None:
        self._drawn = threading.local()

    def draw(self, below: int) -> None:
        """Draws an id whose lower 64 bits are below this number."""
        upper_half = super().generate_trace_id() & ~_LOW_64_BITS
        self._drawn.trace_id = upper_half | random.randrange(below)  # noqa: S311  # as the SDK's own

    def generate_trace_id(self) -> int:
        trace_id: int | None = getattr(self._drawn, "trace_id", None)
        self._drawn.trace_id = None
        return super().generate_trace_id() if trace_id is None else trace_id


def new_provider(exporters: Iterable[str], attributes: Mapping[str, str]) -> PresamplingProvider:
    """A provider that exports spans in batches from its own threads and drops what exceeds its queue.

    Args:
        exporters: `console`, `grpc` or `http/protobuf`.
        attributes: of this service, beside those of the environment.

    Raises:
        ConfigurationError: the SDK refuses the value of an OpenTelemetry variable.
    """
    try:
        provider = PresamplingProvider(Resource.create(attributes))
        for exporter in exporters:
            provider.add_span_processor(BatchSpanProcessor(ScrubbingExporter(_exporter(exporter))))
    except ValueError as error:
        raise ConfigurationError("OTEL_…", str(error), "what OpenTelemetry's specification allows") from None
    return provider


class ScrubbingExporter(SpanExporter):
    """Removes error texts and URL queries from all spans, because they may quote a prompt or a key."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Exports the scrubbed spans."""
        return self._exporter.export([_scrubbed(span) for span in spans])

    def shutdown(self) -> None:
        """Shuts down the wrapped exporter."""
        self._exporter.shutdown()


def _scrubbed(span: ReadableSpan) -> ReadableSpan:
    attributes = span.attributes or {}
    url = str(attributes.get(_URL, ""))
    if not span.events and not span.status.description and _QUERY_ATTRIBUTES.isdisjoint(attributes) and "?" not in url:
        return span
    description = span.status.description
    # The SDK's descriptions are an error's type, a colon and its text; Tidegate's own are single words.
    kept = None if description is None else description.partition(":")[0]
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes={
            name: url.partition("?")[0] if name == _URL else value
            for name, value in attributes.items()
            if name not in _QUERY_ATTRIBUTES
        },
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, kept),
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
