"""An OpenTelemetry collector for tests: receives spans over HTTP or gRPC, and stores them."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Protocol = Literal["http/protobuf", "grpc"]

_PATIENCE_SECONDS = 20


@dataclass
class Received:
    """Received spans.

    Attributes:
        url: URL of the collector.
        requests: All requests, in order.
    """

    url: str = ""
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, request: ExportTraceServiceRequest) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def wait_for(self, *names: str) -> list[Span]:
        """Wait until there is a span of each name, and return all spans."""
        with self._changed:
            came = self._changed.wait_for(
                lambda: {*names} <= {span.name for span in self.spans()}, timeout=_PATIENCE_SECONDS
            )
            assert came, f"came: {[span.name for span in self.spans()]}"
            return self.spans()

    def resource(self) -> dict[str, str]:
        """Resource attributes of the first span."""
        return {entry.key: entry.value.string_value for entry in self.requests[0].resource_spans[0].resource.attributes}


def environment(protocol: Protocol, url: str) -> dict[str, str]:
    """The standard variables for this collector."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}


@contextmanager
def receiving(protocol: Protocol, port: int = 0) -> Iterator[Received]:
    """Run a collector; port 0 takes a free one."""
    with _over_grpc(port) if protocol == "grpc" else _over_http(port) as received:
        yield received


@contextmanager
def _over_http(port: int) -> Iterator[Received]:
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            received.add(ExportTraceServiceRequest.FromString(body))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        received.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _over_grpc(port: int) -> Iterator[Received]:
    received = Received()

    class Servicer(TraceServiceServicer):
        def Export(self, request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:  # noqa: N802
            del context
            received.add(request)
            return ExportTraceServiceResponse()

    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        add_TraceServiceServicer_to_server(Servicer(), server)  # type: ignore[no-untyped-call]  # generated
        received.url = f"http://127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
        server.start()
        try:
            yield received
        finally:
            server.stop(grace=0).wait()
