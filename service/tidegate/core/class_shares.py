"""Which priority class goes next: the highest that waits, unless a lower one is owed its guaranteed share.

While a lower class waits, it earns its share of all that is admitted; once that makes up the size of its next request,
this goes, whoever else waits. So each class gets, over any time in which it waits, at least its share of what the pool
admits, less one request; the highest gets what the others are not owed. What a class earns grows with the time that its
next request has waited, up to twice its share: classes age, but an old backlog never outranks those above it. Going in
its turn, when no higher class waits, takes from what a class has earned, but never below nothing: nobody pays for
having used what was free.
"""

from typing import Final

from tidegate.core.clock import NS_PER_SECOND

__all__ = ["AGED_NS", "GUARANTEED", "ClassShares"]

_PER_CENT: Final = (50, 20, 5)
GUARANTEED: Final = tuple(share / 100 for share in _PER_CENT)
"""The least share of a pool that each class gets while it waits, by rank; a class of full age gets twice as much, and
the highest what that leaves."""

AGED_NS: Final = 60 * NS_PER_SECOND
"""A request that has waited this long is of full age."""


class ClassShares:
    """What the classes have earned of the pool's time; by rank, 0 being the highest class."""

    __slots__ = ("_earned",)

    def __init__(self) -> None:
        self._earned = [0] * len(_PER_CENT)  # in hundredths of nanoseconds

    def is_owed(self, rank: int, size_ns: int) -> bool:
        """Whether a class has earned a request of this size."""
        return self._earned[rank] >= 100 * size_ns

    def earn(self, rank: int, size_ns: int, waited_ns: int) -> None:
        """A request of this size was admitted, while the next of the class had waited for `waited_ns`."""
        age_ns = min(max(waited_ns, 0), AGED_NS)
        self._earned[rank] += size_ns * _PER_CENT[rank] * (AGED_NS + age_ns) // AGED_NS

    def spend(self, rank: int, size_ns: int) -> None:
        """A request of the class itself was admitted."""
        self._earned[rank] = max(0, self._earned[rank] - 100 * size_ns)

    def forget(self, rank: int) -> None:
        """Nobody of the class waits any more: only who waits earns."""
        self._earned[rank] = 0
