"""Whether spans are exported, by OpenTelemetry's standard variables; the SDK is imported only when one of them asks."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from tidegate.core.domain.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from tidegate.observe.tracing.span_provider import DrawingProvider

__all__ = ["exporting"]

_SHUTDOWN_SECONDS: Final = 3.0
"""For spans that have not gone out when the service stops. A dead collector takes the exporter 8 s, of the 30 s that
orchestrators wait before they kill."""

_EXPORTERS: Final = "OTEL_TRACES_EXPORTER"
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_GRPC_EXPORTER: Final = "opentelemetry.exporter.otlp.proto.grpc"


@contextlib.asynccontextmanager
async def exporting(environ: Mapping[str, str]) -> AsyncIterator["DrawingProvider | None"]:
    """A provider whose spans are exported as the variables say; None when none of them asks for it.

    `OTEL_TRACES_EXPORTER` may be `otlp`, `console` (stderr), both, or `none`; without it an OTLP endpoint asks.
    Sampler, limits, batches, resource and exporters read their own variables. In the end, what has not gone out is
    given 3 s.

    Raises:
        ConfigurationError: a variable has an unknown value.
        MissingExtra: OTLP over gRPC is asked for, and the extra `otlp-grpc` is not installed.
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
    """Names of the exporters that are asked for: `console`, `grpc`, `http/protobuf`."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ()
    asked = environ.get(_EXPORTERS, "").strip()
    if not asked:
        asked = "otlp" if any(environ.get(name, "").strip() for name in _ENDPOINTS) else "none"
    names = tuple(name.strip() for name in asked.split(","))
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
    """Runs a blocking function in a thread that nobody waits for any longer than that, not even the interpreter."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def run() -> None:
        blocking()
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="tidegate-span-shutdown", daemon=True).start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await done.wait()
