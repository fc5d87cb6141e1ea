"""Finds out which dimension a silent upstream limits: requests, input tokens or output tokens."""

from dataclasses import dataclass
from math import log
from typing import Annotated, Final, Self

from msgspec import Meta, Struct

from tidegate.core.domain.dimension import DIMENSIONS

__all__ = ["LimitingDimension", "LimitingDimensionSettings", "LimitingDimensionState"]


@dataclass(frozen=True, slots=True)
class LimitingDimensionSettings:
    """Parameters of `LimitingDimension`.

    Attributes:
        newest_weight: weight of the newest measurement in the means. 429s are rare, so a few must decide.
        first_seconds: initial errors. Requests are assumed until the rates of tokens have proved steadier.
        most_seconds: upper bound of a single error, so that one outlier is forgotten after a few measurements.
        other_limit: a logarithmic change of the rate by more than this shows another limit or a competitor. Such a
            measurement is skipped, unless the one before was skipped too.
        rounding_seconds: `retry-after` is rounded up to a whole second. Changes of all rates by more than that, in one
            direction, show another limit as well, and favor no dimension.
        clearly_steadier: another dimension is assumed when its error is below this share of the present one's. Output
            needs that against input too: waiting for an output limit that does not exist costs more than an occasional
            429, so input is assumed until output is proven.
    """

    newest_weight: float = 0.3
    first_seconds: tuple[float, float, float] = (0.2, 0.4, 0.4)
    most_seconds: float = 5.0
    other_limit: float = 0.3
    rounding_seconds: float = 1.0
    clearly_steadier: float = 0.6


_DEFAULTS: Final = LimitingDimensionSettings()


class LimitingDimensionState(Struct, frozen=True, array_like=True):
    """The dump of a `LimitingDimension`."""

    index: Annotated[int, Meta(ge=0, lt=len(DIMENSIONS))]
    last: tuple[float, float, float]
    last_seconds: float
    changed: bool
    compared: bool
    errors: tuple[float, float, float]


class LimitingDimension:
    """The dimension whose measured rates vary least.

    From one 429 to the next, use divided by time gives the same rate each time in the limiting dimension. In the
    others it varies with the sizes of requests. The error of a dimension is the time by which its last rate would have
    missed the 429:

        missed = |log(rate / last rate)| × duration
        error += newest_weight × (missed - error)

    In the right dimension that is at most a second of rounding, however long the measurement was.

    Attributes:
        index: index of the dimension in `DIMENSIONS`.
    """

    __slots__ = ("_changed", "_compared", "_errors", "_last", "_last_seconds", "_settings", "index")

    def __init__(self, settings: LimitingDimensionSettings = _DEFAULTS) -> None:
        self._settings = settings
        self.index = 0
        self._last: tuple[float, ...] = (0.0,) * len(DIMENSIONS)
        self._last_seconds = 0.0
        self._changed = False
        self._compared = False  # whether two measurements were compared
        self._errors = list(settings.first_seconds)

    def dump(self) -> LimitingDimensionState:
        """The state, for `restore`."""
        requests, input_tokens, output_tokens = self._last
        return LimitingDimensionState(
            index=self.index,
            last=(requests, input_tokens, output_tokens),
            last_seconds=self._last_seconds,
            changed=self._changed,
            compared=self._compared,
            errors=(self._errors[0], self._errors[1], self._errors[2]),
        )

    @classmethod
    def restore(cls, state: LimitingDimensionState, settings: LimitingDimensionSettings = _DEFAULTS) -> Self:
        """Continues exactly from `state`."""
        restored = cls(settings)
        restored.index, restored._last, restored._last_seconds = state.index, state.last, state.last_seconds
        restored._changed, restored._compared = state.changed, state.compared
        restored._errors = list(state.errors)
        return restored

    def observe(self, per_second: tuple[float, ...], seconds: float) -> None:
        """Takes in the rates of one measurement, which covers `seconds`."""
        settings = self._settings
        before, now = self._last[self.index], per_second[self.index]
        changed = bool(before and now) and abs(log(now / before)) > settings.other_limit
        skipped, self._changed = changed and not self._changed, changed
        if skipped or self._moved_together(per_second, min(seconds, self._last_seconds)):
            self._last, self._last_seconds = per_second, seconds
            return
        self._compared = any(self._last)
        for index, now in enumerate(per_second):
            before = self._last[index]
            if not now:
                missed = seconds  # nothing was used, but the request was refused
            elif not before:
                continue
            else:
                missed = abs(log(now / before)) * min(seconds, self._last_seconds)
            error = self._errors[index]
            self._errors[index] += settings.newest_weight * (min(missed, settings.most_seconds) - error)
        self._last, self._last_seconds = per_second, seconds
        steadiest = self._steadiest()
        if per_second[steadiest]:  # otherwise there is no rate to apply
            self.index = steadiest

    @property
    def is_clear(self) -> bool:
        """Whether measurements have confirmed the dimension. Token dimensions are only assumed once they are clear."""
        requests, *others = self._errors
        return self.index != 0 or (self._compared and requests < self._settings.clearly_steadier * min(others))

    def _moved_together(self, per_second: tuple[float, ...], seconds: float) -> bool:
        changes = [log(now / before) for before, now in zip(self._last, per_second, strict=True) if before and now]
        if len(changes) < 2 or min(changes) < 0 < max(changes):
            return False
        return min(map(abs, changes)) * seconds > self._settings.rounding_seconds

    def _steadiest(self) -> int:
        clearly = self._settings.clearly_steadier
        requests, input_tokens, output_tokens = self._errors
        if output_tokens < clearly * min(requests, input_tokens):
            return 2
        if min(requests, input_tokens) < clearly * self._errors[self.index]:
            return int(input_tokens < requests)
        return self.index
