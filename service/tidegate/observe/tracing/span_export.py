"""Sets up span export from OpenTelemetry's standard variables. Imports the SDK only if one of them enables it."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from tidegate.core.domain.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from tidegate.observe.tracing.span_provider import PresamplingProvider

__all__ = ["exporting"]

_SHUTDOWN_SECONDS: Final = 3.0
"""Time to export the remaining spans when the service stops. With a dead collector the exporter would take 8 s of the
30 s that orchestrators wait before they kill."""

_EXPORTERS: Final = "OTEL_TRACES_EXPORTER"
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_GRPC_EXPORTER: Final = "opentelemetry.exporter.otlp.proto.grpc"


@contextlib.asynccontextmanager
async def exporting(environ: Mapping[str, str]) -> AsyncIterator["PresamplingProvider | None"]:
    """Yields a tracer provider whose spans are exported as the variables say; None if tracing is off.

    `OTEL_TRACES_EXPORTER` is `otlp`, `console` (stderr), both, or `none`. If it is not set, an OTLP endpoint enables
    `otlp`. Sampler, limits, batches, resource and exporters read their own variables. On exit, remaining spans have 3 s
    to be exported.

    Raises:
        ConfigurationError: a variable has an unknown value.
        MissingExtra: OTLP over gRPC is enabled, but the extra `otlp-grpc` is not installed.
    """
    exporters = _exporters(environ)
    if not exporters:
        yield None
        return
    from tidegate.observe.tracing.span_provider import new_provider  # noqa: PLC0415 - imports the SDK

    has_name = environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = new_provider(exporters, service_name=None if has_name else "tidegate")
    try:
        yield provider
    finally:
        await _within(_SHUTDOWN_SECONDS, provider.shutdown)


def _exporters(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The enabled exporters: `console`, `grpc` or `http/protobuf`."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ()
    value = environ.get(_EXPORTERS, "").strip()
    if not value:
        value = "otlp" if any(environ.get(name, "").strip() for name in _ENDPOINTS) else "none"
    names = tuple(name.strip() for name in value.split(","))
    for name in names:
        if name not in {"otlp", "console", "none"}:
            raise ConfigurationError(_EXPORTERS, name, "otlp, console or none")
    return tuple(_protocol(environ) if name == "otlp" else name for name in names if name != "none")


def _protocol(environ: Mapping[str, str]) -> str:
    variable = next((name for name in _PROTOCOLS if environ.get(name, "").strip()), None)
    protocol = "http/protobuf" if variable is None else environ[variable].strip()
    if protocol not in {"grpc", "http/protobuf"}:
        raise ConfigurationError(variable or _PROTOCOLS[1], protocol, "grpc or http/protobuf")
    if protocol == "grpc" and find_spec(_GRPC_EXPORTER) is None:
        raise MissingExtra(variable or _PROTOCOLS[1], protocol, "http/protobuf", extra="otlp-grpc")
    return protocol


async def _within(seconds: float, blocking: Callable[[], None]) -> None:
    """Runs a blocking function in a daemon thread and waits at most `seconds` for it."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def run() -> None:
        blocking()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing waits any more
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="tidegate-span-shutdown", daemon=True).start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await done.wait()
