import math
from collections.abc import Sequence
from dataclasses import replace

from prometheus_client import CollectorRegistry

from support.snapshots import idle_pool
from support.virtual_time import VirtualClock
from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.events import Admitted, AttemptFinished
from tidegate.core.domain.snapshots import ClassSnapshot, DimensionSnapshot, PoolSnapshot
from tidegate.observe.metrics.collectors.pool_collector import PoolCollector
from tidegate.observe.metrics.metrics_observer import MetricsObserver
from tidegate.observe.observers import Observers

TOKENS = DimensionSnapshot(Dimension.INPUT_TOKENS, 1000.0, 2000.0, 900.0, 123.5, 200.0, "adaptive")
UNKNOWN = DimensionSnapshot(Dimension.OUTPUT_TOKENS, None, None, None, None, None, "none")
IDLE = replace(idle_pool("default", TOKENS, UNKNOWN), adaptive_factor=0.9)


def scrape(pools: Sequence[PoolSnapshot]) -> tuple[CollectorRegistry, MetricsObserver]:
    registry = CollectorRegistry()
    observer = MetricsObserver(registry, VirtualClock(), callers=["team-a"])
    registry.register(PoolCollector(lambda: pools, observer))
    return registry, observer


def test_limits_by_source_and_the_level() -> None:
    registry, _ = scrape([IDLE])

    def limit(source: str) -> float | None:
        labels = {"pool": "default", "dimension": "input_tokens", "source": source}
        return registry.get_sample_value("tidegate_limit_per_minute", labels)

    assert [limit(source) for source in ("configured", "upstream", "effective")] == [1000, 2000, 900]
    assert registry.get_sample_value("tidegate_available", {"pool": "default", "dimension": "input_tokens"}) == 123.5


def test_unknown_and_infinite_values_are_absent() -> None:
    endless = DimensionSnapshot(Dimension.REQUESTS, math.inf, math.nan, math.inf, math.inf, math.inf, "configured")
    registry, _ = scrape([replace(IDLE, dimensions=(endless, UNKNOWN))])

    named = {
        (family.name, sample.labels["dimension"])
        for family in registry.collect()
        for sample in family.samples
        if family.name in {"tidegate_limit_per_minute", "tidegate_available"}
    }
    assert named == set()


def test_the_state_of_a_busy_pool() -> None:
    busy = replace(
        IDLE,
        frozen_seconds=1.5,
        waiting=3,
        classes={
            "batch": ClassSnapshot(2, 600, 31.5, {"team-a": 1, "key-of-somebody": 1}),
            "standard": ClassSnapshot(1, 100, 0.5, {"team-a": 1}),
        },
        in_flight=4,
        oldest_lease_seconds=7.5,
        open_circuits={"spend_cap": 60.0},
        concurrency_limit=12,
        binding="input_tokens",
    )
    registry, observer = scrape([busy])
    Observers(observer.handlers).event(Admitted("default", DEFAULT_CALLER, Cost(1), 0))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"tidegate_{name}", {"pool": "default", **labels})

    assert value("adaptive_factor") == 0.9
    assert value("pool_frozen") == 1
    assert value("concurrency_limit") == 12
    assert value("circuit_open", cause="spend_cap") == 1
    assert value("circuit_open", cause="upstream_outage") == 0
    assert value("in_flight") == 4
    assert value("oldest_lease_seconds") == 7.5
    assert value("queue_depth", **{"class": "batch"}) == 2
    assert value("queue_oldest_seconds", **{"class": "batch"}) == 31.5
    assert value("queue_tokens", **{"class": "batch"}) == 600
    assert value("current_rpm") == 1
    assert value("caller_waiting", caller="team-a", limit="input_tokens") == 2
    assert value("caller_waiting", caller="default", limit="input_tokens") == 1


def test_a_pool_without_a_label_of_its_own_has_no_gauges() -> None:
    registry, observer = scrape([replace(IDLE, pool="opus-4"), replace(IDLE, pool="other")])

    def factor(pool: str) -> float | None:
        return registry.get_sample_value("tidegate_adaptive_factor", {"pool": pool})

    assert factor("opus-4") is None
    Observers(observer.handlers).event(AttemptFinished("opus-4", "claude-opus-4-1", DEFAULT_CALLER, "200", 0))
    assert factor("opus-4") == 0.9
    assert factor("other") is None


def test_registration_reads_no_pool() -> None:
    def fail() -> list[PoolSnapshot]:
        raise AssertionError("read at registration")

    registry = CollectorRegistry()
    registry.register(PoolCollector(fail, MetricsObserver(registry, VirtualClock())))


def test_of_replicas_only_the_leader_exports_waiting_requests_which_are_summed() -> None:
    leads, registry = True, CollectorRegistry()
    observer = MetricsObserver(registry, VirtualClock())
    registry.register(PoolCollector(lambda: [IDLE], observer, lambda: leads))
    labels = {"pool": "default", "class": "batch"}

    def waiting() -> tuple[float | None, ...]:
        names = ("tidegate_queue_depth", "tidegate_queue_tokens")
        return tuple(registry.get_sample_value(name, labels) for name in names)

    assert waiting() == (0, 0)
    leads = False
    assert waiting() == (None, None)
    assert registry.get_sample_value("tidegate_in_flight", {"pool": "default"}) == 0


def test_a_pool_that_only_another_replica_has_used_gets_its_label() -> None:
    registry = CollectorRegistry()
    observer = MetricsObserver(registry, VirtualClock())
    pool = replace(idle_pool("opus-5", TOKENS), in_flight=4)
    registry.register(PoolCollector(lambda: [pool], observer))
    assert registry.get_sample_value("tidegate_in_flight", {"pool": "opus-5"}) is None
    observer.served(["opus-5", "opus-5"])
    assert registry.get_sample_value("tidegate_in_flight", {"pool": "opus-5"}) == 4
    assert registry.get_sample_value("tidegate_quota_charged_total", {"pool": "opus-5", "dimension": "requests"}) == 0
