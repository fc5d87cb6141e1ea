"""What a Messages call will probably cost, learned from what answers say they used.

Input: the call's amounts of text, images and documents (`core.prompt_size`), each times what the model's answers have
shown one unit of it to cost, less what is expected to be read from the prompt cache, which does not count. An answer
tells only the sum: it corrects the kind that makes up most of the estimate.

Output: the mean of the caller's answers of that model and `max_tokens` band, which begins with what the model's others
in the band were like, or else all of the pool; and what it may be at worst, by their spread. A pool that has no
answers yet begins with long ones: if they are short, the first are here soon and say so, also to who waits already; if
they are long and were taken to be short, a whole bucket of them is under way before any has ended. `max_tokens` is
nowhere but in two places: an answer cannot be longer, and who sets it alike asks alike. It is no estimate: libraries
leave it at 1,024 or 64,000 for answers of 300, and the upstream does not count it (Claude Platform Docs, "Rate limits",
read 2026-10-08).
"""

from collections import OrderedDict
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Final, NamedTuple, Self, TypeAlias, TypeVar

from msgspec import Meta, Struct, msgpack

from tidegate.core.claude.rate_limit_groups import model_pool
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND, to_seconds
from tidegate.core.domain.usage import Usage
from tidegate.core.pricing.prompt_size import PromptSize, most_image_tokens
from tidegate.core.pricing.running_mean import RunningMean, RunningMeanState

__all__ = ["CostEstimator", "CostEstimatorState", "MessageShape", "Prefix"]

_FIRST_TOKENS_PER_BYTE: Final = 0.25
"""English text inside JSON. Tokenizers differ by model (Opus 4.7 and later give about 30 % more tokens than before)."""
_FIRST_PAGE_TOKENS: Final = 2_300.0
"""Of a PDF, as text and as image. Sources: 7,000 for three pages (Claude Platform Docs, "PDF support"); pages of text
were measured at 2,100 to 2,500, scanned ones at 1,600 (a table of October 2026)."""
_FIRST_DOCUMENT_PAGES: Final = 10
"""Of a document that stands elsewhere: nobody knows."""
_FIRST_OUTPUT_TOKENS: Final = 4_000
"""A long answer: about a minute of output."""
_FIRST_TOKENS: Final = {
    "text_bytes": _FIRST_TOKENS_PER_BYTE,
    "image_tokens": 1.0,
    "pages": _FIRST_PAGE_TOKENS,
    "documents": _FIRST_DOCUMENT_PAGES * _FIRST_PAGE_TOKENS,
}
_KINDS: Final = PromptSize._fields[:-1]
_PRIOR_TIMES: Final = 3
"""The shortest answers come first: they alone would make all look short."""
_MOST_TOKENS_PER_BYTE: Final = 1.0
"""Of text that came: what is produced and never shown, such as thinking, comes to light at the end."""
_MOST_SURPRISE: Final = 8.0
"""One answer counts as no more than so many times what was believed: the sum that it tells may be wrong, or hold what
no prompt shows, such as what tools of the server found."""
_FORGET: Final = 0.02
"""Weight of the newest answer in a running mean: half of it is the last 35 answers."""
_MOST_WEIGHT: Final = 8.0
"""One answer weighs no more than so many usual ones, however large it is."""
_CACHED_NS: Final = 280 * NS_PER_SECOND
"""A prefix lives for five minutes after it was last used, less some doubt about whose clock that is."""
_MOST_PREFIXES: Final = 10_000
_MOST_MODELS: Final = 1_000
_MOST_SKETCHES: Final = 5_000
_MANY_ANSWERS: Final = 200
_REST_NS: Final = 2 * NS_PER_SECOND // 1_000
"""After so many answers, alike ones that come sooner after one another teach nothing more: a mean that forgets half in
35 answers would hold less than a twentieth of a second of them."""
_ANY_BAND: Final = -1
"""Of calls that do not say how long an answer may be."""

_Key: TypeAlias = tuple[str | int, ...]


class Prefix(NamedTuple):
    """A beginning of a prompt; there may be thousands of them in one call.

    Attributes:
        digest: tells it from all others.
        text_bytes: how much text it holds.
        beside: what it holds beside text.
        marked: whether `cache_control` stands at its end.
    """

    digest: int
    text_bytes: int
    beside: PromptSize
    marked: bool

    @property
    def size(self) -> PromptSize:
        """How much it holds."""
        return self.beside._replace(text_bytes=self.text_bytes)


class MessageShape(Struct, frozen=True, gc=False):
    """What the price of a Messages call depends on. `prefixes` go from the shortest to the longest."""

    caller: str
    model: str
    size: PromptSize
    max_tokens: int | None = None
    prefixes: tuple[Prefix, ...] = ()


class OutputLengthsState(Struct, frozen=True, array_like=True):
    """The dumped output lengths of one key of the estimator."""

    key: _Key
    tokens: RunningMeanState
    rests_for_ns: int | None


class ModelRatesState(Struct, frozen=True, array_like=True):
    """The dumped rates of one model, as (kind, count, units, value)."""

    model: str
    rates: tuple[tuple[str, Annotated[int, Meta(ge=1)], Annotated[float, Meta(gt=0)], float], ...]


class CostEstimatorState(Struct, frozen=True, array_like=True):
    """A dumped `CostEstimator`; what was used last comes last."""

    version: int
    models: tuple[ModelRatesState, ...]
    outputs: tuple[OutputLengthsState, ...]


class _Lengths:
    """How long answers are, and until when one more has nothing to tell."""

    __slots__ = ("rests_until_ns", "tokens")

    def __init__(self, tokens: RunningMean) -> None:
        self.tokens = tokens
        self.rests_until_ns: int | None = None

    def dump(self, key: _Key, now_ns: int) -> OutputLengthsState:
        """The state at `now_ns`."""
        until_ns = self.rests_until_ns
        return OutputLengthsState(key, self.tokens.dump(), None if until_ns is None else until_ns - now_ns)

    @classmethod
    def restore(cls, state: OutputLengthsState, now_ns: int) -> Self:
        """Continues exactly from a dumped state."""
        lengths = cls(RunningMean.restore(state.tokens))
        lengths.rests_until_ns = None if state.rests_for_ns is None else now_ns + state.rests_for_ns
        return lengths


class _Rate:
    """Tokens a unit: what all answers had of the one by what they had of the other, weighted towards the newest.

    No mean of each answer's own rate: a hundred small prompts, whose framing costs no tokens, would make the one large
    prompt look cheap that uses more than all of them.
    """

    __slots__ = ("count", "units", "value")

    def __init__(self, count: int = 0, units: float = 0.0, value: float = 0.0) -> None:
        self.count = count
        self.units = units  # of an answer, in the mean
        self.value = value

    def add(self, tokens: float, units: float) -> None:
        # No `max` and no `min`: each answer comes by here three times.
        self.count = count = self.count + 1
        mean, most = self.units, _MOST_WEIGHT * self.units
        share = _FORGET if _FORGET * count > 1 else 1 / count
        weight = most if mean and units > most else units
        self.units = mean = mean + share * (weight - mean)
        self.value += share * weight / mean * (tokens / units - self.value)


_NO_RATES: Final[dict[str, _Rate]] = {}
"""Of a model that nobody has heard of."""


class CostEstimator:
    """Estimates costs, and learns from every answer. Bounded: what was not used for longest is forgotten."""

    def __init__(self) -> None:
        self._rates: OrderedDict[str, dict[str, _Rate]] = OrderedDict()  # by model and kind
        self._outputs: OrderedDict[_Key, _Lengths] = OrderedDict()
        self._cached_until: OrderedDict[int, int] = OrderedDict()

    def estimate(self, shape: MessageShape, now_ns: int) -> Cost:
        """The cost to reserve: one request, and the tokens that are to be expected."""
        lengths = self._lengths(shape)
        output_tokens = _FIRST_OUTPUT_TOKENS if lengths is None else lengths.tokens.mean
        return Cost(1, self._input_tokens(shape, now_ns), _capped(output_tokens, shape.max_tokens))

    def quote(self, shape: MessageShape, now_ns: int) -> tuple[Cost, int]:
        """The same, and how many output tokens more than that the answer may well have."""
        lengths = self._lengths(shape)
        if lengths is None:
            return self.estimate(shape, now_ns), 0
        tokens, most = lengths.tokens, shape.max_tokens
        output_tokens, most_tokens = _capped(tokens.mean, most), _capped(tokens.high, most)
        overdraw_tokens = most_tokens - output_tokens if most_tokens > output_tokens else 0
        return Cost(1, self._input_tokens(shape, now_ns), output_tokens), overdraw_tokens

    def produced(self, model: str, usage: Usage, unreported_bytes: int) -> Usage:
        """What an answer that broke off had used: its latest figures, and the tokens of the text that came after them.

        `unreported_bytes` is how much text that was.
        """
        return usage._replace(output_tokens=usage.output_tokens + self.text_tokens(model, unreported_bytes))

    def text_tokens(self, model: str, text_bytes: int) -> int:
        """About how many tokens of output so much text is."""
        learned = self._rates.get(model, _NO_RATES).get("text")
        per_byte = min(learned.value, _MOST_TOKENS_PER_BYTE) if learned else _FIRST_TOKENS_PER_BYTE
        return round(text_bytes * per_byte)

    def given_up(self, model: str, reserved: Cost, after_ns: int, *, streams: bool) -> Cost:
        """What a call has probably cost that was given up after so long, before anything of its answer came.

        A stream would have begun with the first token. Any other answer is written at the model's usual pace; until
        that is known, all that was `reserved` is charged.
        """
        pace = None if streams else self._rates.get(model, _NO_RATES).get("pace")
        if pace is None:
            return reserved._replace(output_tokens=0) if streams else reserved
        written = round(pace.value * to_seconds(after_ns))
        return reserved._replace(output_tokens=min(written, reserved.output_tokens))

    def learn(
        self, shape: MessageShape, usage: Usage, now_ns: int, *, text_bytes: int = 0, written_ns: int = 0
    ) -> None:
        """An answer said what it used, and had that many bytes of text, if they were counted.

        `written_ns` is how long it took from the request to its end, if all of it came at once.
        """
        if usage.cache_read_tokens or usage.cache_creation_tokens:
            self._note_cached(shape.prefixes, now_ns)
        keys = _output_keys(shape.model, shape.caller, _band(shape.max_tokens))
        lengths = self._outputs.get(keys[0])
        if lengths is not None and lengths.rests_until_ns is not None and now_ns < lengths.rests_until_ns:
            return
        rates = self._rates_of(shape.model)
        output_tokens = usage.output_tokens
        if output_tokens:
            if text_bytes:
                _rate(rates, "text").add(output_tokens, text_bytes)
            if written_ns:
                _rate(rates, "pace").add(output_tokens, to_seconds(written_ns))
            lengths = self._add_output(keys, shape.max_tokens, output_tokens)
            if lengths.tokens.count >= _MANY_ANSWERS:
                lengths.rests_until_ns = now_ns + _REST_NS
        total_input = usage.input_tokens + usage.cache_read_tokens + usage.cache_creation_tokens
        if total_input:
            _learn_input(rates, shape, total_input)

    def dump(self, now_ns: int, max_bytes: int = 65_536) -> CostEstimatorState:
        """What was learned until `now_ns`, in about so many bytes of MessagePack: what was used last has precedence.

        A quarter is for the models' rates, the rest for lengths of outputs. Cached prefixes are left out: their digests
        mean nothing to another process, and the upstream forgets them within minutes.
        """
        models = (
            ModelRatesState(model, tuple((kind, rate.count, rate.units, rate.value) for kind, rate in rates.items()))
            for model, rates in reversed(self._rates.items())
        )
        outputs = (lengths.dump(key, now_ns) for key, lengths in reversed(self._outputs.items()))
        for_rates = max_bytes // 4
        return CostEstimatorState(1, _newest(models, for_rates), _newest(outputs, max_bytes - for_rates))

    @classmethod
    def restore(cls, state: CostEstimatorState, now_ns: int) -> Self:
        """Continues from a dumped state: exactly, if it holds everything and no prompt is cached."""
        estimator = cls()
        for model, rates in ((each.model, each.rates) for each in state.models):
            estimator._rates[model] = {kind: _Rate(count, units, value) for kind, count, units, value in rates}
        for each in state.outputs:
            estimator._outputs[each.key] = _Lengths.restore(each, now_ns)
        return estimator

    def _note_cached(self, prefixes: tuple[Prefix, ...], now_ns: int) -> None:
        for prefix in prefixes:
            if prefix.marked:
                self._cached_until[prefix.digest] = now_ns + _CACHED_NS
                self._cached_until.move_to_end(prefix.digest)
        while len(self._cached_until) > _MOST_PREFIXES:
            self._cached_until.popitem(last=False)

    def _input_tokens(self, shape: MessageShape, now_ns: int) -> int:
        size, rates = shape.size, self._rates.get(shape.model, _NO_RATES)
        if shape.prefixes and (cached := self._cached(shape.prefixes, now_ns)) is not None:
            size = size.minus(cached)
        if any(size[1:]):
            tokens = sum(_expected(rates, size, shape.model).values()) + size.fixed_tokens
        else:
            tokens = size.text_bytes * _tokens_each(rates, "text_bytes", shape.model)
        return round(tokens)

    def _rates_of(self, model: str) -> dict[str, _Rate]:
        """What a model has shown, which is the last to be forgotten from now on."""
        rates = self._rates.get(model)
        if rates is None:
            rates = self._rates[model] = {}
            if len(self._rates) > _MOST_MODELS:
                self._rates.popitem(last=False)
        self._rates.move_to_end(model)
        return rates

    def _cached(self, prefixes: tuple[Prefix, ...], now_ns: int) -> PromptSize | None:
        for prefix in reversed(prefixes):
            if self._cached_until.get(prefix.digest, 0) > now_ns:
                return prefix.size
        return None

    def _lengths(self, shape: MessageShape) -> _Lengths | None:
        """The most particular that there are."""
        for key in _output_keys(shape.model, shape.caller, _band(shape.max_tokens)):
            if (lengths := self._outputs.get(key)) is not None:
                return lengths
        return None

    def _add_output(self, keys: tuple[_Key, ...], max_tokens: int | None, tokens: int) -> _Lengths:
        """Adds to all of these, from the most general on; the most particular of them."""
        prior = float(_FIRST_OUTPUT_TOKENS)
        for key in reversed(keys):
            lengths = self._outputs.get(key)
            if lengths is None:
                lengths = self._outputs[key] = _Lengths(RunningMean(_capped(prior, max_tokens), _PRIOR_TIMES))
                if len(self._outputs) > _MOST_SKETCHES:
                    self._outputs.popitem(last=False)
            self._outputs.move_to_end(key)
            prior = lengths.tokens.mean
            lengths.tokens.add(tokens)
        return self._outputs[keys[0]]


_State = TypeVar("_State", bound=Struct)


def _newest(states: Iterable[_State], max_bytes: int) -> tuple[_State, ...]:
    """Those first states that take no more than so many bytes together, in reverse."""
    kept: list[_State] = []
    for state in states:
        max_bytes -= len(msgpack.encode(state))
        if max_bytes < 0:
            break
        kept.append(state)
    return tuple(reversed(kept))


def _rate(rates: dict[str, _Rate], kind: str) -> _Rate:
    """What one unit of a kind has cost so far, to be added to."""
    rate = rates.get(kind)
    if rate is None:
        rate = rates[kind] = _Rate()
    return rate


def _tokens_each(rates: dict[str, _Rate], kind: str, model: str) -> float:
    """What one unit of a kind costs."""
    rate = rates.get(kind)
    if rate is not None:
        return rate.value
    return most_image_tokens(model) if kind == "unsized_images" else _FIRST_TOKENS[kind]


def _expected(rates: dict[str, _Rate], size: PromptSize, model: str) -> dict[str, float]:
    """The tokens of each kind of which there is something, but for what is fixed."""
    return {kind: size[index] * _tokens_each(rates, kind, model) for index, kind in enumerate(_KINDS) if size[index]}


def _learn_input(rates: dict[str, _Rate], shape: MessageShape, total_tokens: int) -> None:
    size, largest = shape.size, "text_bytes"
    units, tokens = size.text_bytes, float(total_tokens)
    if any(size[1:]):
        expected = {largest: 0.0} | _expected(rates, size, shape.model)
        largest = max(expected, key=expected.__getitem__)
        tokens -= size.fixed_tokens + sum(expected.values()) - expected[largest]
        if expected[largest] < size.fixed_tokens:
            return
        units = getattr(size, largest)
    if units and tokens > 0:
        most = _MOST_SURPRISE * _tokens_each(rates, largest, shape.model) * units
        _rate(rates, largest).add(min(tokens, most), units)


def _capped(tokens: float, max_tokens: int | None) -> int:
    return max(1, round(tokens if max_tokens is None or tokens <= max_tokens else max_tokens))


def _band(max_tokens: int | None) -> int:
    return _ANY_BAND if max_tokens is None else max_tokens.bit_length()


@lru_cache(maxsize=1_024)  # a program asks alike
def _output_keys(model: str, caller: str, band: int) -> tuple[_Key, ...]:
    """From the most particular to the most general."""
    return ((model, caller, band), (model, band), (model_pool(model),))
