"""The store that the settings ask for: in memory, or shared on a real server."""

import asyncio
import logging
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from support.daemon import free_port
from support.valkey_server import valkey_server
from tidegate.cli.composition.shared_store import ServiceStore
from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import ONE_REQUEST
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.feedback import Succeeded
from tidegate.engine.admission import Admission
from tidegate.engine.clock import SystemClock
from tidegate.observe.metrics.metrics_observer import MetricsObserver
from tidegate.settings import Settings
from tidegate.settings.fields.store_url import StoreUrl

POOL = "opus-5"


def made(port: int | None = None, **settings: str | int) -> tuple[ServiceStore, Admission, CollectorRegistry]:
    url = "memory://" if port is None else f"valkey://:hunter2@127.0.0.1:{port}"
    registry, clock = CollectorRegistry(), SystemClock()
    stores = ServiceStore(Settings(store_url=StoreUrl(url), **settings), clock, registry)
    return stores, Admission(stores.store, clock), registry


def test_without_a_url_the_pools_are_in_memory() -> None:
    async def main() -> None:
        stores, admission, registry = made()
        assert stores.memory is not None
        assert (stores.status, stores.counts()) == (None, True)
        assert stores.snapshots(MetricsObserver(CollectorRegistry(), SystemClock())) == stores.store.snapshot_now
        async with stores.joined(admission):
            assert (await admission.acquire(Demand(POOL, DEFAULT_CALLER, ONE_REQUEST))).id
        assert not [*registry.collect()]

    asyncio.run(main())


def test_with_a_url_this_process_is_a_replica_until_it_leaves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(port: int) -> None:
        stores, admission, registry = made(port)
        metrics = MetricsObserver(CollectorRegistry(), SystemClock())
        assert stores.memory is None
        assert not metrics.has_own_label(POOL)
        async with stores.joined(admission):
            assert stores.counts()  # alone, it leads
            assert registry.get_sample_value("tidegate_leader") == 1
            lease = await admission.acquire(Demand(POOL, DEFAULT_CALLER, ONE_REQUEST))
            assert lease.id.startswith(f"{admission.replica}-")
            await lease.end(Outcome.SETTLED, feedback=(Succeeded(sent_ago_ns=0),))
            async with asyncio.timeout(10):
                while not metrics.has_own_label(POOL):
                    stores.snapshots(metrics)()
                    await asyncio.sleep(0.05)
        assert not stores.counts()

    with valkey_server(tmp_path, "--requirepass", "hunter2") as port, caplog.at_level(logging.INFO):
        asyncio.run(main(port))
    assert "1 replica" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_server_that_is_lost_ends_the_start_or_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def start(**settings: str | int) -> bool:
        stores, admission, _ = made(free_port(), **settings)
        async with stores.joined(admission):
            assert stores.status is not None
            return stores.status().is_degraded

    with pytest.raises(ConfigurationError, match="cannot be reached") as raised:
        asyncio.run(start())
    assert asyncio.run(start(store_start="degraded", store_replicas=2))
    assert "starting without the shared store" in caplog.text
    assert "hunter2" not in f"{raised.value}{caplog.text}"
