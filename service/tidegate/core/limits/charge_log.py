"""A log of recent charges. It converts a level that was true some seconds ago into the level now."""

from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple, Self

from msgspec import Struct

from tidegate.core.domain.nanoseconds import NS_PER_MINUTE, NS_PER_SECOND

__all__ = ["ChargeLog", "ChargeLogState", "Replay"]

_ABOUT_NS: Final = NS_PER_SECOND // 50
"""Requests that are sent within this time may overtake each other on their way."""
_SLOT_NS: Final = _ABOUT_NS // 4
"""Charges within this time are kept as one, so that the size of the log does not grow with the rate."""
_KEPT_NS: Final = 120 * NS_PER_SECOND
"""Charges older than this are not replayed: the head of a response rarely takes longer."""
_BLOCK: Final = 128
"""Slots that share a convex hull. A replay looks at each slot of two blocks, and at one slot of each other block."""
_DUMPED_NS: Final = _KEPT_NS // (_BLOCK - 1)
"""Least distance of slots in the dump of a log that has more than one block."""
_LOST: Final = 0.5
"""Differences up to this many units may be rounding errors."""


class ChargeLogState(Struct, frozen=True, array_like=True):
    """The dump of a `ChargeLog`: slots as (age, sum of the charges before it), the oldest first."""

    total: int
    slots: tuple[tuple[int, int], ...]


class Replay(NamedTuple):
    """The result of `ChargeLog.replay`, in units.

    Attributes:
        level: the level now.
        later: charges since the moment of the report.
        near: charges at about that moment, which the report may or may not include.
    """

    level: float
    later: int
    near: int


class ChargeLog:
    """The charges of one dimension, in units. Negative charges give back.

    The log is bounded: it has one slot per 5 ms for two minutes. The oldest and the newest block may be older.

    A replay starts with the level L at time s. For each later slot, with charges c[j] at time t[j], it computes
    level = min(capacity, level + rate × elapsed) - c[j]. Let C[j] be the sum of all charges before slot j, and C the
    sum of all charges. Then the result is the smallest of

        L + rate × (now - s) - (charges since s)           if the bucket was never full,
        capacity - C + C[j] + rate × (now - t[j])          if it was last full just before slot j,
        capacity                                           if it is full now.

    A full block of slots needs only the j with the smallest C[j] - rate × t[j]. For any rate, that is a vertex of the
    lower convex hull of the points (t[j], C[j]), found by bisection. The result equals that of single steps, except for
    floating-point rounding.

    Attributes:
        total: the sum of all charges.
    """

    __slots__ = ("_blocks", "total")

    def __init__(self) -> None:
        self.total = 0
        self._blocks = deque((_Block(),))  # only the last one has room

    def dump(self, now_ns: int, *, exact: bool = False) -> ChargeLogState:
        """The state, for `restore`. If there are more than 128 slots, slots less than 0.95 s apart are merged.

        `exact`: all slots are kept, up to 24,000.

        Merging dates charges back by less than 0.95 s. So a replay returns a level that is too high by less than the
        refill of that time, and charges of that time may count as earlier ones.
        """
        merged = len(self) > _BLOCK and not exact
        slots = self._slots_apart(now_ns) if merged else self._slots(now_ns)
        return ChargeLogState(self.total, tuple(slots))

    def _slots(self, now_ns: int) -> Iterator[tuple[int, int]]:
        for block in self._blocks:
            yield from zip((now_ns - at_ns for at_ns in block.times), block.before, strict=True)

    def _slots_apart(self, now_ns: int) -> Iterator[tuple[int, int]]:
        """The first slot of the last two minutes, and each next one that is at least 0.95 s later."""
        due_ns = now_ns - _KEPT_NS
        for block in self._blocks:
            index = bisect_left(block.times, due_ns)
            while index < len(block.times):
                at_ns = block.times[index]
                yield now_ns - at_ns, block.before[index]
                due_ns = at_ns + _DUMPED_NS
                index = bisect_left(block.times, due_ns, index)

    @classmethod
    def restore(cls, state: ChargeLogState, now_ns: int) -> Self:
        """Continues from `state`: exactly, unless slots were merged."""
        restored = cls()
        restored.total = state.total
        block = restored._blocks[-1]
        for ago_ns, before in state.slots:
            if len(block.times) == _BLOCK:
                block.close()
                block = _Block()
                restored._blocks.append(block)
            block.times.append(now_ns - ago_ns)
            block.before.append(before)
        return restored

    def __len__(self) -> int:
        return sum(len(block.times) for block in self._blocks)

    def add(self, units: int, now_ns: int) -> None:
        """Adds a charge. Charges are added in the order of time."""
        block = self._blocks[-1]
        if not block.times or now_ns - block.times[-1] >= _SLOT_NS:
            if len(block.times) == _BLOCK:
                block.close()
                while self._blocks and self._blocks[0].times[-1] < now_ns - _KEPT_NS:
                    self._blocks.popleft()
                block = _Block()
                self._blocks.append(block)
            block.times.append(now_ns)
            block.before.append(self.total)
        self.total += units

    def replay(self, remaining: float, since_ns: int, per_minute: float, capacity: float, now_ns: int) -> Replay:
        """The level now if `remaining` was true at `since_ns`.

        The order in which requests arrived that were sent at about that time is unknown.
        """
        per_ns = per_minute / NS_PER_MINUTE
        near_before, later_before, lowest = self.total, self.total, 0.0
        for block in reversed(self._blocks):
            times = block.times
            later = 0 if times and times[0] > since_ns + _ABOUT_NS else bisect_right(times, since_ns + _ABOUT_NS)
            if later < len(times):
                later_before = near_before = block.before[later]
                lowest = min(lowest, block.lowest(later, per_ns, now_ns) - self.total)
            if not later:
                continue
            near = bisect_left(times, since_ns - _ABOUT_NS, 0, later)
            if near < later:
                near_before = block.before[near]
            if near:
                break
        later_units = self.total - later_before
        level = min(remaining + (now_ns - since_ns) * per_ns - later_units, capacity + lowest)
        return Replay(level, later_units, later_before - near_before)

    def overflows(self, remaining: int, since_ns: int, per_minute: float, full: float, now_ns: int) -> bool:
        """Whether a bucket without other traffic was full since `remaining` was true, and so lost refill."""
        replay = self.replay(remaining, since_ns, per_minute, full, now_ns)
        refill = (now_ns - since_ns) * per_minute / NS_PER_MINUTE
        return replay.level + _LOST < remaining + refill - replay.later


class _Block:
    """Consecutive slots: when each began, and the sum of the charges before it."""

    __slots__ = ("_slopes", "_vertices", "before", "times")

    def __init__(self) -> None:
        self.times = array("q")
        self.before = array("q")
        self._vertices: list[int] | None = None  # of the lower convex hull, by slot
        self._slopes: list[float] = []  # from each vertex to the next one, in units per nanosecond; ascending

    def close(self) -> None:
        """Computes the hull (Andrew's monotone chain) once the block is full."""
        vertices: list[int] = []
        slopes: list[float] = []
        for slot in range(len(self.times)):
            while vertices:
                last = vertices[-1]
                slope = (self.before[slot] - self.before[last]) / (self.times[slot] - self.times[last])
                if not slopes or slope > slopes[-1]:
                    slopes.append(slope)
                    break
                slopes.pop()
                vertices.pop()
            vertices.append(slot)
        self._vertices, self._slopes = vertices, slopes

    def lowest(self, first: int, per_ns: float, now_ns: int) -> float:
        """The smallest sum, from slot `first` on, of the charges before a slot and the refill since it began."""
        if not first and self._vertices is not None:
            slot = self._vertices[bisect_left(self._slopes, per_ns)]
            return self.before[slot] + (now_ns - self.times[slot]) * per_ns
        return min(
            before + (now_ns - began_ns) * per_ns
            for before, began_ns in zip(self.before[first:], self.times[first:], strict=True)
        )
