"""Chooses the class that goes next: the highest that waits, unless a lower one is owed its guaranteed share.

While a lower class waits, it earns its share of all that is admitted. Once it has earned the size of its next request,
that request goes before all others. So over any time in which it waits, each class gets at least its share of what the
pool admits, less one request. The highest class gets the rest.

A class earns more the longer its next request has waited, up to twice its share. So classes age, but an old backlog
never outranks the classes above it. When no higher class waits, a class goes in its turn. That reduces what it has
earned, but never below 0: free capacity costs nothing.
"""

import math
from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["AGED_NS", "GUARANTEED", "ClassShares", "ClassSharesState"]

_PER_CENT: Final = (50, 20, 5)
GUARANTEED: Final = tuple(share / 100 for share in _PER_CENT)
"""The least share of a pool that each class gets while it waits, by rank. A class of full age gets twice as much, and
the highest class gets the rest."""

_MOST_DUMPED: Final = 2**63 - 1
"""The largest integer that every reader of a dump can represent: nearly three years of the pool's time."""

AGED_NS: Final = 60 * NS_PER_SECOND
"""A request that has waited this long is of full age."""


class ClassSharesState(Struct, frozen=True, array_like=True):
    """The dump of a `ClassShares`: what each class has earned, in hundredths of nanoseconds."""

    earned: tuple[int, int, int]


class ClassShares:
    """The pool's time that the classes have earned, by rank. Rank 0 is the highest class."""

    __slots__ = ("_earned",)

    def __init__(self) -> None:
        self._earned = [0] * len(_PER_CENT)  # in hundredths of nanoseconds

    def dump(self, _now_ns: int) -> ClassSharesState:
        """The state, for `restore`."""
        highest, middle, lowest = (min(earned, _MOST_DUMPED) for earned in self._earned)
        return ClassSharesState((highest, middle, lowest))

    @classmethod
    def restore(cls, state: ClassSharesState, _now_ns: int) -> Self:
        """Shares that continue from `state`."""
        shares = cls()
        shares._earned = list(state.earned)
        return shares

    def is_owed(self, rank: int, service_time_ns: int) -> bool:
        """Whether a class has earned a request of this size."""
        return self._earned[rank] >= 100 * service_time_ns

    def earned_ns(self, rank: int, after_ns: int, age_ns: int) -> float:
        """Time that a class will have earned after `after_ns` of admitted work, if its next request has age `age_ns`.

        The integral of share × (1 + age ÷ full age), where the age grows by what is admitted.
        """
        left_ns = self._left_ns(age_ns)
        grows_ns = min(after_ns, left_ns)
        aged_ns = grows_ns * (2 - left_ns / AGED_NS) + grows_ns**2 / (2 * AGED_NS)
        return self._earned[rank] / 100 + GUARANTEED[rank] * (aged_ns + 2 * (after_ns - grows_ns))

    def earned_after_ns(self, rank: int, needed_ns: int, age_ns: int) -> float:
        """The work that is admitted until a class has earned `needed_ns`: the inverse of `earned_ns`."""
        missing_ns = max(0.0, needed_ns - self._earned[rank] / 100)
        left_ns = self._left_ns(age_ns)
        until_aged_ns = self.earned_ns(rank, left_ns, age_ns) - self._earned[rank] / 100
        if missing_ns >= until_aged_ns:
            return left_ns + (missing_ns - until_aged_ns) / (2 * GUARANTEED[rank])
        base = 2 - left_ns / AGED_NS
        return AGED_NS * (math.sqrt(base**2 + 2 * missing_ns / GUARANTEED[rank] / AGED_NS) - base)

    @staticmethod
    def _left_ns(age_ns: int) -> int:
        """Time until a request of this age is of full age."""
        return AGED_NS - min(max(age_ns, 0), AGED_NS)

    def earn(self, rank: int, service_time_ns: int, waited_ns: int) -> None:
        """A request of this size was admitted while the next request of the class had waited for `waited_ns`."""
        age_ns = min(max(waited_ns, 0), AGED_NS)
        self._earned[rank] += service_time_ns * _PER_CENT[rank] * (AGED_NS + age_ns) // AGED_NS

    def spend(self, rank: int, service_time_ns: int) -> None:
        """A request of the class itself was admitted."""
        self._earned[rank] = max(0, self._earned[rank] - 100 * service_time_ns)

    def forget(self, rank: int) -> None:
        """No request of the class waits any more: only waiting classes earn."""
        self._earned[rank] = 0
