"""Sets up span export from OpenTelemetry's standard variables. Imports the SDK only if one of them enables it."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Final

from tidegate.observe.otlp.blocking import within
from tidegate.observe.otlp.signals import Signal, exporters_of, resource_attributes

if TYPE_CHECKING:
    from tidegate.observe.tracing.span_provider import PresamplingProvider

__all__ = ["exporting"]

_SHUTDOWN_SECONDS: Final = 3.0
"""Time to export the remaining spans when the service stops. With a dead collector the exporter would take 8 s of the
30 s that orchestrators wait before they kill."""


@contextlib.asynccontextmanager
async def exporting(environ: Mapping[str, str]) -> AsyncIterator["PresamplingProvider | None"]:
    """Yields a tracer provider whose spans are exported as the variables say; None if tracing is off.

    `exporters_of` reads which. Sampler, limits, batches, resource and exporters read their own variables. On exit,
    remaining spans have 3 s to be exported.

    Raises:
        ConfigurationError: a variable has an unknown value.
        MissingExtra: OTLP over gRPC is enabled, but the extra `otlp-grpc` is not installed.
    """
    exporters = exporters_of(Signal.TRACES, environ)
    if not exporters:
        yield None
        return
    from tidegate.observe.tracing.span_provider import new_provider  # noqa: PLC0415 - imports the SDK

    provider = new_provider(exporters, resource_attributes(environ))
    try:
        yield provider
    finally:
        await within(_SHUTDOWN_SECONDS, provider.shutdown)
