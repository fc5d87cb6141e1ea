"""Prometheus takes what a series begins with for no increase: what rules count is there at 0 before it happens."""

import re
from typing import Any

import yaml
from prometheus_client import CollectorRegistry

from support.project import ROOT
from support.virtual_time import VirtualClock
from tidegate.observe.metrics.exposition import new_registry
from tidegate.observe.metrics.metrics_observer import MetricsObserver

RULES = ROOT / "deploy/prometheus/rules"
COUNTED = re.compile(r"(?:rate|increase)\((tidegate_\w+)(?:\{([^}]*)\})?\[")
LATER = {
    "tidegate_requests_total outcome ok": "what shares are taken of: a call too few makes a share no smaller",
    "tidegate_time_to_first_token_seconds_bucket": "a quantile: one value more or less says nothing",
    "tidegate_estimate_error_ratio_bucket": "likewise",
    "tidegate_estimate_error_ratio_count": "fifty of them make the quantile worth looking at",
    "tidegate_overhead_seconds_bucket": "a quantile",
    "tidegate_event_loop_lag_seconds_bucket": "a quantile, which the service begins to fill as it starts",
    "tidegate_tokens_total": "likewise: it tells slow responses from long ones",
    "tidegate_store_latency_seconds_bucket": "a quantile, of replicas that share a store",
    "tidegate_quota_granted_total": "grows from the scrape that first sees a limit, and is 0 there",
}
"""What rules count that is not there from the start, and why that is no matter."""


def counted() -> set[tuple[str, str]]:
    """Metrics with their conditions, as rules count them."""
    groups: list[dict[str, Any]] = [
        group
        for name in ("tidegate-recording.yml", "tidegate-alerts.yml")
        for group in yaml.safe_load((RULES / name).read_text())["groups"]
    ]
    return {found for group in groups for rule in group["rules"] for found in COUNTED.findall(rule["expr"])}


def exists(registry: CollectorRegistry, metric: str, conditions: str) -> bool:
    wanted = re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', conditions)

    def fits(labels: dict[str, str]) -> bool:
        return all(
            (re.fullmatch(value, labels.get(name, "")) is not None)
            if sign == "=~"
            else (labels.get(name, "") == value) is (sign == "=")
            for name, sign, value in wanted
        )

    return any(
        sample.name == metric and sample.value == 0 and fits(sample.labels)
        for family in registry.collect()
        for sample in family.samples
    )


def test_counters_of_rules_exist_at_zero_before_anything_happens() -> None:
    registry = new_registry("0.0.0", "unknown", "claude")
    MetricsObserver(registry, VirtualClock(), models=["claude-sonnet-5-5"])
    asked = counted()
    assert len(asked) > 20

    missing = {
        f"{metric} outcome ok" if 'outcome="ok"' in conditions else metric
        for metric, conditions in asked
        if not exists(registry, metric, conditions)
    }

    assert missing == LATER.keys()
