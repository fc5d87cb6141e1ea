"""The error of a bucket's level, judged by reports: how far to correct the level, and which margin to keep."""

from dataclasses import dataclass
from typing import Final, Self

from msgspec import Struct

__all__ = ["LevelError", "LevelErrorSettings", "LevelErrorState", "distance"]


@dataclass(frozen=True, slots=True)
class LevelErrorSettings:
    """Parameters of `LevelError`.

    Attributes:
        newest_weight: weight of the newest report in the means: they cover about ten reports, some seconds of traffic.
        first_error: assumed error, as a share of the capacity, until reports have shown the real one.
        errors: the margin in mean errors; the level is rarely further off than twice its mean error.
        least_margin: smallest margin, as a share of the capacity.
        most_margin: largest margin, as a share of the capacity: half of the bucket stays usable at any error.
        clearly_better: a reading is believed when its mean error is below this share of the other reading's.
    """

    newest_weight: float = 0.1
    first_error: float = 0.04
    errors: float = 2.0
    least_margin: float = 0.01
    most_margin: float = 0.5
    clearly_better: float = 0.7


_DEFAULTS: Final = LevelErrorSettings()


class LevelErrorState(Struct, frozen=True, array_like=True):
    """The dump of a `LevelError`, in units."""

    response_error: float
    admission_error: float
    error: float | None


class LevelError:
    """The mean error of a level, in units.

    The documentation does not say whether `remaining` is the level at admission or at the response. So there are two
    readings of each report, each with an exponentially weighted mean of |level - reading|:

        error += newest_weight × (|level - believed reading| - error)
        margin = errors × error, between `least_margin` and `most_margin` of the capacity

    The reading with the clearly smaller mean is believed. While neither has one, the level is corrected by the smaller
    of both distances, or not at all if it lies between the readings. Before the first report there is no margin.
    """

    __slots__ = ("_admission_error", "_error", "_response_error", "_settings")

    def __init__(self, settings: LevelErrorSettings = _DEFAULTS) -> None:
        self._settings = settings
        self._response_error = 0.0
        self._admission_error = 0.0
        self._error: float | None = None

    def dump(self) -> LevelErrorState:
        """The state, for `restore`."""
        return LevelErrorState(self._response_error, self._admission_error, self._error)

    @classmethod
    def restore(cls, state: LevelErrorState, settings: LevelErrorSettings = _DEFAULTS) -> Self:
        """Continues exactly from `state`."""
        restored = cls(settings)
        restored._response_error, restored._admission_error = state.response_error, state.admission_error
        restored._error = state.error
        return restored

    def clear(self) -> None:
        """Forgets the error: the limit is another one."""
        self._error = None

    def restart(self, capacity: float) -> None:
        """Assumes the first error: a first report has set the level."""
        self._error = self._settings.first_error * capacity

    def distrust(self, capacity: float) -> None:
        """Assumes at least the first error: the upstream refused a request for which the level sufficed."""
        self._error = max(self._error or 0.0, self._settings.first_error * capacity)

    def observe(self, at_response: float, at_admission: float, capacity: float) -> float:
        """Takes in how far the level is above (positive) or below both readings. Returns the error to correct."""
        weight = self._settings.newest_weight
        self._response_error += weight * (abs(at_response) - self._response_error)
        self._admission_error += weight * (abs(at_admission) - self._admission_error)
        error = self._believed(at_response, at_admission)
        known = self._settings.first_error * capacity if self._error is None else self._error
        self._error = known + weight * (abs(error) - known)
        return error

    def margin(self, capacity: float, at_least: float) -> float:
        """The margin to leave in the bucket: some mean errors, and at least `at_least`, but no more than half of it."""
        if self._error is None:
            return 0.0
        settings = self._settings
        margin = max(settings.least_margin * capacity, settings.errors * self._error, at_least)
        return min(margin, settings.most_margin * capacity)

    def _believed(self, at_response: float, at_admission: float) -> float:
        clearly = self._settings.clearly_better
        if self._response_error < clearly * self._admission_error:
            return at_response
        if self._admission_error < clearly * self._response_error:
            return at_admission
        if at_response * at_admission <= 0:
            return 0.0
        return min(at_response, at_admission, key=abs)


def distance(level: float, low: float, high: float) -> float:
    """The distance of a level above (positive) or below (negative) a range; 0 inside."""
    return level - high if level > high else level - low if level < low else 0.0
