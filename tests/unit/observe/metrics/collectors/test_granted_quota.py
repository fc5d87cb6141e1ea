from dataclasses import replace

from prometheus_client import CollectorRegistry

from support.snapshots import idle_pool
from support.virtual_time import VirtualClock
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.snapshots import DimensionSnapshot, PoolSnapshot
from tidegate.observe.metrics.collectors.granted_quota import QuotaCollector
from tidegate.observe.metrics.metrics_observer import MetricsObserver

REQUESTS = DimensionSnapshot(Dimension.REQUESTS, 50.0, 60.0, 45.0, 4.0, 5.0, "adaptive")
UNKNOWN = DimensionSnapshot(Dimension.INPUT_TOKENS, 100.0, None, 100.0, 10.0, 10.0, "configured")
POOL = idle_pool("default", REQUESTS, UNKNOWN)


class Scraped:
    """A collector over one pool that the test may change."""

    def __init__(self, pool: PoolSnapshot = POOL) -> None:
        self.pools = [pool]
        self.clock = VirtualClock()
        self.registry = CollectorRegistry()
        observer = MetricsObserver(CollectorRegistry(), self.clock)
        self.registry.register(QuotaCollector(lambda: self.pools, self.clock, observer))

    def granted(self, dimension: str = "requests") -> float | None:
        labels = {"pool": self.pools[0].pool, "dimension": dimension}
        return self.registry.get_sample_value("tidegate_quota_granted_total", labels)


def test_a_limit_grants_from_the_scrape_that_first_sees_it() -> None:
    scraped = Scraped()
    scraped.clock.advance(600)
    assert scraped.granted() == 0
    scraped.clock.advance(30)
    assert scraped.granted() == 30
    scraped.clock.advance(60)
    assert scraped.granted() == 90


def test_a_changed_limit_grants_at_its_new_rate() -> None:
    scraped = Scraped()
    scraped.granted()
    scraped.pools = [replace(POOL, dimensions=(replace(REQUESTS, upstream_per_minute=600.0),))]
    scraped.clock.advance(60)
    assert scraped.granted() == 600


def test_the_granted_quota_stays_when_the_limit_is_unknown_again() -> None:
    scraped = Scraped()
    scraped.granted()
    scraped.clock.advance(60)
    scraped.granted()
    scraped.pools = [replace(POOL, dimensions=())]
    scraped.clock.advance(60)
    assert scraped.granted() == 60


def test_a_limit_that_the_upstream_does_not_report_grants_nothing() -> None:
    assert Scraped().granted("input_tokens") is None


def test_a_pool_without_a_label_of_its_own_is_absent() -> None:
    assert Scraped(replace(POOL, pool="invented")).granted() is None


def test_of_replicas_only_the_leader_counts_the_time_that_it_leads() -> None:
    leads = True
    clock, registry = VirtualClock(), CollectorRegistry()
    observer = MetricsObserver(CollectorRegistry(), clock)
    registry.register(QuotaCollector(lambda: [POOL], clock, observer, lambda: leads))
    labels = {"pool": POOL.pool, "dimension": "requests"}

    def granted_after(seconds: float) -> float | None:
        clock.advance(seconds)
        return registry.get_sample_value("tidegate_quota_granted_total", labels)

    assert (granted_after(0), granted_after(30)) == (0, 30)
    leads = False
    assert (granted_after(30), granted_after(30)) == (None, None)
    leads = True
    assert granted_after(30) == 60
