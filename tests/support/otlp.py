"""An OpenTelemetry collector for tests: receives spans, metrics and logs over HTTP or gRPC, and stores them."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import add_LogsServiceServicer_to_server
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import add_MetricsServiceServicer_to_server
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import add_TraceServiceServicer_to_server
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Protocol = Literal["http/protobuf", "grpc"]
PROTOCOLS: tuple[Protocol, ...] = ("http/protobuf", "grpc")
Request = ExportTraceServiceRequest | ExportMetricsServiceRequest | ExportLogsServiceRequest

_PATIENCE_SECONDS = 20
_BY_PATH: dict[str, tuple[type[Request], type[Any], Callable[[Any, Any], None]]] = {
    "/v1/traces": (ExportTraceServiceRequest, ExportTraceServiceResponse, add_TraceServiceServicer_to_server),
    "/v1/metrics": (ExportMetricsServiceRequest, ExportMetricsServiceResponse, add_MetricsServiceServicer_to_server),
    "/v1/logs": (ExportLogsServiceRequest, ExportLogsServiceResponse, add_LogsServiceServicer_to_server),
}


@dataclass
class Received:
    """What was received.

    Attributes:
        url: URL of the collector.
        requests: All requests, in order.
    """

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, request: Request) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            if isinstance(request, ExportTraceServiceRequest)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def metrics(self) -> dict[str, Metric]:
        """The last state of each metric."""
        return {
            metric.name: metric
            for request in self.requests
            if isinstance(request, ExportMetricsServiceRequest)
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def logs(self) -> list[tuple[str, LogRecord]]:
        """Records with the names of their loggers."""
        return [
            (scope.scope.name, record)
            for request in self.requests
            if isinstance(request, ExportLogsServiceRequest)
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
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
        """Resource attributes of the first request."""
        request = self.requests[0]
        if isinstance(request, ExportTraceServiceRequest):
            resource = request.resource_spans[0].resource
        elif isinstance(request, ExportMetricsServiceRequest):
            resource = request.resource_metrics[0].resource
        else:
            resource = request.resource_logs[0].resource
        return values(resource.attributes)


def values(attributes: Any) -> dict[str, Any]:
    """Attributes as a mapping."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def environment(protocol: Protocol, url: str) -> dict[str, str]:
    """The standard variables for this collector."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> dict[str, str]:
    """Sets variables of the process: the SDK reads these, whatever is passed to the code under test."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


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
            request, response, _ = _BY_PATH[self.path]
            received.add(request.FromString(body))
            answer = response().SerializeToString()
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

    class Servicer:
        def __init__(self, response: type[Any]) -> None:
            self._response = response

        def Export(self, request: Request, context: Any) -> Any:  # noqa: N802 - its name in the protocol
            del context
            received.add(request)
            return self._response()

    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        for _, response, add in _BY_PATH.values():
            add(Servicer(response), server)
        received.url = f"http://127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
        server.start()
        try:
            yield received
        finally:
            server.stop(grace=0).wait()
