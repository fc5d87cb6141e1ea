"""Tokens per unit of prompts and responses, by model."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Annotated, Final

from msgspec import Meta, Struct

from tidegate.core.pricing.message_shape import MessageShape
from tidegate.core.pricing.prompt_size import PromptSize, most_image_tokens

__all__ = ["FIRST_TOKENS_PER_BYTE", "ModelRates", "ModelRatesState", "TokenRate", "TokenRates"]

FIRST_TOKENS_PER_BYTE: Final = 0.25
"""English text inside JSON. Tokenizers differ by model: Opus 4.7 and later give about 30 % more tokens than before."""
_FIRST_PAGE_TOKENS: Final = 2_300.0
"""A page of a PDF, as text and as image. Sources: 7,000 for three pages (Claude Platform Docs, "PDF support"); pages of
text were measured at 2,100 to 2,500, scanned ones at 1,600 (a table of October 2026)."""
_FIRST_DOCUMENT_PAGES: Final = 10
"""Assumed length of a document behind a URL or file id."""
_FIRST_TOKENS: Final = {
    "text_bytes": FIRST_TOKENS_PER_BYTE,
    "image_tokens": 1.0,
    "pages": _FIRST_PAGE_TOKENS,
    "documents": _FIRST_DOCUMENT_PAGES * _FIRST_PAGE_TOKENS,
}
_KINDS: Final = PromptSize._fields[:-1]
_MOST_SURPRISE: Final = 8.0
"""A response counts as no more than this multiple of the estimate. The sum that it reports may be wrong, or include
what no prompt shows, such as the findings of server tools."""
_NEWEST_WEIGHT: Final = 0.02
"""Weight of the newest response in a running mean: half of the total weight is that of the last 35 responses."""
_MOST_WEIGHT: Final = 8.0
"""A response weighs no more than this many usual ones, however large it is."""
_MOST_MODELS: Final = 1_000


class ModelRatesState(Struct, frozen=True, array_like=True):
    """The dump of one model's rates, as (kind, count, units, value)."""

    model: str
    rates: tuple[tuple[str, Annotated[int, Meta(ge=1)], Annotated[float, Meta(gt=0)], float], ...]


class TokenRate:
    """Tokens per unit: a running sum of tokens divided by a running sum of units.

        units += w × (new units - units)
        value += w × (new units / units) × (new tokens / new units - value)

    It is not the mean of each response's own rate. A hundred small prompts, whose framing costs no tokens, would make a
    large prompt look cheap that uses more than all of them.

    Attributes:
        count: number of responses.
        units: mean units of a response.
        value: tokens per unit.
    """

    __slots__ = ("count", "units", "value")

    def __init__(self, count: int = 0, units: float = 0.0, value: float = 0.0) -> None:
        self.count = count
        self.units = units
        self.value = value

    def observe(self, tokens: float, units: float) -> None:
        """Takes in the newest response."""
        # Without `max` and `min`: each response calls this three times.
        self.count = count = self.count + 1
        mean, most = self.units, _MOST_WEIGHT * self.units
        share = _NEWEST_WEIGHT if _NEWEST_WEIGHT * count > 1 else 1 / count
        weight = most if mean and units > most else units
        self.units = mean = mean + share * (weight - mean)
        self.value += share * weight / mean * (tokens / units - self.value)


class ModelRates:
    """The rates of one model: tokens per unit of each kind of input, per byte of output text, and per second.

    `first_token` has the seconds to the first token of a stream instead.
    """

    __slots__ = ("_model", "_rates")

    def __init__(self, model: str, rates: dict[str, TokenRate]) -> None:
        self._model = model
        self._rates = rates

    def dump(self) -> ModelRatesState:
        """The state, for `restore`."""
        rates = tuple((kind, rate.count, rate.units, rate.value) for kind, rate in self._rates.items())
        return ModelRatesState(self._model, rates)

    @classmethod
    def restore(cls, state: ModelRatesState) -> "ModelRates":
        """Continues exactly from `state`."""
        return cls(state.model, {kind: TokenRate(count, units, value) for kind, count, units, value in state.rates})

    def get(self, kind: str) -> TokenRate | None:
        """The rate of a kind; None before the first response that shows it."""
        return self._rates.get(kind)

    def observe(self, kind: str, tokens: float, units: float) -> None:
        """A response used `tokens` for `units` of a kind."""
        rate = self._rates.get(kind)
        if rate is None:
            rate = self._rates[kind] = TokenRate()
        rate.observe(tokens, units)

    def input_tokens(self, size: PromptSize) -> float:
        """The expected tokens of a prompt, or of a part of it."""
        if any(size[1:]):
            return sum(self._expected(size).values()) + size.fixed_tokens
        return size.text_bytes * self._tokens_each("text_bytes")

    def observe_input(self, shape: MessageShape, total_tokens: int) -> None:
        """A response reported the tokens of a whole prompt. They correct the kind with the largest expected part."""
        size, largest = shape.size, "text_bytes"
        units, tokens = size.text_bytes, float(total_tokens)
        if any(size[1:]):
            expected = {largest: 0.0} | self._expected(size)
            largest = max(expected, key=expected.__getitem__)
            tokens -= size.fixed_tokens + sum(expected.values()) - expected[largest]
            if expected[largest] < size.fixed_tokens:
                return
            units = getattr(size, largest)
        if units and tokens > 0:
            most = _MOST_SURPRISE * self._tokens_each(largest) * units
            self.observe(largest, min(tokens, most), units)

    def _tokens_each(self, kind: str) -> float:
        """The tokens of one unit of a kind."""
        rate = self._rates.get(kind)
        if rate is not None:
            return rate.value
        return most_image_tokens(self._model) if kind == "unsized_images" else _FIRST_TOKENS[kind]

    def _expected(self, size: PromptSize) -> dict[str, float]:
        """The tokens of each kind that the prompt has, without the fixed ones."""
        return {kind: size[index] * self._tokens_each(kind) for index, kind in enumerate(_KINDS) if size[index]}


class TokenRates:
    """The rates of all models, at most 1,000. The one that was updated least recently is dropped first."""

    __slots__ = ("_models",)

    def __init__(self) -> None:
        self._models: OrderedDict[str, ModelRates] = OrderedDict()

    def of(self, model: str) -> ModelRates:
        """The rates of a model, to query them."""
        return self._models.get(model) or ModelRates(model, {})

    def updated(self, model: str) -> ModelRates:
        """The rates of a model, to feed them."""
        rates = self._models.get(model)
        if rates is None:
            rates = self._models[model] = ModelRates(model, {})
            if len(self._models) > _MOST_MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(model)
        return rates

    def dump_newest(self) -> Iterator[ModelRatesState]:
        """The states of all models, the most recently updated first."""
        return (rates.dump() for rates in reversed(self._models.values()))

    def restore(self, state: ModelRatesState) -> None:
        """Adds a model as the most recently updated."""
        self._models[state.model] = ModelRates.restore(state)
