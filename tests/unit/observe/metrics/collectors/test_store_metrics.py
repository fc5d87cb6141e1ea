"""Metrics of the shared store."""

from prometheus_client import CollectorRegistry

from support.snapshots import shared_status
from tidegate.core.ports.store_status import SharedStatus
from tidegate.observe.metrics.collectors.store_metrics import StoreMetrics


class Scraped:
    """A registry over a status that the test may change."""

    def __init__(self, status: SharedStatus) -> None:
        self.status = status
        self.registry = CollectorRegistry()
        self.metrics = StoreMetrics(self.registry)
        self.metrics.watch(lambda: self.status)

    def value(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"tidegate_{name}")


def test_each_part_of_the_status_is_a_series() -> None:
    scraped = Scraped(shared_status(is_leader=True, replicas=4, log_lag_seconds=0.02, leader_changes=2))
    names = ("leader", "replicas", "store_up", "log_lag_seconds", "snapshot_age_seconds", "degraded")
    assert {name: scraped.value(name) for name in (*names, "leader_changes_total")} == {
        "leader": 1,
        "replicas": 4,
        "store_up": 1,
        "log_lag_seconds": 0.02,
        "snapshot_age_seconds": 0.5,
        "degraded": 0,
        "leader_changes_total": 2,
    }


def test_a_lost_store_is_shown_while_calls_go_on_and_when_they_are_refused() -> None:
    scraped = Scraped(shared_status(is_up=False, is_degraded=True))
    assert (scraped.value("store_up"), scraped.value("degraded")) == (0, 1)
    scraped.status = shared_status(is_up=False, is_refusing=True)
    assert scraped.value("degraded") == 1


def test_the_age_is_absent_before_the_first_report() -> None:
    scraped = Scraped(shared_status(snapshot_age_seconds=None))
    assert scraped.value("snapshot_age_seconds") is None


def test_answers_of_the_store_are_timed() -> None:
    scraped = Scraped(shared_status())
    scraped.metrics.on_latency(0.003)
    assert scraped.value("store_latency_seconds_sum") == 0.003
    assert scraped.value("store_latency_seconds_count") == 1
