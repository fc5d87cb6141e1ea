"""The collector's configuration: whole in itself, of keys that its parts know, and in agreement with who talks to it.

The official collector is in none of the package registries, so that its own `validate` cannot be asked.
"""

from typing import Any

import pytest
import yaml

from support.project import ROOT

CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "deploy/otel-collector/collector.yaml").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
PIPELINE: dict[str, list[str]] = CONFIG["service"]["pipelines"]["traces"]
KINDS = ("receivers", "processors", "exporters")
KNOWN = {
    "otlp": {"protocols"},
    "memory_limiter": {"check_interval", "limit_percentage", "spike_limit_percentage", "limit_mib", "spike_limit_mib"},
    "batch": {"timeout", "send_batch_size", "send_batch_max_size"},
    "otlp/traces": {"endpoint", "tls", "headers", "compression", "sending_queue", "retry_on_failure"},
}
"""Keys of the parts in use. Source: their READMEs in opentelemetry-collector v0.120.0."""


@pytest.mark.parametrize("kind", KINDS)
def test_each_part_is_defined_and_used(kind: str) -> None:
    assert sorted(CONFIG[kind]) == sorted(PIPELINE[kind])


def test_nothing_else_is_configured() -> None:
    assert set(CONFIG) == {*KINDS, "service"}
    for kind in KINDS:
        for name, settings in CONFIG[kind].items():
            assert set(settings) <= KNOWN[name], name


def test_the_memory_is_limited_before_anything_else_is_done() -> None:
    assert PIPELINE["processors"][0] == "memory_limiter"
    assert PIPELINE["processors"][-1] == "batch"


def test_the_service_of_the_compose_file_talks_to_it_in_a_protocol_that_it_hears() -> None:
    told = COMPOSE["tidegate"]["environment"]
    protocol = {"grpc": "grpc", "http/protobuf": "http"}[told["OTEL_EXPORTER_OTLP_PROTOCOL"]]
    port = CONFIG["receivers"]["otlp"]["protocols"][protocol]["endpoint"].rpartition(":")[2]
    assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == f"http://collector:{port}"


def test_both_protocols_are_heard_on_their_standard_ports_beyond_loopback() -> None:
    endpoints = {name: each["endpoint"] for name, each in CONFIG["receivers"]["otlp"]["protocols"].items()}
    assert endpoints == {"grpc": "0.0.0.0:4317", "http": "0.0.0.0:4318"}


def test_the_compose_file_says_what_the_configuration_asks_of_its_environment() -> None:
    text = (ROOT / "deploy/otel-collector/collector.yaml").read_text()
    for name, value in COMPOSE["collector"]["environment"].items():
        assert f"${{env:{name}" in text
        assert isinstance(value, str)
    assert COMPOSE["collector"]["command"] == ["--config=/etc/otel-collector/collector.yaml"]
    assert COMPOSE["collector"]["volumes"] == ["./deploy/otel-collector:/etc/otel-collector:ro"]
