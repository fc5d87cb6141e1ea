"""Lengths of responses, by caller, model and `max_tokens`."""

from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, Self, TypeAlias

from msgspec import Struct

from tidegate.core.claude.rate_limit_groups import model_pool
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.pricing.message_shape import MessageShape
from tidegate.core.pricing.running_mean import RunningMean, RunningMeanState

__all__ = ["OutputLengths", "OutputLengthsState", "capped"]

_FIRST_OUTPUT_TOKENS: Final = 4_000
"""A long response: about a minute of output."""
_PRIOR_TIMES: Final = 3
"""The shortest responses come first. They alone would make all responses look short."""
_MOST_KEYS: Final = 5_000
_MANY_RESPONSES: Final = 200
_REST_NS: Final = 2 * NS_PER_SECOND // 1_000
"""After this many responses, further ones are ignored for this time: a mean over the last 35 responses would cover less
than a twentieth of a second of them."""
_ANY_BAND: Final = -1
"""The band of calls without `max_tokens`."""

_Key: TypeAlias = tuple[str | int, ...]


class OutputLengthsState(Struct, frozen=True, array_like=True):
    """The dump of the lengths of one key."""

    key: _Key
    tokens: RunningMeanState
    rests_for_ns: int | None


class _Lengths:
    """The lengths of one key, and until when further responses are ignored."""

    __slots__ = ("rests_until_ns", "tokens")

    def __init__(self, tokens: RunningMean) -> None:
        self.tokens = tokens
        self.rests_until_ns: int | None = None

    def dump(self, key: _Key, now_ns: int) -> OutputLengthsState:
        until_ns = self.rests_until_ns
        return OutputLengthsState(key, self.tokens.dump(), None if until_ns is None else until_ns - now_ns)

    @classmethod
    def restore(cls, state: OutputLengthsState, now_ns: int) -> Self:
        restored = cls(RunningMean.restore(state.tokens))
        restored.rests_until_ns = None if state.rests_for_ns is None else now_ns + state.rests_for_ns
        return restored


class OutputLengths:
    """A `RunningMean` for each caller, model and `max_tokens` band, for each model and band, and for each pool.

    A mean starts with the mean of the next more general key as its prior. The most general one starts with long
    responses. If responses are short, the first ones come soon and correct it, also for calls that wait already. If
    they are long and were assumed to be short, a whole bucket of them would be in flight before the first one ends.

    `max_tokens` is an upper bound, and calls with a similar bound (the same bit length) tend to be similar. It is no
    estimate: libraries leave it at 1,024 or 64,000 for responses of 300 tokens, and the upstream does not count it
    (Claude Platform Docs, "Rate limits", read 2026-10-08).

    There are at most 5,000 means. The one that was updated least recently is dropped first.
    """

    __slots__ = ("_lengths",)

    def __init__(self) -> None:
        self._lengths: OrderedDict[_Key, _Lengths] = OrderedDict()

    def dump_newest(self, now_ns: int) -> Iterator[OutputLengthsState]:
        """The states of all keys, the most recently updated first."""
        return (lengths.dump(key, now_ns) for key, lengths in reversed(self._lengths.items()))

    def restore(self, state: OutputLengthsState, now_ns: int) -> None:
        """Adds a key as the most recently updated."""
        self._lengths[state.key] = _Lengths.restore(state, now_ns)

    def expected(self, shape: MessageShape) -> tuple[int, int]:
        """The expected length of a response, and by how much it may well be longer, in tokens."""
        tokens, most = self._find(shape), shape.max_tokens
        if tokens is None:
            return capped(_FIRST_OUTPUT_TOKENS, most), 0
        length = capped(tokens.mean, most)
        return length, max(0, capped(tokens.high, most) - length)

    def rests(self, shape: MessageShape, now_ns: int) -> bool:
        """Whether a further response of this shape is ignored, because many came just before."""
        lengths = self._lengths.get(_keys(shape.model, shape.caller, _band(shape.max_tokens))[0])
        return lengths is not None and lengths.rests_until_ns is not None and now_ns < lengths.rests_until_ns

    def observe(self, shape: MessageShape, tokens: int, now_ns: int) -> None:
        """Takes in the length of a response."""
        keys, prior = _keys(shape.model, shape.caller, _band(shape.max_tokens)), float(_FIRST_OUTPUT_TOKENS)
        for key in reversed(keys):
            lengths = self._lengths.get(key)
            if lengths is None:
                lengths = self._lengths[key] = _Lengths(RunningMean(capped(prior, shape.max_tokens), _PRIOR_TIMES))
                if len(self._lengths) > _MOST_KEYS:
                    self._lengths.popitem(last=False)
            self._lengths.move_to_end(key)
            prior = lengths.tokens.mean
            lengths.tokens.observe(tokens)
        lengths = self._lengths[keys[0]]
        if lengths.tokens.count >= _MANY_RESPONSES:
            lengths.rests_until_ns = now_ns + _REST_NS

    def _find(self, shape: MessageShape) -> RunningMean | None:
        """The most specific mean."""
        for key in _keys(shape.model, shape.caller, _band(shape.max_tokens)):
            if (lengths := self._lengths.get(key)) is not None:
                return lengths.tokens
        return None


def capped(tokens: float, max_tokens: int | None) -> int:
    """The tokens as a whole number, at least 1 and at most `max_tokens`."""
    return max(1, round(tokens if max_tokens is None or tokens <= max_tokens else max_tokens))


def _band(max_tokens: int | None) -> int:
    return _ANY_BAND if max_tokens is None else max_tokens.bit_length()


@lru_cache(maxsize=1_024)  # programs repeat their calls
def _keys(model: str, caller: str, band: int) -> tuple[_Key, ...]:
    """The keys of a call, from the most specific to the most general."""
    return ((model, caller, band), (model, band), (model_pool(model),))
