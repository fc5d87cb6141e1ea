"""What tokens cost: the price list in `prices.toml`."""

import math
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from tidegate.core.pools import undated
from tidegate.core.usage import Usage

__all__ = ["Price", "PriceList"]

_TOKENS_PER_PRICE = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens, for prompts of at most `up_to_prompt_tokens`, cached tokens included."""

    input: float
    output: float
    cache_read: float
    cache_creation_5m: float
    cache_creation_1h: float
    up_to_prompt_tokens: float = math.inf

    def cost_usd(self, usage: Usage) -> float:
        """What one answer costs. Cache writes of unknown lifetime count as kept for 5 minutes, the default."""
        kept_1h = min(usage.cache_creation_1h_tokens, usage.cache_creation_tokens)
        dollars = (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_read_tokens * self.cache_read
            + (usage.cache_creation_tokens - kept_1h) * self.cache_creation_5m
            + kept_1h * self.cache_creation_1h
        )
        return dollars / _TOKENS_PER_PRICE


class PriceList:
    """The prices of all models that are known, by undated id; each model's rows in rising order of prompt length.

    `batch_share`: of these prices, what the same tokens cost in a batch; from 0 to 1.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], batch_share: float) -> None:
        self._batch_share = batch_share
        self._prices: dict[str, tuple[Price, ...]] = {}
        for row in rows:
            price = Price(**{name: value for name, value in row.items() if name != "models"})
            for model in row["models"]:
                self._prices[model] = (*self._prices.get(model, ()), price)

    @classmethod
    @cache
    def bundled(cls) -> "PriceList":
        """The list that comes with Tidegate."""
        listed = tomllib.loads(files(__package__).joinpath("prices.toml").read_text("utf-8"))
        return cls(listed["prices"], listed["batch_share"])

    @property
    def models(self) -> Collection[str]:
        """The models that have a price, by undated id."""
        return self._prices.keys()

    def cost_usd(self, model: str, usage: Usage) -> float | None:
        """What an answer costs by the list; None if it has no price for the model, which is not the same as free."""
        prompt_tokens = usage.input_tokens + usage.cache_read_tokens + usage.cache_creation_tokens
        for price in self._prices.get(undated(model), ()):
            if prompt_tokens <= price.up_to_prompt_tokens:
                return price.cost_usd(usage) * (self._batch_share if usage.batch else 1.0)
        return None
