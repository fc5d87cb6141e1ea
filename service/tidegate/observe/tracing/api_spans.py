"""Server spans of the routes under `/api`, by OpenTelemetry's instrumentation of FastAPI."""

import os
import string
from typing import Any, Final
from urllib.parse import quote

from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import Span, TracerProvider
from starlette.types import ASGIApp, Receive, Scope, Send

from tidegate.core.ports.span_attributes import server_of
from tidegate.observe.tracing.span_observer import exemplar_of

__all__ = ["instrument_api"]

_ALL_BUT_API: Final = "^https?://[^/]+/(?!api/)"
_STABLE: Final = ("OTEL_SEMCONV_STABILITY_OPT_IN", "http")


def instrument_api(api: FastAPI, provider: TracerProvider) -> None:
    """Gives each call under `/api` a server span whose parent comes from the client's W3C trace context headers.

    If the span is sampled, its ids are in `scope["state"]["exemplar"]`. Attributes follow the stable HTTP semantic
    conventions unless the environment says otherwise. The instrumentation's own metrics are off.
    """
    os.environ.setdefault(*_STABLE)
    FastAPIInstrumentor.instrument_app(
        api,
        tracer_provider=provider,
        meter_provider=NoOpMeterProvider(),
        server_request_hook=_add_ids,
        excluded_urls=_ALL_BUT_API,
        exclude_spans=["receive", "send"],  # one span per chunk of a stream
    )
    instrumented = api.build_middleware_stack

    def build_middleware_stack() -> ASGIApp:
        return _with_ascii_queries(instrumented())

    api.build_middleware_stack = build_middleware_stack  # type: ignore[method-assign]  # as the instrumentation does it


def _with_ascii_queries(app: ASGIApp) -> ASGIApp:
    """Percent-encodes non-ASCII queries: the instrumentation (0.66b2) fails on queries that are not UTF-8."""

    async def escaped(scope: Scope, receive: Receive, send: Send) -> None:
        query: bytes = scope.get("query_string", b"")
        if not query.isascii():
            scope = {**scope, "query_string": quote(query, safe=string.punctuation).encode()}
        await app(scope, receive, send)

    return escaped


def _add_ids(span: Span, scope: dict[str, Any]) -> None:
    state = scope.get("state", {})
    state["exemplar"] = exemplar_of(span)
    if span.is_recording():
        span.set_attribute("tidegate.request_id", state.get("request_id", ""))
        fields = dict(scope.get("headers", ()))
        # The instrumentation (0.66b2) leaves the port in the address.
        span.set_attributes(server_of(fields.get(b"host", b"").decode("latin-1"), scope.get("scheme")))
