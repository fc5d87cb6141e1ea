"""What calls cost in the units of budgets."""

from datetime import date

import pytest

from tidegate.core.claude.rate_limit_groups import fast_model
from tidegate.core.domain.budget import Spending
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.usage import Usage
from tidegate.core.pricing.call_prices import CallPrices
from tidegate.core.pricing.cost_estimator import CostEstimator
from tidegate.core.pricing.message_shape import MessageShape, Prefix
from tidegate.core.pricing.price_list import PriceFile, PriceList, PriceRow
from tidegate.core.pricing.prompt_size import PromptSize

OPUS, UNKNOWN = "claude-opus-5-5", "claude-mythos-9"
COST = Cost(1, 1_000, 100)


@pytest.fixture
def prices() -> CallPrices:
    return CallPrices(PriceList.bundled(), lambda: 1_797_000_000.0)


def shape(model: str = OPUS, size: int = 4_000, prefixes: tuple[Prefix, ...] = ()) -> MessageShape:
    return MessageShape("ann", model, PromptSize(size), 1_000, prefixes)


def test_a_response_costs_its_tokens_and_counts_all_of_them(prices: CallPrices) -> None:
    usage = Usage(1_000, 100, 10_000, 500, 200)
    micro_usd = 1_000 * 4 + 100 * 20 + 10_000 * 20 // 100 + 300 * 5 + 200 * 8
    assert prices.of_usage(OPUS, usage) == Spending(micro_usd, 11_600)
    assert prices.cost_micro_usd(OPUS, usage) == micro_usd
    assert prices.spent(OPUS, usage, COST) == Spending(micro_usd, 11_600)


def test_without_usage_the_cost_counts_and_without_both_nothing_is_known(prices: CallPrices) -> None:
    assert prices.spent(OPUS, None, COST) == Spending(6_000, 1_100)
    assert prices.spent(OPUS, None, None) is None


def test_a_model_without_a_price_costs_as_much_as_the_dearest(prices: CallPrices) -> None:
    assert prices.cost_micro_usd(UNKNOWN, Usage(1_000, 100)) is None
    dear = prices.of_usage(UNKNOWN, Usage(1_000, 100))
    listed = [prices.of_usage(model, Usage(1_000, 100)) for model in PriceList.bundled().models]
    assert dear.micro_usd >= max(each.micro_usd for each in listed)
    assert dear.tokens == 1_100


def test_a_call_is_expected_to_write_what_it_does_not_read_from_the_cache(prices: CallPrices) -> None:
    estimator = CostEstimator()
    assert prices.expected(shape(), COST, estimator, 0) == Spending(6_000, 1_100)
    cached = shape(prefixes=(Prefix(1, 3_000, PromptSize(), marked=True),))
    assert prices.expected(cached, COST, estimator, 0) == Spending(1_000 * 5 + 100 * 20, 1_100)
    estimator.observe(cached, Usage(100, 100, cache_creation_tokens=900), 0)
    read = estimator.cached_tokens(cached, 0)
    assert read > 0
    expected = prices.expected(cached, COST, estimator, 0)
    assert expected == Spending(round(1_000 * 5 + 100 * 20 + read * 0.2), 1_100 + read)


def test_a_call_that_only_could_read_from_the_cache_writes_nothing(prices: CallPrices) -> None:
    unmarked = shape(prefixes=(Prefix(1, 3_000, PromptSize(), marked=False),))
    assert prices.expected(unmarked, COST, CostEstimator(), 0) == Spending(6_000, 1_100)


def test_fast_mode_has_prices_of_its_own(prices: CallPrices) -> None:
    fast = prices.expected(shape(fast_model(OPUS)), COST, CostEstimator(), 0)
    assert fast == prices.of_usage(OPUS, Usage(1_000, 100, fast=True))
    assert fast.micro_usd > prices.expected(shape(), COST, CostEstimator(), 0).micro_usd


def test_a_price_is_that_of_the_day() -> None:
    announced = PriceRow(("a",), 1, 1, 1, 1, 1, effective_from=date(1970, 1, 2))
    listed = PriceList(PriceFile("test", date(2026, 11, 1), (announced,)))
    before, then = CallPrices(listed, lambda: 86_399.0), CallPrices(listed, lambda: 86_400.0)
    assert (before.cost_micro_usd("a", Usage(7)), then.cost_micro_usd("a", Usage(7))) == (None, 7)
