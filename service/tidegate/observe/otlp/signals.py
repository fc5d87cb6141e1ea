"""OpenTelemetry's standard variables: which exporters a signal has, and what they say of this service."""

from collections.abc import Mapping
from enum import StrEnum
from importlib.util import find_spec
from typing import Final

from tidegate import __version__
from tidegate.core.domain.errors import ConfigurationError, MissingExtra

__all__ = ["Signal", "exporters_of", "resource_attributes"]

_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
_GRPC_EXPORTER: Final = "opentelemetry.exporter.otlp.proto.grpc"


class Signal(StrEnum):
    """A kind of telemetry. The value is its part in the names of variables."""

    TRACES = "TRACES"
    METRICS = "METRICS"
    LOGS = "LOGS"


def exporters_of(signal: Signal, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The enabled exporters of a signal: `console`, `grpc` or `http/protobuf`; empty if it is off.

    `OTEL_<signal>_EXPORTER` is `otlp`, `console` (stderr), both, or `none`. If it is not set, an endpoint of the signal
    enables `otlp`. `OTEL_EXPORTER_OTLP_ENDPOINT` enables traces alone: metrics are at `/metrics` and logs on stderr
    already, and two copies of them cost twice.

    Raises:
        ConfigurationError: a variable has an unknown value.
        MissingExtra: OTLP over gRPC is enabled, but the extra `otlp-grpc` is not installed.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ()
    variable = f"OTEL_{signal}_EXPORTER"
    value = environ.get(variable, "").strip()
    if not value:
        endpoints = (f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", *([_ENDPOINT] if signal is Signal.TRACES else []))
        value = "otlp" if any(environ.get(name, "").strip() for name in endpoints) else "none"
    names = tuple(name.strip() for name in value.split(","))
    for name in names:
        if name not in {"otlp", "console", "none"}:
            raise ConfigurationError(variable, name, "otlp, console or none")
    return tuple(_protocol(signal, environ) if name == "otlp" else name for name in names if name != "none")


def resource_attributes(environ: Mapping[str, str]) -> dict[str, str]:
    """Attributes of this service, without those that the environment sets."""
    given = {pair.partition("=")[0].strip() for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")}
    if environ.get("OTEL_SERVICE_NAME"):
        given.add("service.name")
    own = {"service.name": "tidegate", "service.version": __version__}
    return {name: value for name, value in own.items() if name not in given}


def _protocol(signal: Signal, environ: Mapping[str, str]) -> str:
    own = f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"
    variable = next((name for name in (own, _PROTOCOL) if environ.get(name, "").strip()), None)
    protocol = "http/protobuf" if variable is None else environ[variable].strip()
    if protocol not in {"grpc", "http/protobuf"}:
        raise ConfigurationError(variable or _PROTOCOL, protocol, "grpc or http/protobuf")
    if protocol == "grpc" and find_spec(_GRPC_EXPORTER) is None:
        raise MissingExtra(variable or _PROTOCOL, protocol, "http/protobuf", extra="otlp-grpc")
    return protocol
