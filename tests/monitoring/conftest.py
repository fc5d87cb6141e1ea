"""A scrape with one of everything, and files of expected text that a variable of the environment updates."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from support.snapshots import idle_pool, shared_status
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.budget import BudgetRule, BudgetSnapshot, BudgetUnit, Period
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.events import (
    Admitted,
    Anomaly,
    AttemptFinished,
    BatchResultsRead,
    BudgetReached,
    FallbackUsed,
    HeadRefused,
    LeaseEnded,
    RefusedCall,
    RequestFinished,
    RetryScheduled,
    SpendCapReached,
    UpstreamRateLimited,
    WorkflowFinished,
)
from tidegate.core.domain.snapshots import ClassSnapshot, DimensionSnapshot
from tidegate.core.domain.usage import Usage
from tidegate.core.ports.usage_sink import SinkStatus
from tidegate.core.pricing.price_list import PriceList
from tidegate.observe.metrics.collectors.budget_metrics import BudgetMetrics
from tidegate.observe.metrics.collectors.granted_quota import QuotaCollector
from tidegate.observe.metrics.collectors.ledger_metrics import LedgerMetrics
from tidegate.observe.metrics.collectors.loop_lag import measure_loop_lag
from tidegate.observe.metrics.collectors.pool_collector import PoolCollector
from tidegate.observe.metrics.collectors.session_metrics import SessionMetrics
from tidegate.observe.metrics.collectors.store_metrics import StoreMetrics
from tidegate.observe.metrics.exposition import new_registry
from tidegate.observe.metrics.metrics_observer import MetricsObserver
from tidegate.observe.observers import Observers
from tidegate.observe.upkeep.upkeep_metrics import UpkeepMetrics

UPDATE = "UPDATE_GOLDEN"
"""Set to 1, the tests write the expected files instead of comparing them: read the diff before committing it."""

_SECOND_NS = 1_000_000_000
_TEAM = Caller("team-a", label="team-a")
_BUDGET = BudgetSnapshot(
    BudgetRule("team-a-day", BudgetUnit.USD, 5_000_000, Period.DAY), "", 4_000_000, 250_000, 1_796_169_600
)
_POOL, _MODEL = "sonnet-5-5", "claude-sonnet-5-5"


@pytest.fixture
def golden() -> Callable[[Path, str], None]:
    """Compares a text with the file that holds what is expected."""

    def compare(path: Path, actual: str) -> None:
        if os.environ.get(UPDATE) == "1":
            path.write_text(actual)
        assert actual == path.read_text(), f"{path.name} is out of date: run again with {UPDATE}=1 and read the diff"

    return compare


@pytest.fixture
def registry() -> CollectorRegistry:
    """Everything that a service exports after one event of each kind, on a virtual clock."""
    clock = VirtualClock()
    registry = new_registry("0.0.0", "unknown", "simulator")
    observer = MetricsObserver(registry, clock, models=[_MODEL], callers=[_TEAM.label])
    dimensions = (
        DimensionSnapshot(Dimension.REQUESTS, 50.0, 60.0, 45.0, 4.0, 5.0, "adaptive"),
        DimensionSnapshot(Dimension.INPUT_TOKENS, None, 30_000.0, 27_000.0, 1234.5, 2500.0, "adaptive"),
        DimensionSnapshot(Dimension.OUTPUT_TOKENS, None, None, None, None, None, "none"),
    )
    snapshot = replace(
        idle_pool(_POOL, *dimensions),
        adaptive_factor=0.9,
        frozen_seconds=2.5,
        waiting=3,
        classes={
            "interactive": ClassSnapshot(1, 200, 0.5, {"team-a": 1}),
            "standard": ClassSnapshot(2, 4_000, 12.5, {"team-a": 2}),
            "batch": ClassSnapshot(),
        },
        in_flight=2,
        oldest_lease_seconds=41.5,
        concurrency_limit=12,
        granted=10,
        rate_limited=1,
        succeeded=7,
    )
    registry.register(PoolCollector(lambda: [snapshot], observer))
    registry.register(QuotaCollector(lambda: [snapshot], clock, observer))
    store = StoreMetrics(registry)
    store.watch(lambda: shared_status(is_leader=True, log_lag_seconds=0.0125, leader_changes=3))
    store.on_latency(0.0004)
    registry.register(LedgerMetrics(lambda: SinkStatus(up=True, unwritten_seconds=0.25, failures=2, lost=1)))
    budgets = BudgetMetrics.registered(registry, lambda: [_BUDGET])
    sessions = SessionMetrics.registered(registry, clock)
    registry.register(UpkeepMetrics(lambda: clock.wall_seconds() + 86_400 * 90, clock.wall_seconds))
    generate_latest(registry)  # the limits count from the first scrape
    clock.advance(60)

    async def lag() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.15):
                await measure_loop_lag(registry, clock)

    run_virtual(lag(), clock)
    usage = Usage(100, 200, 300, 400, 100)
    cost_pico_usd = PriceList.bundled().cost_pico_usd(_MODEL, usage, clock.wall_seconds())
    for event in (
        Admitted(_POOL, _TEAM, Cost(1, 480, 250), _SECOND_NS // 4),
        AttemptFinished(_POOL, _MODEL, _TEAM, "529", _SECOND_NS // 20),
        RetryScheduled(_POOL, "overloaded", 1, 2 * _SECOND_NS),
        AttemptFinished(
            _POOL, _MODEL, _TEAM, "200", 3 * _SECOND_NS, _SECOND_NS // 2, usage, "session-1", cost_pico_usd
        ),
        LeaseEnded(_POOL, _TEAM, "settled", Cost(1, 480, 250), usage.cost()),
        RequestFinished("/v1/messages", _POOL, _TEAM, "ok", 6 * _SECOND_NS, _SECOND_NS // 1000),
        UpstreamRateLimited(_POOL, "requests", 2 * _SECOND_NS),
        AttemptFinished(_POOL, "claude-fable-9", _TEAM, "200", _SECOND_NS, None, Usage(1, 2)),
        SpendCapReached(_POOL),
        Anomaly(_POOL, "lease"),
        RefusedCall("", _TEAM, Cause.FORBIDDEN),
        BatchResultsRead(_TEAM, ((_MODEL, Usage(10, 20, batch=True)),)),
        HeadRefused(431),
        WorkflowFinished("ok"),
        FallbackUsed("truncated"),
        BudgetReached(80, _BUDGET),
    ):
        Observers(observer.handlers, budgets.handlers, sessions.handlers).event(event)
    return registry
