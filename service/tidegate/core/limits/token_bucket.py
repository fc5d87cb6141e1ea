"""A token bucket with continuous refill, in integer arithmetic."""

from typing import Annotated, Self

from msgspec import Meta, Struct

from tidegate.core.domain.dimension import MICRO
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE

__all__ = ["TokenBucket", "TokenBucketState", "changed"]


class TokenBucketState(Struct, frozen=True, array_like=True):
    """The dump of a `TokenBucket`."""

    rate_micro_per_minute: Annotated[int, Meta(ge=1)]
    capacity_micro: Annotated[int, Meta(ge=1)]
    level_micro: int
    carry: int
    full_ago_ns: int
    """Time since it last became full."""


class TokenBucket:
    """Holds at most `capacity_micro`, refilled at `rate_micro_per_minute`.

    Level and capacity are micro-units (a millionth of a request or token), the rate is micro-units per minute, time is
    nanoseconds:

        level = min(capacity, level + elapsed × rate)

    The remainder of each division is carried, so that many small refills add exactly what one large refill adds. Any
    window of length T admits at most capacity + rate × T. The level may be negative: a debt, which is refilled as well.
    """

    __slots__ = ("_at_ns", "_carry", "_full_ns", "_level", "capacity_micro", "rate_micro_per_minute")

    def __init__(
        self, rate_micro_per_minute: int, capacity_micro: int, now_ns: int, level_micro: int | None = None
    ) -> None:
        """Makes a bucket with this level, or a full one."""
        self.rate_micro_per_minute = rate_micro_per_minute
        self.capacity_micro = capacity_micro
        self._level = capacity_micro if level_micro is None else level_micro
        self._carry = 0
        self._at_ns = self._full_ns = now_ns  # `_full_ns`: when it last became full

    def dump(self, now_ns: int) -> TokenBucketState:
        """The state, for `restore`. `now_ns` is not before the last use."""
        level = self.level_micro(now_ns)
        full_ago_ns = now_ns - self._full_ns
        return TokenBucketState(self.rate_micro_per_minute, self.capacity_micro, level, self._carry, full_ago_ns)

    @classmethod
    def restore(cls, state: TokenBucketState, now_ns: int) -> Self:
        """A bucket that continues exactly from `state`."""
        restored = cls(state.rate_micro_per_minute, state.capacity_micro, now_ns, state.level_micro)
        restored._carry = state.carry
        restored._full_ns = now_ns - state.full_ago_ns
        return restored

    def level_micro(self, now_ns: int) -> int:
        """The level now. A clock that goes back adds nothing."""
        at_ns = self._at_ns
        elapsed = now_ns - at_ns
        if elapsed > 0:
            self._at_ns = now_ns
            missing = self.capacity_micro - self._level
            if missing > 0:
                gained = elapsed * self.rate_micro_per_minute + self._carry
                added, carry = divmod(gained, NS_PER_MINUTE)
                if added >= missing:
                    # To the nanosecond, and the same however often the level is asked for meanwhile.
                    self._cap(at_ns - (self._carry - missing * NS_PER_MINUTE) // self.rate_micro_per_minute)
                else:
                    self._level += added
                    self._carry = carry
        return self._level

    def unbounded_micro(self, now_ns: int) -> int:
        """The level plus all refill since the bucket became full. The more it exceeds the capacity, the surer it is."""
        level = self.level_micro(now_ns)
        if level < self.capacity_micro:
            return level
        return level + (now_ns - self._full_ns) * self.rate_micro_per_minute // NS_PER_MINUTE

    def fits(self, micro: int, now_ns: int) -> bool:
        """Whether the level covers `micro`. An amount above the capacity fits when the bucket is full."""
        level = self.level_micro(now_ns)
        return level >= micro or level >= self.capacity_micro

    def charge(self, micro: int) -> None:
        """Lowers the level, below zero if need be, without refilling first."""
        self._level -= micro

    def fill(self, now_ns: int) -> None:
        """Raises the level to the capacity."""
        if self.level_micro(now_ns) < self.capacity_micro:
            self._cap(now_ns)

    def correct(self, micro: int, now_ns: int) -> None:
        """Takes another `micro` for an earlier charge; a negative amount is given back, up to the capacity."""
        before = self.level_micro(now_ns)
        self._level = before - micro
        if self._level >= self.capacity_micro:
            self._cap(now_ns if before < self.capacity_micro else self._full_ns)

    def spare_ns(self, micro: int, now_ns: int) -> int:
        """The refill time of what is available beyond `micro`; negative if that does not fit."""
        return (self.level_micro(now_ns) - micro) * NS_PER_MINUTE // self.rate_micro_per_minute

    def wait_ns(self, micro: int, now_ns: int) -> int:
        """Time until `micro` fits, rounded up to a nanosecond; 0 if it fits now."""
        missing = min(micro, self.capacity_micro) - self.level_micro(now_ns)
        if missing <= 0:
            return 0
        return -((self._carry - missing * NS_PER_MINUTE) // self.rate_micro_per_minute)

    def refill_ns(self, micro: int, now_ns: int) -> int:
        """Time until level and refill sum up to `micro`, which may exceed the capacity; 0 if they do now."""
        missing = micro - self.level_micro(now_ns)
        return 0 if missing <= 0 else -((self._carry - missing * NS_PER_MINUTE) // self.rate_micro_per_minute)

    def limit_level(self, micro: int, now_ns: int) -> None:
        """Lowers the level to `micro` if it is higher."""
        if self.level_micro(now_ns) > micro:
            self._level = micro
            self._carry = 0

    def full_in(self, wait_ns: int, now_ns: int) -> None:
        """Sets the level so that the bucket is full after `wait_ns`."""
        self._at_ns = max(self._at_ns, now_ns)
        self._level = self.capacity_micro - self.rate_micro_per_minute * wait_ns // NS_PER_MINUTE
        self._carry = 0

    def change(self, rate_micro_per_minute: int, capacity_micro: int, now_ns: int) -> None:
        """Sets another rate and capacity. The level stays, unless it exceeds the new capacity."""
        was_full = self.level_micro(now_ns) >= self.capacity_micro
        self.rate_micro_per_minute = rate_micro_per_minute
        self.capacity_micro = capacity_micro
        if self._level >= self.capacity_micro:
            self._cap(self._full_ns if was_full else now_ns)

    def _cap(self, full_ns: int) -> None:
        self._full_ns = full_ns
        self._level = self.capacity_micro
        self._carry = 0


def changed(bucket: TokenBucket | None, per_minute: float, capacity: float, now_ns: int) -> TokenBucket:
    """The bucket with another rate and capacity (at least one unit), or a new, full one."""
    rate_micro, capacity_micro = max(1, round(per_minute * MICRO)), max(MICRO, round(capacity * MICRO))
    if bucket is None:
        return TokenBucket(rate_micro, capacity_micro, now_ns)
    bucket.change(rate_micro, capacity_micro, now_ns)
    return bucket
