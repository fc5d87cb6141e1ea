"""Metrics of budgets."""

import pytest
from prometheus_client import CollectorRegistry

from tidegate.core.domain.budget import BudgetRule, BudgetSnapshot, BudgetUnit, Each
from tidegate.core.domain.events import BudgetReached
from tidegate.observe.metrics.collectors import budget_metrics
from tidegate.observe.metrics.collectors.budget_metrics import BudgetMetrics

USD = BudgetRule("day", BudgetUnit.USD, 5_000_000)
TEAM = BudgetRule("team", BudgetUnit.TOKENS, 100, each=Each.TEAM)
EACH = BudgetRule("session", BudgetUnit.TOKENS, 100, each=Each.SESSION)


def test_of_each_budget_the_subject_with_the_least_left_is_exported() -> None:
    registry = CollectorRegistry()
    left = [
        BudgetSnapshot(USD, "", 4_000_000, 500_000, None),
        BudgetSnapshot(EACH, "web/a", 10, 0, None),
        BudgetSnapshot(EACH, "web/b", 70, 5, None),
        BudgetSnapshot(EACH, "web/c", 60, 0, None),
    ]
    BudgetMetrics.registered(registry, lambda: left)
    values = {
        (name, budget): registry.get_sample_value(f"tidegate_budget_{name}", labels)
        for budget, unit in (("day", "usd"), ("session", "tokens"))
        for name, labels in (
            ("limit", {"budget": budget, "unit": unit}),
            ("spent", {"budget": budget, "unit": unit}),
            ("remaining_ratio", {"budget": budget}),
        )
    }
    assert values == {
        ("limit", "day"): 5.0,
        ("spent", "day"): 4.0,
        ("remaining_ratio", "day"): 0.1,
        ("limit", "session"): 100,
        ("spent", "session"): 70,
        ("remaining_ratio", "session"): 0.25,
    }


def test_a_budget_is_used_up_once_it_is_for_any_subject_but_a_session() -> None:
    registry = CollectorRegistry()
    left = [
        BudgetSnapshot(USD, "", 4_000_000, 500_000, None),
        BudgetSnapshot(TEAM, "ads", 99, 0, None),
        BudgetSnapshot(TEAM, "search", 80, 0, None, used_up=True),
        BudgetSnapshot(TEAM, "web", 0, 0, None),
        BudgetSnapshot(EACH, "web/a", 100, 0, None, used_up=True),
    ]
    BudgetMetrics.registered(registry, lambda: left)
    values = [
        registry.get_sample_value("tidegate_budget_used_up", {"budget": name}) for name in ("day", "team", "session")
    ]
    assert values == [0.0, 1.0, None]


def test_the_end_of_a_period_is_shown() -> None:
    registry = CollectorRegistry()
    left = [BudgetSnapshot(USD, "", 0, 0, 1_796_169_600), BudgetSnapshot(TEAM, "ads", 0, 0, None)]
    BudgetMetrics.registered(registry, lambda: left)
    values = [
        registry.get_sample_value("tidegate_budget_ends_timestamp_seconds", {"budget": name})
        for name in ("day", "team")
    ]
    assert values == [1_796_169_600, None]


def test_thresholds_are_counted_up_to_a_number_of_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_metrics, "_MOST_BUDGETS", 1)
    registry = CollectorRegistry()
    ((_, handler),) = BudgetMetrics.registered(registry, list).handlers
    for percent in (80, 100, 80):
        handler(BudgetReached(percent, BudgetSnapshot(USD, "", 1, 0, None)))
    name = "tidegate_budget_thresholds_total"
    assert registry.get_sample_value(name, {"budget": "day", "percent": "80"}) == 2
    assert registry.get_sample_value(name, {"budget": "day", "percent": "100"}) is None
