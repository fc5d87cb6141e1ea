"""A slope limit: how fast use may rise, learned when the upstream shows one (429 `ramp_limit_exceeded`).

Whether requests or input tokens are meant is not told: the quantity is believed in which answers and refusals have
contradicted each other less.
"""

from typing import Final, Self

from msgspec import Struct

from tidegate.core.acceleration.growth_bound import GrowthBound, GrowthBoundState, Room
from tidegate.core.acceleration.slow_start import SlowStart, SlowStartState
from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["AccelerationLimit", "AccelerationLimitState"]

_GENTLY: Final = 0.05
"""What nobody knows to be allowed rises by no more than this share of the last minute's requests in a second."""
_CLEARLY: Final = 0.7


class AccelerationLimitState(Struct, frozen=True, array_like=True):
    """A dumped `AccelerationLimit`, without `starts_slowly`, which is configuration."""

    is_known: bool
    requests: GrowthBoundState
    input: GrowthBoundState
    slow_start: SlowStartState
    untried_in_ns: int


class AccelerationLimit:
    """Counts what was sent. Only a sharp rise is spread until the upstream has refused for acceleration.

    While neither quantity has proved to be the one, what only one allows goes gently, if that one allows it clearly:
    the next refusal tells.

    Attributes:
        is_known: whether the upstream has shown such a limit.
        starts_slowly: whether a sharp rise is spread before that.
    """

    __slots__ = ("_input", "_requests", "_slow_start", "_untried_ns", "is_known", "starts_slowly")

    def __init__(self) -> None:
        self.is_known = False
        self.starts_slowly = True
        self._requests = GrowthBound()
        self._input = GrowthBound()
        self._slow_start = SlowStart()
        self._untried_ns = 0  # before then nothing more goes of which nobody knows whether it may

    def sent(self, now_ns: int, input_tokens: int = 0) -> None:
        """One goes, with so much input."""
        if self.is_known and self._room(now_ns, input_tokens):
            pause_ns = NS_PER_SECOND / max(1.0, _GENTLY * self._requests.history.last_minute(now_ns))
            self._untried_ns = now_ns + round(pause_ns)
        self._requests.history.add(now_ns, 1)
        if input_tokens:
            self._input.history.add(now_ns, input_tokens)
        if self.starts_slowly and not self.is_known:
            self._slow_start.sent(now_ns, self._requests.history)

    def corrected(self, at_ns: int, requests: int, input_tokens: int) -> None:
        """So much more was used then; negative: less, because it was refused, came to nothing or had been estimated."""
        if requests:
            self._requests.history.add(at_ns, requests)
        if input_tokens:
            self._input.history.add(at_ns, input_tokens)

    def answered(self, sent_ns: int) -> None:
        """The upstream has answered one that was sent then: what had been used by then was not too much."""
        self._requests.answered(sent_ns)
        self._input.answered(sent_ns)

    def refused(self, sent_ns: int, now_ns: int, input_tokens: int = 0) -> None:
        """The upstream refused one that was sent then, with so much input, because use rose too fast.

        It has been taken back before.
        """
        self.is_known = True
        self._requests.refused(1, sent_ns, now_ns)
        self._input.refused(input_tokens, sent_ns, now_ns)

    def wait_ns(self, now_ns: int, input_tokens: int = 0) -> int:
        """How long until one more, with so much input, may be sent, or it is worth asking again."""
        if not self.is_known:
            return max(0, self._slow_start.next_ns - now_ns)
        room = self._room(now_ns, input_tokens)
        if room is Room.NONE:
            return self._requests.history.next_slice_ns(now_ns)
        return max(0, self._untried_ns - now_ns) if room is Room.UNTRIED else 0

    def binds(self, now_ns: int) -> bool:
        """Whether use may not rise now as fast as anybody likes."""
        return self.is_known or self._slow_start.next_ns > now_ns

    def dump(self, now_ns: int) -> AccelerationLimitState:
        """What was learned until `now_ns`."""
        return AccelerationLimitState(
            is_known=self.is_known,
            requests=self._requests.dump(now_ns),
            input=self._input.dump(now_ns),
            slow_start=self._slow_start.dump(now_ns),
            untried_in_ns=self._untried_ns - now_ns,
        )

    @classmethod
    def restore(cls, state: AccelerationLimitState, now_ns: int) -> Self:
        """Continues exactly from a dumped state."""
        limit = cls()
        limit.is_known = state.is_known
        limit._requests = GrowthBound.restore(state.requests, now_ns)
        limit._input = GrowthBound.restore(state.input, now_ns)
        limit._slow_start = SlowStart.restore(state.slow_start, now_ns)
        limit._untried_ns = now_ns + state.untried_in_ns
        return limit

    def _room(self, now_ns: int, input_tokens: int) -> Room:
        requests, tokens = self._requests, self._input
        if not tokens.history.is_used or requests.contradicted < _CLEARLY * tokens.contradicted:
            return requests.room(1, now_ns)
        if tokens.contradicted < _CLEARLY * requests.contradicted:
            return tokens.room(input_tokens, now_ns)
        rooms = requests.room(1, now_ns), tokens.room(input_tokens, now_ns)
        if rooms[0] == rooms[1]:
            return rooms[0]
        if rooms[0] < rooms[1]:
            clearly = requests.room(1, now_ns, requests.error)
        else:
            clearly = tokens.room(input_tokens, now_ns, tokens.error)
        return max(clearly, Room.UNTRIED)
