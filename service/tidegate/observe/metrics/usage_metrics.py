"""Counts tokens and cost of responses."""

from collections.abc import Iterable

from tidegate.core.domain.usage import Usage
from tidegate.core.ports.clock import Clock
from tidegate.core.pricing.price_list import PICO_USD, PriceList
from tidegate.observe.metrics.event_metrics import EventMetrics
from tidegate.observe.metrics.labels import TOKEN_KINDS, LabelSet, Rows
from tidegate.observe.metrics.metric_rows import UsageRow

__all__ = ["UsageMetrics"]


class UsageMetrics:
    """Counts tokens and US dollars. Callers must hold the instruments' lock.

    Args:
        clock: selects the prices in force.
        prices: the price list.
        metrics: holds the counters of tokens and cost.
        labels: label sets of pools, models and callers.
    """

    def __init__(
        self,
        clock: Clock,
        prices: PriceList,
        metrics: EventMetrics,
        *,
        labels: tuple[LabelSet, LabelSet, LabelSet],
    ) -> None:
        self._clock = clock
        self._prices = prices
        self._tokens = metrics.tokens
        self._cost_usd = metrics.cost_usd
        self._unpriced = metrics.unpriced
        self._rows = Rows(self._row, *labels)

    def create_cost_series(self, model: str, callers: Iterable[str]) -> None:
        """Exports the callers' cost of a model at 0, if the model has a price."""
        if self._prices.cost_pico_usd(model, Usage(), self._clock.wall_seconds()) is not None:
            for caller in callers:
                self._cost_usd[model, caller].inc(0)

    def add(self, pool: str, model: str, caller: str, usage: Usage, cost_pico_usd: int | None) -> None:
        """Counts the usage and the cost of a response; None: its model has no known price."""
        row = self._rows[pool, model, caller]
        input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, _, _, _ = usage
        if input_tokens:
            row.input.inc(input_tokens)
        if output_tokens:
            row.output.inc(output_tokens)
        if cache_read_tokens:
            row.cache_read.inc(cache_read_tokens)
        if cache_creation_tokens:
            row.cache_creation.inc(cache_creation_tokens)
        if cost_pico_usd is not None:
            counter = row.cost_usd = row.cost_usd or self._cost_usd[row.model, row.caller]
            counter.inc(cost_pico_usd / PICO_USD)
        else:
            for kind, tokens in zip(TOKEN_KINDS, usage, strict=False):  # the other fields of a usage are no counts
                self._unpriced[row.model, kind].inc(tokens)

    def add_result(self, pool: str, model: str, caller: str, usage: Usage) -> None:
        """Counts the usage of one result of a batch, and its cost at the prices now in force."""
        self.add(pool, model, caller, usage, self._prices.cost_pico_usd(model, usage, self._clock.wall_seconds()))

    def _row(self, pool: str, model: str, caller: str) -> UsageRow:
        return UsageRow(model, caller, *(self._tokens[pool, model, caller, kind] for kind in TOKEN_KINDS))
