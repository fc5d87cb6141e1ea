"""Output that was produced after a 429. It is paid off before the next request, which would be refused otherwise."""

from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["OutputDebt", "OutputDebtState"]

_PAID_OFF: Final = -1.0
"""One token is available: a request needs more than nothing."""


class OutputDebtState(Struct, frozen=True, array_like=True):
    """The dump of an `OutputDebt`."""

    tokens: float
    ago_ns: int


class OutputDebt:
    """The estimated number of tokens that the upstream's output bucket lacks.

    It falls at the output rate, down to -1. `most_seconds` bounds every wait: no bucket takes longer than a minute to
    refill.
    """

    __slots__ = ("_at_ns", "_most_seconds", "_tokens")

    def __init__(self, now_ns: int, most_seconds: float = 60) -> None:
        self._most_seconds = most_seconds
        self._tokens = _PAID_OFF
        self._at_ns = now_ns

    def dump(self, now_ns: int) -> OutputDebtState:
        """The state, for `restore`."""
        return OutputDebtState(self._tokens, now_ns - self._at_ns)

    @classmethod
    def restore(cls, state: OutputDebtState, now_ns: int) -> Self:
        """Continues exactly from `state`."""
        restored = cls(now_ns - state.ago_ns)
        restored._tokens = state.tokens
        return restored

    def owe(self, tokens: float, from_ns: int) -> None:
        """Sets the debt. It is paid off from `from_ns` on."""
        self._tokens, self._at_ns = tokens, from_ns

    def wait_ns(self, per_second: float, now_ns: int) -> int:
        """Time until one token is available; 0 once it was, until `owe` is called again."""
        if now_ns > self._at_ns:
            paid = (now_ns - self._at_ns) / NS_PER_SECOND * per_second
            self._tokens, self._at_ns = max(_PAID_OFF, self._tokens - paid), now_ns
        return round(min((self._tokens - _PAID_OFF) / per_second, self._most_seconds) * NS_PER_SECOND)
