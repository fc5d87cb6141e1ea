"""Metrics and log lines on their way to a collector, by the standard variables."""

import asyncio
import io
import logging

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client import CollectorRegistry

from support.otlp import PROTOCOLS, Protocol, receiving, set_all, values
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.events import RequestFinished
from tidegate.core.ports.span_attributes import SCHEMA_URL
from tidegate.observe.logging.request_log import RequestLog, open_logs
from tidegate.observe.metrics import catalogue
from tidegate.observe.metrics.instruments import Instruments
from tidegate.observe.otlp.exports import exporting_logs, metric_export

IDS = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}
CALL = RequestFinished(
    "/v1/messages", "sonnet-5-5", DEFAULT_CALLER, "ok", 5_000_000, status=200, attempts=1, exemplar=IDS
)


def variables_for(monkeypatch: pytest.MonkeyPatch, signal: str, protocol: Protocol, url: str) -> dict[str, str]:
    """The variables of one signal."""
    path = f"/v1/{signal.lower()}" if protocol == "http/protobuf" else ""
    variables = {
        f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT": url + path,
        f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL": protocol,
    }
    return set_all(monkeypatch, variables)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_metrics_reach_a_collector_before_the_service_ends(monkeypatch: pytest.MonkeyPatch, protocol: Protocol) -> None:
    registry = CollectorRegistry()
    retries = Instruments(registry).counter(catalogue.RETRIES)

    async def main(variables: dict[str, str]) -> None:
        export = metric_export(variables)
        assert export is not None
        async with export.exporting(registry):
            retries["sonnet-5-5", "timeout"].inc(3)

    with receiving(protocol) as received:
        asyncio.run(main(variables_for(monkeypatch, "METRICS", protocol, received.url)))
        (point,) = received.metrics()["tidegate_retries_total"].sum.data_points
        assert (point.as_double, values(point.attributes)) == (3, {"pool": "sonnet-5-5", "reason": "timeout"})
        assert received.resource()["service.name"] == "tidegate"
        assert received.resource()["service.version"]
        (request, *_) = received.requests
        assert isinstance(request, ExportMetricsServiceRequest)
        assert request.resource_metrics[0].scope_metrics[0].schema_url == SCHEMA_URL


def test_metrics_are_exported_at_the_interval_of_the_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = CollectorRegistry()
    retries = Instruments(registry).counter(catalogue.RETRIES)
    clock = VirtualClock()
    variables = {"OTEL_METRICS_EXPORTER": "console", "OTEL_METRIC_EXPORT_INTERVAL": "10000"}

    async def main() -> None:
        export = metric_export(variables)
        assert export is not None
        sent: list[float] = []
        monkeypatch.setattr(export, "_export", lambda *_: _note(sent))
        async with export.exporting(registry):
            retries["sonnet-5-5", "timeout"].inc(3)
            await asyncio.sleep(25)
        assert sent == [10, 20, 25]

    async def _note(sent: list[float]) -> None:
        sent.append(round(clock.elapsed_s))

    run_virtual(main(), clock)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_log_lines_reach_a_collector_with_the_ids_of_their_spans(
    monkeypatch: pytest.MonkeyPatch, protocol: Protocol
) -> None:
    async def main(variables: dict[str, str], calls: RequestLog) -> None:
        async with exporting_logs(variables, calls):
            calls.log(CALL)
            logging.getLogger("tidegate.test").warning("something %s", "happened")
            logging.getLogger("opentelemetry.test").warning("about itself")
            error = ValueError("quotes a prompt")
            logging.getLogger("tidegate.test").error("failed", exc_info=error)

    with receiving(protocol) as received:
        variables = variables_for(monkeypatch, "LOGS", protocol, received.url)
        asyncio.run(main(variables, open_logs("info", "json", io.StringIO())))
        by_text = {record.body.string_value: (name, record) for name, record in received.logs()}
        assert set(by_text) == {"request", "something happened", "failed"}
        name, call = by_text["request"]
        assert (name, call.severity_text) == ("tidegate.requests", "INFO")
        assert (call.trace_id.hex(), call.span_id.hex()) == (IDS["trace_id"], IDS["span_id"])
        fields = values(call.attributes)
        assert (fields["route"], fields["status"]) == ("/v1/messages", 200)
        assert not {"trace_id", "timestamp", "level", "logger", "event"} & set(fields)
        _, warned = by_text["something happened"]
        assert (warned.severity_text, warned.trace_id) == ("WARNING", b"")
        _, failed = by_text["failed"]
        assert values(failed.attributes)["error"] == "ValueError"
        assert "quotes a prompt" not in str(received.requests)


def test_lines_of_calls_go_no_further_once_the_export_has_ended() -> None:
    calls = open_logs("info", "json", io.StringIO())

    async def main() -> None:
        async with exporting_logs({"OTEL_LOGS_EXPORTER": "console"}, calls):
            assert calls.on_line is not None

    asyncio.run(main())
    assert calls.on_line is None


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"},
        {"OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://localhost:4318"},
    ],
)
def test_metrics_and_logs_are_exported_only_if_their_own_variables_ask_for_it(variables: dict[str, str]) -> None:
    calls = open_logs("info", "json", io.StringIO())

    async def main() -> None:
        async with exporting_logs(variables, calls):
            assert calls.on_line is None

    asyncio.run(main())
    assert metric_export(variables) is None


@pytest.mark.parametrize(
    ("variables", "field", "allowed"),
    [
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, "OTEL_METRICS_EXPORTER", "otlp, console or none"),
        (
            {"OTEL_METRICS_EXPORTER": "console", "OTEL_METRIC_EXPORT_INTERVAL": "soon"},
            "OTEL_METRIC_EXPORT_INTERVAL",
            "milliseconds, at least 1",
        ),
        (
            {"OTEL_METRICS_EXPORTER": "console", "OTEL_METRIC_EXPORT_TIMEOUT": "0"},
            "OTEL_METRIC_EXPORT_TIMEOUT",
            "milliseconds, at least 1",
        ),
    ],
)
def test_an_unknown_value_is_refused_by_name(variables: dict[str, str], field: str, allowed: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        metric_export(variables)
    assert (refused.value.field, refused.value.allowed) == (field, allowed)


def test_a_value_that_the_sdk_refuses_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "100000")

    async def main() -> None:
        async with exporting_logs({"OTEL_LOGS_EXPORTER": "console"}, open_logs("info", "json", io.StringIO())):
            pass

    with pytest.raises(ConfigurationError, match="OTEL"):
        asyncio.run(main())
