"""Metrics of budgets. Without any, none of them has a sample."""

from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import Any, Final, Self

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from tidegate.core.domain.budget import BudgetSnapshot, BudgetUnit, Each
from tidegate.core.domain.events import BudgetReached, Event
from tidegate.core.pricing.price_list import MICRO_USD
from tidegate.observe.metrics import catalogue

__all__ = ["BudgetMetrics"]

_GAUGES: Final = (
    catalogue.BUDGET_LIMIT,
    catalogue.BUDGET_SPENT,
    catalogue.BUDGET_REMAINING,
    catalogue.BUDGET_USED_UP,
    catalogue.BUDGET_ENDS,
)
_MOST_BUDGETS: Final = 200
"""Labels are names of configured budgets; a reload may bring others."""


class BudgetMetrics(Collector):
    """Exports what budgets have left, at each scrape, and how often a threshold was reached.

    If each of several subjects has the budget, the one with the least left is shown. Sessions end, with whatever they
    have spent, so a budget of each session is never shown as used up.

    Args:
        budgets: returns what is left; must not block.
    """

    def __init__(self, budgets: Callable[[], Iterable[BudgetSnapshot]]) -> None:
        self._budgets = budgets
        self._reached: dict[tuple[str, int], int] = {}
        self._lock = Lock()

    @classmethod
    def registered(cls, registry: CollectorRegistry, budgets: Callable[[], Iterable[BudgetSnapshot]]) -> Self:
        """Metrics that this registry exports."""
        metrics = cls(budgets)
        registry.register(metrics)
        return metrics

    @property
    def handlers(self) -> Iterable[tuple[type[Event], Callable[[Any], None]]]:
        """Event types and their handlers, for observers."""
        return ((BudgetReached, self._budget_reached),)

    def describe(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """The families without samples."""
        for metric in _GAUGES:
            yield GaugeMetricFamily(metric.name, metric.help, labels=metric.labels, unit=metric.unit)
        reached = catalogue.BUDGET_THRESHOLDS
        yield CounterMetricFamily(reached.name, reached.help, labels=reached.labels)

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """The families with the current values."""
        limit, spent, remaining, used_up, ends, reached = self.describe()
        least: dict[str, BudgetSnapshot] = {}
        are_used_up: dict[str, bool] = {}
        for each in self._budgets():
            if each.rule.each is not Each.SESSION:
                are_used_up[each.rule.name] = each.used_up or are_used_up.get(each.rule.name, False)
            known = least.get(each.rule.name)
            if known is None or each.remaining_ratio < known.remaining_ratio:
                least[each.rule.name] = each
        for name, budget in least.items():
            unit = MICRO_USD if budget.rule.unit is BudgetUnit.USD else 1
            limit.add_metric([name, budget.rule.unit.value], budget.rule.limit / unit)
            spent.add_metric([name, budget.rule.unit.value], budget.spent / unit)
            remaining.add_metric([name], budget.remaining_ratio)
            if budget.ends is not None:
                ends.add_metric([name], budget.ends)
        for name, is_used_up in are_used_up.items():
            used_up.add_metric([name], float(is_used_up))
        with self._lock:
            for (name, percent), count in self._reached.items():
                reached.add_metric([name, str(percent)], count)
        yield from (limit, spent, remaining, used_up, ends, reached)

    def _budget_reached(self, event: BudgetReached) -> None:
        key = event.budget.rule.name, event.percent
        with self._lock:
            if key in self._reached or len(self._reached) < _MOST_BUDGETS:
                self._reached[key] = self._reached.get(key, 0) + 1
