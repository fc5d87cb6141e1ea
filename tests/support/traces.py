"""Traces as text, with fixed ids on a virtual clock."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import SpanContext

from support.virtual_time import VirtualClock
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.observe.observers import Observers
from tidegate.observe.tracing.span_observer import Tracing
from tidegate.observe.tracing.span_provider import ScrubbingExporter

_ESTIMATES = frozenset({"tidegate.cost.input_tokens", "tidegate.cost.output_tokens"})
"""Estimates change with the calls before; they are left out."""


class _CountedIds(IdGenerator):
    def __init__(self) -> None:
        self._traces = self._spans = 0

    def generate_trace_id(self) -> int:
        self._traces += 1
        return self._traces

    def generate_span_id(self) -> int:
        self._spans += 1
        return self._spans


class Traces:
    """A provider that stores its spans, with a `Tracing` and an observer."""

    def __init__(self, clock: VirtualClock, *, send_upstream: bool = False) -> None:
        self._started_ns = round(clock.wall_seconds() * NS_PER_SECOND)
        self._clock = clock
        self._kept = InMemorySpanExporter()
        self.provider = TracerProvider(resource=Resource({}), id_generator=_CountedIds(), shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(ScrubbingExporter(self._kept)))
        self.tracing = Tracing(
            self.provider,
            clock,
            upstream_host="api.example",
            upstream_port=443,
            upstream_url="https://api.example",
            send_upstream=send_upstream,
        )
        self.observer = Observers(tracing=self.tracing)

    def spans(self) -> list[ReadableSpan]:
        """Ended spans, in order of their start."""
        return sorted(self._kept.get_finished_spans(), key=_id)

    def span(self, name: str) -> ReadableSpan:
        """The only span of that name."""
        (span,) = [span for span in self.spans() if span.name == name]
        return span

    def text(self) -> str:
        """All spans with kind, time in seconds, ids, status and attributes, indented below their parents."""
        children = defaultdict(list)
        known = {_id(span) for span in self.spans()}
        for span in self.spans():
            parent = span.parent.span_id if span.parent and span.parent.span_id in known else None
            children[parent].append(span)

        def lines(parent: int | None, indent: str) -> Iterator[str]:
            for span in children[parent]:
                yield from (f"{indent}{line}" for line in self._described(span))
                yield from lines(_id(span), f"{indent}  ")

        return "\n".join([*lines(None, ""), ""])

    @contextmanager
    def on_the_virtual_clock(self) -> Iterator[None]:
        """Give the times of the virtual clock to all spans."""
        with patch("opentelemetry.sdk.trace.time_ns", lambda: round(self._clock.wall_seconds() * NS_PER_SECOND)):
            yield

    def _described(self, span: ReadableSpan) -> Iterator[str]:
        begin, end = (
            round(((at or 0) - self._started_ns) / NS_PER_SECOND, 3) for at in (span.start_time, span.end_time)
        )
        parent = f"{span.parent.span_id:x}" if span.parent else "-"
        status = span.status.status_code.name + (f"({span.status.description})" if span.status.description else "")
        ids = f"{_context(span).trace_id:x}/{_id(span):x} of {parent}"
        yield f"{span.name}  [{span.kind.name} {begin}..{end} s, {status}, {ids}]"
        for name, value in sorted((span.attributes or {}).items()):
            yield f"    {name} = {'an estimate' if name in _ESTIMATES else repr(value)}"
        for event in span.events:
            yield f"    event {event.name}: {dict(event.attributes or {})}"


def _context(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context
    return context


def _id(span: ReadableSpan) -> int:
    return _context(span).span_id
