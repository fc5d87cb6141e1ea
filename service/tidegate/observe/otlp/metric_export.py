"""Exports metrics over OTLP beside `/metrics`, under the same names."""

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Final

from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    Metric,
    MetricExporter,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry

from tidegate import __version__
from tidegate.core.ports.span_attributes import SCHEMA_URL
from tidegate.observe.otlp.blocking import within
from tidegate.observe.otlp.metric_points import metric_of

__all__ = ["MetricExport", "new_exporter"]

logger = logging.getLogger("tidegate.telemetry")

_LAST_SECONDS: Final = 3.0
"""Time for the last export when the service stops: as for spans."""
_SCOPE: Final = InstrumentationScope("tidegate", __version__, SCHEMA_URL)


class MetricExport:
    """Exports registries from time to time.

    All values are cumulative, whatever `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` says: they are those of
    `/metrics`.

    Args:
        exporters: where metrics go.
        attributes: of this service, beside those of the environment.
        interval_seconds: time from one export to the next.
        timeout_seconds: how long an export may take.
    """

    def __init__(
        self,
        exporters: Iterable[MetricExporter],
        attributes: Mapping[str, str],
        interval_seconds: float,
        timeout_seconds: float,
    ) -> None:
        self._exporters = tuple(exporters)
        self._resource = Resource.create(attributes)
        self._interval_seconds = interval_seconds
        self._timeout_seconds = timeout_seconds
        self._started_unix_ns = time.time_ns()

    @contextlib.asynccontextmanager
    async def exporting(self, *registries: CollectorRegistry) -> AsyncIterator[None]:
        """Exports registries while a block runs, and once more at its end, for at most three seconds."""
        task = asyncio.create_task(self._export_often(registries))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self._export(registries, _LAST_SECONDS)

    async def _export_often(self, registries: Sequence[CollectorRegistry]) -> None:
        while True:
            await asyncio.sleep(self._interval_seconds)
            await self._export(registries, self._timeout_seconds)

    async def _export(self, registries: Sequence[CollectorRegistry], timeout_seconds: float) -> None:
        try:
            metrics = await self._collect(registries)
        except Exception:  # the next time may succeed
            logger.exception("metrics are not exported, because they could not be collected")
            return
        data = MetricsData(
            [ResourceMetrics(self._resource, [ScopeMetrics(_SCOPE, metrics, SCHEMA_URL)], self._resource.schema_url)]
        )

        def send() -> None:
            for exporter in self._exporters:
                exporter.export(data, timeout_millis=timeout_seconds * 1_000)

        await within(timeout_seconds, send)

    async def _collect(self, registries: Sequence[CollectorRegistry]) -> list[Metric]:
        metrics = []
        for registry in registries:
            for family in registry.collect():
                if (metric := metric_of(family, self._started_unix_ns, time.time_ns())) is not None:
                    metrics.append(metric)
                await asyncio.sleep(0)  # all at once would hold calls up for tens of milliseconds
        return metrics


def new_exporter(name: str) -> MetricExporter:
    """An exporter: `console`, `grpc` or `http/protobuf`.

    Raises:
        ValueError: the SDK refuses the value of an OpenTelemetry variable.
    """
    if name == "console":
        return ConsoleMetricExporter(out=sys.stderr)
    if name == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Grpc  # noqa: PLC0415

        return Grpc()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http  # noqa: PLC0415

    return Http()
