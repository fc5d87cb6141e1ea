"""Tells which of requests, input and output tokens an upstream limits that says nothing.

Measured from 429 to 429, the dimension that is limited gives the same figure each time; those of the others vary with
the sizes of requests. What counts is by how many seconds a figure would have missed the moment of the refusal: that is
a second of rounding at most for the right one, however long the time was.
"""

from math import log
from typing import Annotated, Final, Self

from msgspec import Meta, Struct

from tidegate.core.domain.dimension import DIMENSIONS

__all__ = ["LimitingDimension", "LimitingDimensionState"]

_FIRST_SECONDS: Final = (0.2, 0.4, 0.4)
"""Requests are believed to be limited until the figures for tokens have proved steadier."""
_MOST_SECONDS: Final = 5.0
_OTHER_LIMIT: Final = 0.3
"""A change by so much is one of the limit, or a competitor's, and tells nothing; unless there is one every time."""
_ROUNDING_SECONDS: Final = 1.0
"""`retry-after` is rounded up to a whole second. If the figures of all dimensions move together by more,
the limit has changed, or what others leave of it. That favours no dimension over another."""
_FORGET: Final = 0.3
_CLEARLY: Final = 0.6
"""Another dimension is believed when its figures vary that much less: those of output also than those of input, because
who waits for output that is not limited loses more than who is refused for taking no account of it."""


class LimitingDimensionState(Struct, frozen=True, array_like=True):
    """A dumped `LimitingDimension`."""

    index: Annotated[int, Meta(ge=0, lt=len(DIMENSIONS))]
    last: tuple[float, float, float]
    last_seconds: float
    changed: bool
    compared: bool
    variation: tuple[float, float, float]


class LimitingDimension:
    """The dimension whose figures vary least.

    Attributes:
        index: of that dimension, in `DIMENSIONS`.
    """

    __slots__ = ("_changed", "_compared", "_last", "_last_seconds", "_variation", "index")

    def __init__(self) -> None:
        self.index = 0
        self._last: tuple[float, ...] = (0.0,) * len(DIMENSIONS)
        self._last_seconds = 0.0
        self._changed = False
        self._compared = False  # whether two measurements have been
        self._variation = list(_FIRST_SECONDS)

    def add(self, per_second: tuple[float, ...], seconds: float) -> None:
        """The rates of one measurement, over so many seconds."""
        before, now = self._last[self.index], per_second[self.index]
        changed = bool(before and now) and abs(log(now / before)) > _OTHER_LIMIT
        skipped, self._changed = changed and not self._changed, changed
        if skipped or self._moved_together(per_second, min(seconds, self._last_seconds)):
            self._last, self._last_seconds = per_second, seconds
            return
        self._compared = any(self._last)
        for index, now in enumerate(per_second):
            before = self._last[index]
            if not now:
                missed = seconds  # nothing was used, and yet it was refused
            elif not before:
                continue
            else:
                missed = abs(log(now / before)) * min(seconds, self._last_seconds)
            self._variation[index] += _FORGET * (min(missed, _MOST_SECONDS) - self._variation[index])
        self._last, self._last_seconds = per_second, seconds
        steadiest = self._steadiest()
        if per_second[steadiest]:  # else there is no rate to go by
            self.index = steadiest

    @property
    def is_clear(self) -> bool:
        """Whether measurements have shown that it is this one: others than requests are believed for no less."""
        _, *others = self._variation
        return self.index != 0 or (self._compared and self._variation[0] < _CLEARLY * min(others))

    def dump(self) -> LimitingDimensionState:
        """The state now."""
        requests, input_tokens, output_tokens = self._last
        return LimitingDimensionState(
            index=self.index,
            last=(requests, input_tokens, output_tokens),
            last_seconds=self._last_seconds,
            changed=self._changed,
            compared=self._compared,
            variation=(self._variation[0], self._variation[1], self._variation[2]),
        )

    @classmethod
    def restore(cls, state: LimitingDimensionState) -> Self:
        """Continues exactly from a dumped state."""
        limiting = cls()
        limiting.index, limiting._last, limiting._last_seconds = state.index, state.last, state.last_seconds
        limiting._changed, limiting._compared = state.changed, state.compared
        limiting._variation = list(state.variation)
        return limiting

    def _moved_together(self, per_second: tuple[float, ...], seconds: float) -> bool:
        changes = [log(now / before) for before, now in zip(self._last, per_second, strict=True) if before and now]
        if len(changes) < 2 or min(changes) < 0 < max(changes):
            return False
        return min(map(abs, changes)) * seconds > _ROUNDING_SECONDS

    def _steadiest(self) -> int:
        requests, input_tokens, output_tokens = self._variation
        if output_tokens < _CLEARLY * min(requests, input_tokens):
            return 2
        if min(requests, input_tokens) < _CLEARLY * self._variation[self.index]:
            return int(input_tokens < requests)
        return self.index
