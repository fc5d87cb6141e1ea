"""Output that came after a 429: it is paid off before the next request, or that one would be refused as well."""

from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["OutputDebt", "OutputDebtState"]

_MOST_SECONDS: Final = 60
_PAID_OFF: Final = -1.0
"""One token is there: so much more than nothing is what a request needs."""


class OutputDebtState(Struct, frozen=True, array_like=True):
    """A dumped `OutputDebt`."""

    tokens: float
    age_ns: int


class OutputDebt:
    """What an upstream's bucket of output lacks, in tokens, as far as is known. Time is monotonic nanoseconds."""

    __slots__ = ("_at_ns", "_tokens")

    def __init__(self) -> None:
        self._tokens = _PAID_OFF
        self._at_ns = 0

    def owe(self, tokens: float, from_ns: int) -> None:
        """So much is going to be missing; nothing is paid off before that moment."""
        self._tokens, self._at_ns = tokens, from_ns

    def wait_ns(self, per_second: float, now_ns: int) -> int:
        """How long until one token is there, a minute at most; 0 from then on, until more is owed."""
        if now_ns > self._at_ns:
            paid = (now_ns - self._at_ns) / NS_PER_SECOND * per_second
            self._tokens, self._at_ns = max(_PAID_OFF, self._tokens - paid), now_ns
        return round(min((self._tokens - _PAID_OFF) / per_second, _MOST_SECONDS) * NS_PER_SECOND)

    def dump(self, now_ns: int) -> OutputDebtState:
        """The state at `now_ns`."""
        return OutputDebtState(self._tokens, now_ns - self._at_ns)

    @classmethod
    def restore(cls, state: OutputDebtState, now_ns: int) -> Self:
        """Continues exactly from a dumped state."""
        debt = cls()
        debt.owe(state.tokens, now_ns - state.age_ns)
        return debt
