"""Estimates the cost of Messages calls from the usage that responses report."""

from collections.abc import Iterable
from typing import Final, Self, TypeVar

from msgspec import Struct, msgpack

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import to_ns, to_seconds
from tidegate.core.domain.usage import Usage
from tidegate.core.pricing.cached_prefixes import CachedPrefixes
from tidegate.core.pricing.message_shape import MessageShape
from tidegate.core.pricing.output_lengths import OutputLengths, OutputLengthsState
from tidegate.core.pricing.token_rates import FIRST_TOKENS_PER_BYTE, ModelRatesState, TokenRates

__all__ = ["CostEstimator", "CostEstimatorState"]

_MOST_TOKENS_PER_BYTE: Final = 1.0
"""Of text that came. Output that is never sent, such as hidden thinking, is reported at the end."""
_MOST_MEAN_TIMES: Final = 8.0
"""A response is expected within this multiple of the mean time. Before lengths are known, a length is a guess on the
safe side, and the time that is kept for it shortens the wait."""
_VERSION: Final = 1
_State = TypeVar("_State", bound=Struct)


class CostEstimatorState(Struct, frozen=True, array_like=True):
    """The dump of a `CostEstimator`; the most recently updated entries are last."""

    version: int
    models: tuple[ModelRatesState, ...]
    outputs: tuple[OutputLengthsState, ...]


class CostEstimator:
    """Estimates input and output of calls. Its memory is bounded: what was not updated for longest is dropped.

    Input: the size of the prompt (`PromptSize`), without the longest cached prefix, which does not count against the
    limits. Each kind of content is multiplied by the model's tokens per unit (`TokenRates`).

    Output: the mean length of the caller's responses of that model and `max_tokens` band (`OutputLengths`).
    """

    __slots__ = ("_cached", "_outputs", "_rates")

    def __init__(self) -> None:
        self._rates = TokenRates()
        self._outputs = OutputLengths()
        self._cached = CachedPrefixes()

    def dump(self, now_ns: int, max_bytes: int = 65_536) -> CostEstimatorState:
        """The most recently updated entries, as far as they fit into `max_bytes` of MessagePack.

        A quarter of it is for token rates, the rest for output lengths. Cached prefixes are left out.
        """
        for_rates = max_bytes // 4
        models = _newest(self._rates.dump_newest(), for_rates)
        return CostEstimatorState(_VERSION, models, _newest(self._outputs.dump_newest(now_ns), max_bytes - for_rates))

    @classmethod
    def restore(cls, state: CostEstimatorState, now_ns: int) -> Self:
        """Continues from `state`: exactly, if everything fitted into it and no prefix is cached."""
        restored = cls()
        for model in state.models:
            restored._rates.restore(model)
        for lengths in state.outputs:
            restored._outputs.restore(lengths, now_ns)
        return restored

    def estimate(self, shape: MessageShape, now_ns: int) -> Cost:
        """The cost to reserve: one request, and the expected tokens."""
        return self.quote(shape, now_ns)[0]

    def quote(self, shape: MessageShape, now_ns: int) -> tuple[Cost, int]:
        """The cost to reserve, and by how many output tokens the response may well exceed it."""
        output_tokens, overdraw_tokens = self._outputs.expected(shape)
        return Cost(1, self._input_tokens(shape, now_ns), output_tokens), overdraw_tokens

    def cached_tokens(self, shape: MessageShape, now_ns: int) -> int:
        """The input tokens that will probably be read from the cache. `estimate` leaves them out."""
        cached = self._cached.longest(shape.prefixes, now_ns)
        if cached is None:
            return 0
        rates = self._rates.of(shape.model)
        return max(0, round(rates.input_tokens(shape.size) - rates.input_tokens(shape.size.minus(cached))))

    def produced(self, model: str, usage: Usage, unreported_bytes: int) -> Usage:
        """The usage of a response that broke off: its last reported figures, and the text that came after them."""
        return usage._replace(output_tokens=usage.output_tokens + self.text_tokens(model, unreported_bytes))

    def text_tokens(self, model: str, text_bytes: int) -> int:
        """The approximate output tokens of a text."""
        learned = self._rates.of(model).get("text")
        per_byte = min(learned.value, _MOST_TOKENS_PER_BYTE) if learned else FIRST_TOKENS_PER_BYTE
        return round(text_bytes * per_byte)

    def given_up(self, model: str, reserved: Cost, after_ns: int, *, streams: bool) -> Cost:
        """The probable cost of a call that was given up after `after_ns`, before its response began.

        A stream would have begun with the first token. Any other response is produced at the model's usual pace. While
        that is unknown, all that was `reserved` is charged.
        """
        pace = None if streams else self._rates.of(model).get("pace")
        if pace is None:
            return reserved._replace(output_tokens=0) if streams else reserved
        produced = round(pace.value * to_seconds(after_ns))
        return reserved._replace(output_tokens=min(produced, reserved.output_tokens))

    def response_ns(self, model: str, output_tokens: int, *, streams: bool) -> int:
        """The expected time from a request to the first token of a stream, or to the whole of any other response.

        0 while that is unknown.
        """
        rates = self._rates.of(model)
        if streams:
            first = rates.get("first_token")
            return 0 if first is None else to_ns(first.value)
        pace = rates.get("pace")
        return 0 if pace is None else to_ns(min(output_tokens / pace.value, _MOST_MEAN_TIMES * pace.units))

    def observe(
        self,
        shape: MessageShape,
        usage: Usage,
        now_ns: int,
        *,
        text_bytes: int = 0,
        written_ns: int = 0,
        first_token_ns: int = 0,
    ) -> None:
        """Takes in the usage that a response reported.

        Args:
            shape: the call.
            usage: what the response reported.
            now_ns: the time.
            text_bytes: bytes of text in the response, if they were counted.
            written_ns: time from the request to the end of the response, if that came all at once.
            first_token_ns: time from the request to the first token, if the response was streamed.
        """
        if usage.cache_read_tokens or usage.cache_creation_tokens:
            self._cached.observe(shape.prefixes, now_ns)
        if self._outputs.rests(shape, now_ns):
            return
        rates, output_tokens = self._rates.updated(shape.model), usage.output_tokens
        if output_tokens:
            if text_bytes:
                rates.observe("text", output_tokens, text_bytes)
            if written_ns:
                rates.observe("pace", output_tokens, to_seconds(written_ns))
            if first_token_ns:
                rates.observe("first_token", to_seconds(first_token_ns), 1)
            self._outputs.observe(shape, output_tokens, now_ns)
        if usage.all_input_tokens:
            rates.observe_input(shape, usage.all_input_tokens)

    def observe_timeout(self, model: str, output_tokens: int, after_ns: int, *, streams: bool) -> None:
        """Takes in that a request with this expected output had no response after `after_ns`.

        It counts as a response that took as long, if that is longer than expected. Otherwise `response_ns` would only
        learn from fast responses, and slow ones would always come too late.
        """
        if after_ns <= self.response_ns(model, output_tokens, streams=streams):
            return
        if streams:
            self._rates.updated(model).observe("first_token", to_seconds(after_ns), 1)
        elif output_tokens:
            self._rates.updated(model).observe("pace", output_tokens, to_seconds(after_ns))

    def _input_tokens(self, shape: MessageShape, now_ns: int) -> int:
        size = shape.size
        if shape.prefixes and (cached := self._cached.longest(shape.prefixes, now_ns)) is not None:
            size = size.minus(cached)
        return round(self._rates.of(shape.model).input_tokens(size))


def _newest(states: Iterable[_State], max_bytes: int) -> tuple[_State, ...]:
    """The first states, as many as fit into `max_bytes`, in reverse order."""
    kept: list[_State] = []
    for state in states:
        max_bytes -= len(msgpack.encode(state))
        if max_bytes < 0:
            break
        kept.append(state)
    return tuple(reversed(kept))
