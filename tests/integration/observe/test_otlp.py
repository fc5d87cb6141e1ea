"""Spans on their way to a collector, by the standard variables: there, slow, dead, or not wanted."""

import asyncio
import socket
import sys
import threading
import tomllib
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from support.otlp import PROTOCOLS, Protocol, environment, receiving, set_all
from support.programs import output_of
from support.project import ROOT
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.errors import ConfigurationError, MissingExtra
from tidegate.observe.tracing.span_export import exporting
from tidegate.observe.tracing.span_provider import ScrubbingExporter

_EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


async def end_a_span(variables: dict[str, str]) -> None:
    async with exporting(variables) as provider:
        assert provider
        provider.get_tracer("test").start_span("a span").end()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_spans_reach_a_collector_before_the_service_ends(monkeypatch: pytest.MonkeyPatch, protocol: Protocol) -> None:
    with receiving(protocol) as received:
        asyncio.run(end_a_span(set_all(monkeypatch, environment(protocol, received.url))))
        assert [span.name for span in received.spans()] == ["a span"]
        assert received.resource()["service.name"] == "tidegate"
        assert received.resource()["service.version"]


def test_the_environment_may_name_the_service_and_one_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving("grpc") as received:
        variables = {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": received.url,
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_SERVICE_NAME": "gate-7",
        }
        asyncio.run(end_a_span(set_all(monkeypatch, variables)))
        assert received.resource()["service.name"] == "gate-7"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_spans_outlive_a_collector_that_is_away_for_a_moment(
    monkeypatch: pytest.MonkeyPatch, protocol: Protocol, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = set_all(monkeypatch, environment(protocol, f"http://127.0.0.1:{port}"))

    async def main() -> None:
        async with exporting(variables) as provider:
            assert provider
            provider.get_tracer("test").start_span("a span").end()
            flushing = threading.Thread(target=provider.force_flush, daemon=True)
            flushing.start()
            async with asyncio.timeout(20):
                while "retrying" not in caplog.text:  # noqa: ASYNC110 - the SDK tells nobody else of its failure
                    await asyncio.sleep(0.01)
            with receiving(protocol, port) as received:
                await asyncio.to_thread(received.wait_for, "a span")
                await asyncio.to_thread(flushing.join)

    asyncio.run(main())


class StuckExporter(SpanExporter):
    """Hangs until it is let go."""

    def __init__(self) -> None:
        self.called, self.let_go = threading.Event(), threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        del spans
        self.called.set()
        self.let_go.wait()
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Ends at once."""


def test_a_hanging_collector_delays_no_call() -> None:
    exporter = StuckExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(ScrubbingExporter(exporter), max_export_batch_size=10))
    tracer = provider.get_tracer("test")
    for _ in range(10):
        tracer.start_span("first").end()
    assert exporter.called.wait(20)
    for _ in range(5_000):  # more than its queue holds
        tracer.start_span("later").end()
    assert not exporter.let_go.is_set()
    exporter.let_go.set()
    provider.shutdown()


def test_the_end_waits_for_a_dead_collector_no_longer_than_three_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()
    clock = VirtualClock()

    async def main() -> None:
        async with exporting({"OTEL_TRACES_EXPORTER": "console"}) as provider:
            assert provider
            flush = provider.shutdown
            monkeypatch.setattr(provider, "shutdown", lambda: (let_go.wait(), flush()))

    run_virtual(main(), clock)
    assert clock.elapsed_s == 3
    let_go.set()


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        {"OTEL_SERVICE_NAME": "gate-7", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_nothing_is_exported_unless_it_is_asked_for(variables: dict[str, str]) -> None:
    async def main() -> None:
        async with exporting(variables) as provider:
            assert provider is None

    asyncio.run(main())


def test_export_that_is_off_imports_no_exporter() -> None:
    program = """
import asyncio, sys
from tidegate.cli.serve import exporting, exporting_logs, metric_export, run_service
async def main():
    async with exporting({}), exporting_logs({}, None):
        assert metric_export({}) is None
asyncio.run(main())
heavy = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.instrumentation", "grpc", "google.protobuf")
print([name for name in sys.modules if name.startswith(heavy)])
"""
    assert output_of(sys.executable, "-c", program).strip() == "[]"


@pytest.mark.parametrize(
    ("variables", "field", "allowed"),
    [
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "OTEL_TRACES_EXPORTER", "otlp, console or none"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc or http/protobuf",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "carrier pigeon"},
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
            "grpc or http/protobuf",
        ),
    ],
)
def test_a_value_that_is_not_known_is_refused_by_name(variables: dict[str, str], field: str, allowed: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        asyncio.run(end_a_span(variables))
    assert (refused.value.field, refused.value.allowed) == (field, allowed)


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
def test_grpc_without_its_extra_is_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setattr("tidegate.observe.otlp.signals.find_spec", lambda name: None if "grpc" in name else name)
    with pytest.raises(MissingExtra) as refused:
        asyncio.run(end_a_span({"OTEL_TRACES_EXPORTER": "otlp", variable: "grpc"}))
    assert str(refused.value) == (
        f"{variable}: got 'grpc', allowed is http/protobuf; to use grpc, run: pip install 'tidegate[otlp-grpc]'"
    )
    assert refused.value.extra in _EXTRAS


def test_a_value_that_the_sdk_refuses_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = set_all(monkeypatch, {"OTEL_TRACES_EXPORTER": "console", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "100000"})
    with pytest.raises(ConfigurationError, match="OTEL"):
        asyncio.run(end_a_span(variables))


def test_spans_go_to_the_console(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(end_a_span({"OTEL_TRACES_EXPORTER": "console"}))
    assert '"name": "a span"' in capsys.readouterr().err
