"""The prices of calls in the units of budgets: money, and tokens of all kinds."""

from collections.abc import Callable

from tidegate.core.domain.budget import Spending
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.usage import Usage
from tidegate.core.pricing.cost_estimator import CostEstimator
from tidegate.core.pricing.message_shape import MessageShape
from tidegate.core.pricing.price_list import PriceList, rounded_micro_usd

__all__ = ["CallPrices"]


class CallPrices:
    """Prices of calls, before and after they are made.

    A model without a known price is taken to cost as much as the dearest one: it must not evade budgets in money.

    Args:
        prices: the price list.
        wall_seconds: the time, for prices that change.
    """

    def __init__(self, prices: PriceList, wall_seconds: Callable[[], float]) -> None:
        self._prices = prices
        self._wall_seconds = wall_seconds

    def expected(self, shape: MessageShape, cost: Cost, estimator: CostEstimator, now_ns: int) -> Spending:
        """The probable spending of a call of this estimated cost.

        Input of a call that writes to the cache is expected to be written to it, as far as it is not read from it.
        """
        _, new_tokens, output_tokens = cost
        read = written = 0
        if shape.prefixes:
            read = estimator.cached_tokens(shape, now_ns)
            if any(prefix.marked for prefix in shape.prefixes):
                new_tokens, written = 0, new_tokens
        prompt_tokens = new_tokens + read + written
        prices = self._prices  # the id of a model in fast mode has prices of its own
        price = prices.price(shape.model, prompt_tokens, self._wall_seconds()) or prices.dearest
        pico_usd = new_tokens * price.input + output_tokens * price.output
        if prompt_tokens > new_tokens:
            pico_usd += read * price.cache_read + written * price.cache_creation_5m
        return Spending(rounded_micro_usd(pico_usd), prompt_tokens + output_tokens)

    def spent(self, model: str, usage: Usage | None, cost: Cost | None) -> Spending | None:
        """The spending of a call, by its usage, or else by its cost. None: both are unknown."""
        if usage is not None:
            return self.of_usage(model, usage)
        return None if cost is None else self.of_usage(model, Usage(cost.input_tokens, cost.output_tokens))

    def of_usage(self, model: str, usage: Usage) -> Spending:
        """The spending of a response with this usage."""
        return self.of_response(usage, self.cost_pico_usd(model, usage))

    def of_response(self, usage: Usage, cost_pico_usd: int | None) -> Spending:
        """As `of_usage`, for a response whose `cost_pico_usd` is known already."""
        input_tokens, output_tokens, read_tokens, created_tokens, _, _, _ = usage
        micro_usd = self._prices.most_micro_usd(usage) if cost_pico_usd is None else rounded_micro_usd(cost_pico_usd)
        return Spending(micro_usd, input_tokens + output_tokens + read_tokens + created_tokens)

    def cost_pico_usd(self, model: str, usage: Usage) -> int | None:
        """The exact cost of a response; None if the model has no known price."""
        return self._prices.cost_pico_usd(model, usage, self._wall_seconds())

    def cost_micro_usd(self, model: str, usage: Usage) -> int | None:
        """As `cost_pico_usd`, in micro-dollars."""
        return self._prices.cost_micro_usd(model, usage, self._wall_seconds())
