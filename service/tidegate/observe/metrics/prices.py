"""The price list of `prices.toml`, and the cost of a response."""

import math
from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, time
from functools import cache
from importlib.resources import files

import msgspec

from tidegate.core.claude.rate_limit_groups import fast_model, is_fast_pool, undated
from tidegate.core.domain.usage import Usage

__all__ = ["Price", "PriceList"]

_TOKENS_PER_PRICE = 1_000_000


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the list: US dollars per million tokens.

    Attributes:
        models: undated ids of the models.
        up_to_prompt_tokens: the longest prompt, including cached tokens, to which the price applies.
        effective_from: the first day, in UTC, on which the price applies; a row with a later day replaces it.
    """

    models: tuple[str, ...]
    input: float
    output: float
    cache_read: float
    cache_creation_5m: float
    cache_creation_1h: float
    up_to_prompt_tokens: float = math.inf
    effective_from: date = date.min

    def cost_usd(self, usage: Usage) -> float:
        """The cost of one response. Cache writes of unknown lifetime count as 5 minutes, the default."""
        input_tokens, output_tokens, read_tokens, created_tokens, kept_1h, _, _ = usage
        dollars = input_tokens * self.input + output_tokens * self.output + read_tokens * self.cache_read
        if created_tokens:
            kept_1h = min(kept_1h, created_tokens)
            dollars += (created_tokens - kept_1h) * self.cache_creation_5m
            dollars += kept_1h * self.cache_creation_1h
        return dollars / _TOKENS_PER_PRICE


class _PriceFile(msgspec.Struct, forbid_unknown_fields=True):
    """The content of `prices.toml`."""

    read_on: date
    batch_share: float
    prices: tuple[Price, ...]


class PriceList:
    """The prices of all known models, by undated id. Fast mode has its own rows, under the id of `fast_model`.

    Args:
        rows: the prices; those of one model are in rising order of prompt length.
        batch_share: price of a batch relative to these prices, 0 to 1.
    """

    def __init__(self, rows: Iterable[Price], batch_share: float) -> None:
        self._batch_share = batch_share
        self._prices: dict[str, tuple[tuple[float, Price], ...]] = {}
        for price in rows:
            since = datetime.combine(price.effective_from, time(), UTC).timestamp()
            for model in price.models:
                known = (*self._prices.get(model, ()), (since, price))
                self._prices[model] = tuple(sorted(known, key=lambda each: -each[0]))  # stable, so bands stay in order

    @classmethod
    @cache
    def bundled(cls) -> "PriceList":
        """The list of `prices.toml`."""
        listed = msgspec.toml.decode(files(__package__).joinpath("prices.toml").read_bytes(), type=_PriceFile)
        return cls(listed.prices, listed.batch_share)

    @property
    def models(self) -> Collection[str]:
        """Undated ids of the models with a price."""
        return [model for model in self._prices if not is_fast_pool(model)]

    def cost_usd(self, model: str, usage: Usage, unix_seconds: float) -> float | None:
        """The cost of a response at this time; None if the model has no known price (which does not mean free)."""
        prompt_tokens = usage.input_tokens + usage.cache_read_tokens + usage.cache_creation_tokens
        for since, price in self._prices.get(fast_model(model) if usage.fast else undated(model), ()):
            if since <= unix_seconds and prompt_tokens <= price.up_to_prompt_tokens:
                cost_usd = price.cost_usd(usage)
                return cost_usd * self._batch_share if usage.batch else cost_usd
        return None
