"""The rates at which requests join the queue, by class and caller."""

from collections import OrderedDict
from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.caller import Priority
from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["Arrivals", "ArrivalsState", "ClassArrivals", "ClassArrivalsState"]

_WINDOW_NS: Final = 8 * NS_PER_SECOND
"""Long enough for several requests of a caller that matters, and short compared with the waits in a long queue."""
_MOST_CALLERS: Final = 64
"""By class. The caller whose requests joined least recently is dropped first."""
_LONGEST_NAME: Final = 100
"""Callers with longer names are not dumped, so that a dump stays small."""


class CountState(Struct, frozen=True, array_like=True):
    """The dump of arrivals: in the present window, and in the two before it, the later one first."""

    present: int
    last: int
    second_last: int
    began_ago_ns: int


class ClassArrivalsState(Struct, frozen=True, array_like=True):
    """The dump of a `ClassArrivals`; the most recent caller is last."""

    total: CountState | None
    callers: tuple[tuple[str, CountState], ...]


class ArrivalsState(Struct, frozen=True, array_like=True):
    """The dump of an `Arrivals`, by class."""

    classes: tuple[ClassArrivalsState, ...]


class _Count:
    """Counts arrivals in windows of equal length."""

    __slots__ = ("began_ns", "last", "present", "second_last")

    def __init__(self, began_ns: int) -> None:
        self.present = self.last = self.second_last = 0
        self.began_ns = began_ns  # the present window

    def dump(self, now_ns: int) -> CountState:
        return CountState(self.present, self.last, self.second_last, now_ns - self.began_ns)

    @classmethod
    def restore(cls, state: CountState, now_ns: int) -> Self:
        restored = cls(now_ns - state.began_ago_ns)
        restored.present, restored.last, restored.second_last = state.present, state.last, state.second_last
        return restored

    def add(self, now_ns: int) -> None:
        if now_ns - self.began_ns >= _WINDOW_NS:
            self._advance(now_ns)
        self.present += 1

    def per_ns(self, now_ns: int) -> float:
        """The lowest of three rates: of the last window, the one before it, and the window that ends now.

        Many requests at once do not make a rate that lasts.
        """
        if now_ns - self.began_ns >= _WINDOW_NS:
            self._advance(now_ns)
        until_now = self.present + self.last * (1 - (now_ns - self.began_ns) / _WINDOW_NS)
        return min(until_now, self.last, self.second_last) / _WINDOW_NS

    def _advance(self, now_ns: int) -> None:
        windows = (now_ns - self.began_ns) // _WINDOW_NS
        self.began_ns += windows * _WINDOW_NS
        for _ in range(min(windows, 3)):
            self.second_last, self.last, self.present = self.last, self.present, 0


class ClassArrivals:
    """The rates at which requests join one class, in total and by caller, for at most 64 callers."""

    __slots__ = ("_callers", "_now_ns", "_total")

    def __init__(self) -> None:
        self._now_ns = 0
        self._total: _Count | None = None
        self._callers: OrderedDict[str, _Count] = OrderedDict()

    def dump(self, now_ns: int) -> ClassArrivalsState:
        """The state, for `restore`."""
        callers = ((name, count.dump(now_ns)) for name, count in self._callers.items() if len(name) <= _LONGEST_NAME)
        total = None if self._total is None else self._total.dump(now_ns)
        return ClassArrivalsState(total, tuple(callers))

    @classmethod
    def restore(cls, state: ClassArrivalsState, now_ns: int) -> Self:
        """Continues from `state`: exactly, except for callers with very long names."""
        restored = cls()
        restored._total = None if state.total is None else _Count.restore(state.total, now_ns)
        for name, count in state.callers:
            restored._callers[name] = _Count.restore(count, now_ns)
        return restored

    def at(self, now_ns: int) -> Self:
        """Sets the time to which `per_ns` and `total_per_ns` refer."""
        self._now_ns = now_ns
        return self

    def observe(self, caller: str, now_ns: int) -> None:
        """A request of a caller joins the class."""
        if self._total is None:
            self._total = _Count(now_ns)
        self._total.add(now_ns)
        count = self._callers.get(caller)
        if count is None:
            count = self._callers[caller] = _Count(now_ns)
            if len(self._callers) > _MOST_CALLERS:
                self._callers.popitem(last=False)
        else:
            self._callers.move_to_end(caller)
        count.add(now_ns)

    def per_ns(self, caller: str) -> float:
        """Requests of a caller in a nanosecond; 0 if unknown."""
        count = self._callers.get(caller)
        return 0.0 if count is None else count.per_ns(self._now_ns)

    @property
    def total_per_ns(self) -> float:
        """Requests of all callers in a nanosecond."""
        return 0.0 if self._total is None else self._total.per_ns(self._now_ns)


class Arrivals:
    """The rates at which requests join each class."""

    __slots__ = ("_classes",)

    def __init__(self) -> None:
        self._classes = tuple(ClassArrivals() for _ in Priority)

    def dump(self, now_ns: int) -> ArrivalsState:
        """The state, for `restore`."""
        return ArrivalsState(tuple(each.dump(now_ns) for each in self._classes))

    @classmethod
    def restore(cls, state: ArrivalsState, now_ns: int) -> Self:
        """Continues from `state`."""
        restored = cls()
        restored._classes = tuple(ClassArrivals.restore(each, now_ns) for each in state.classes)
        return restored

    def of_class(self, rank: int) -> ClassArrivals:
        """The arrivals of one class."""
        return self._classes[rank]
