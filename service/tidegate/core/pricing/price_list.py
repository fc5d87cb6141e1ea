"""Price lists, and the cost of a response in whole units of money."""

import math
from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, time
from functools import cache
from importlib.resources import files
from typing import Final

import msgspec

from tidegate.core.claude.rate_limit_groups import fast_model, is_fast_pool, undated
from tidegate.core.domain.usage import Usage

__all__ = [
    "MICRO_USD",
    "PICO_USD",
    "Price",
    "PriceFile",
    "PriceList",
    "PriceRow",
    "bundled_prices",
    "read_price_file",
    "rounded_micro_usd",
    "sum_micro_usd",
]

MICRO_USD: Final = 1_000_000
"""Micro-dollars in a US dollar. Prices are whole micro-dollars per million tokens."""
PICO_USD: Final = 1_000_000_000_000
"""Pico-dollars in a US dollar: the exact unit of cost, because a token may cost less than a micro-dollar."""

_PER_MILLE: Final = 1_000
_KINDS: Final = ("input", "output", "cache_read", "cache_creation_5m", "cache_creation_1h")


class PriceRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of a price file: US dollars per million tokens.

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


class PriceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a price file.

    Attributes:
        source: where the prices were read.
        read_on: when.
        batch_share: price of a batch relative to these prices, 0 to 1; None: that of the bundled file.
        prices: the rows; those of one model are in rising order of prompt length.
    """

    source: str
    read_on: date
    prices: tuple[PriceRow, ...]
    batch_share: float | None = None


class Price(msgspec.Struct, frozen=True):
    """One row in whole numbers: micro-dollars per million tokens."""

    since: float
    up_to_prompt_tokens: float
    input: int
    output: int
    cache_read: int
    cache_creation_5m: int
    cache_creation_1h: int

    def pico_usd(self, usage: Usage) -> int:
        """The exact cost of one response. Cache writes of unknown lifetime count as 5 minutes, the default."""
        input_tokens, output_tokens, read_tokens, created_tokens, kept_1h, _, _ = usage
        cost = input_tokens * self.input + output_tokens * self.output + read_tokens * self.cache_read
        if created_tokens:
            kept_1h = min(kept_1h, created_tokens)
            cost += (created_tokens - kept_1h) * self.cache_creation_5m + kept_1h * self.cache_creation_1h
        return cost


def read_price_file(content: bytes) -> PriceFile:
    """Reads a price file.

    Raises:
        ValueError: it is no such file, or a figure is negative, or has parts of a micro-dollar. The text says which.
    """
    try:
        found = msgspec.toml.decode(content, type=PriceFile)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    if found.batch_share is not None:
        _whole("batch_share", found.batch_share, _PER_MILLE)
    for number, row in enumerate(found.prices):
        for kind in _KINDS:
            _whole(f"prices[{number}].{kind}", getattr(row, kind), MICRO_USD)
    return found


class PriceList:
    """The prices of all known models, by undated id. Fast mode has its own rows, under the id of `fast_model`.

    Args:
        listed: the prices.
        replacing: an operator's own prices. They replace all rows of the models that they name.

    Attributes:
        sources: where the prices are from, and when they were read; the operator's first.
        dearest: the highest listed price of each kind of token.
    """

    def __init__(self, listed: PriceFile, replacing: PriceFile | None = None) -> None:
        own = () if replacing is None else replacing.prices
        share = listed.batch_share if replacing is None or replacing.batch_share is None else replacing.batch_share
        replaced = {model for row in own for model in row.models}
        self.sources = tuple((each.source, each.read_on) for each in (replacing, listed) if each is not None)
        self._batch_per_mille = _PER_MILLE if share is None else _whole("batch_share", share, _PER_MILLE)
        self._prices: dict[str, tuple[Price, ...]] = {}
        for rows, left_out in ((own, frozenset[str]()), (listed.prices, replaced)):
            for row in rows:
                for model in row.models:
                    if model in left_out:
                        continue
                    known = (*self._prices.get(model, ()), _price(row))
                    # The sort is stable, so that the rows of one day stay in order of prompt length.
                    self._prices[model] = tuple(sorted(known, key=lambda each: -each.since))
        prices = [price for known in self._prices.values() for price in known]
        dearest = (max((getattr(price, kind) for price in prices), default=0) for kind in _KINDS)
        self.dearest = Price(0.0, math.inf, *dearest)

    @classmethod
    @cache
    def bundled(cls) -> "PriceList":
        """The prices of `prices.toml`, which is part of the package."""
        return cls(bundled_prices())

    @property
    def models(self) -> Collection[str]:
        """Undated ids of the models with a price."""
        return [model for model in self._prices if not is_fast_pool(model)]

    def price(self, model: str, prompt_tokens: int, unix_seconds: float) -> Price | None:
        """The price of a model, or of its fast mode by the id of that, at this time; None if it is not known."""
        for price in self._prices.get(undated(model), ()):
            if price.since <= unix_seconds and prompt_tokens <= price.up_to_prompt_tokens:
                return price
        return None

    def cost_pico_usd(self, model: str, usage: Usage, unix_seconds: float) -> int | None:
        """The cost of a response at this time; None if the model has no known price, which does not mean free."""
        input_tokens, _, read_tokens, created_tokens, _, is_batch, is_fast = usage
        prompt_tokens = input_tokens + read_tokens + created_tokens
        price = self.price(fast_model(model) if is_fast else model, prompt_tokens, unix_seconds)
        if price is None:
            return None
        cost = price.pico_usd(usage)
        return cost * self._batch_per_mille // _PER_MILLE if is_batch else cost

    def cost_micro_usd(self, model: str, usage: Usage, unix_seconds: float) -> int | None:
        """As `cost_pico_usd`, in micro-dollars."""
        cost = self.cost_pico_usd(model, usage, unix_seconds)
        return None if cost is None else rounded_micro_usd(cost)

    def most_micro_usd(self, usage: Usage) -> int:
        """The most that a response with this usage could cost, at the highest listed price of each kind of token."""
        return rounded_micro_usd(self.dearest.pico_usd(usage))


def rounded_micro_usd(pico_usd: int) -> int:
    """The nearest micro-dollars, halves up. A sum over N responses is therefore at most N/2 micro-dollars off."""
    return (pico_usd + MICRO_USD // 2) // MICRO_USD


def sum_micro_usd(costs_pico_usd: Iterable[int]) -> int:
    """The sum of `rounded_micro_usd` of each cost."""
    return sum([(each + MICRO_USD // 2) // MICRO_USD for each in costs_pico_usd])


@cache
def bundled_prices() -> PriceFile:
    """The content of `prices.toml`, which is part of the package."""
    return read_price_file(files(__package__).joinpath("prices.toml").read_bytes())


def _price(row: PriceRow) -> Price:
    since = datetime.combine(row.effective_from, time(), UTC).timestamp()
    return Price(since, row.up_to_prompt_tokens, *(_whole(kind, getattr(row, kind), MICRO_USD) for kind in _KINDS))


def _whole(name: str, value: float, units: int) -> int:
    """A figure in whole units. Decimal fractions are not exact in binary, hence the tolerance."""
    whole = round(value * units) if math.isfinite(value) else -1
    if whole < 0 or not math.isclose(value * units, whole):
        raise ValueError(f"{name}: got {value}, allowed is a number from 0 with at most {len(str(units)) - 1} decimals")
    return whole
