"""Faults of an export: they are logged, and neither end the service nor reach the code that is observed."""

import asyncio
import logging
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tidegate.observe.otlp.blocking import within
from tidegate.observe.otlp.log_export import LogExport
from tidegate.observe.otlp.metric_export import MetricExport


class BrokenCollector(Collector):
    """Fails at every scrape."""

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        raise ZeroDivisionError


def test_a_function_that_fails_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def main() -> None:
        async with asyncio.timeout(30):
            await within(3_600, fail)

    asyncio.run(main())
    assert caplog.messages == ["an export has failed"]


def test_metrics_that_cannot_be_collected_do_not_end_the_service(caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    registry.register(BrokenCollector())

    async def main() -> None:
        async with MetricExport([], {}, interval_seconds=3_600, timeout_seconds=30).exporting(registry):
            pass

    asyncio.run(main())
    assert caplog.messages == ["metrics are not exported, because they could not be collected"]


def test_a_record_that_cannot_be_formatted_does_not_fail_its_logger(capsys: pytest.CaptureFixture[str]) -> None:
    LogExport([], {}).handle(logging.LogRecord("a", logging.INFO, "a.py", 1, "%d calls", ("sk-ant-1",), None))
    assert "sk-ant-1" not in capsys.readouterr().err
