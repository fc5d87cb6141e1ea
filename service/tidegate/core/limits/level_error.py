"""How exact a level is, judged by what answers said: how far to move it, and what margin to keep.

It is not documented whether `remaining` belongs to the moment of admission or of the answer. Whichever reading has
fitted the level clearly better so far is believed.
"""

from typing import Final, Self

from msgspec import Struct

__all__ = ["LevelError", "LevelErrorState", "distance"]

_FORGET: Final = 0.1
"""Weight of the newest figure in running means."""
_FIRST_ERROR: Final = 0.04
"""Error as a share of the capacity until answers have shown how exact the level is."""
_LEAST_MARGIN: Final = 0.01
_MOST_MARGIN: Final = 0.5
_ERRORS: Final = 2.0
"""A margin of this many mean errors."""
_CLEARLY: Final = 0.7
"""One reading of the figures is believed when the level fits it that much better than the other."""


class LevelErrorState(Struct, frozen=True, array_like=True):
    """A dumped `LevelError`, in units."""

    answer_doubt: float
    admission_doubt: float
    error: float | None


class LevelError:
    """The mean error of a level, in units; there is no margin before the first report of what remains."""

    __slots__ = ("_admission_doubt", "_answer_doubt", "_error")

    def __init__(self) -> None:
        self._answer_doubt = 0.0  # how far off the level was if figures are of the answer
        self._admission_doubt = 0.0  # and if they are of the admission
        self._error: float | None = None

    def clear(self) -> None:
        """Another limit: nothing is known of its level."""
        self._error = None

    def restart(self, capacity: float) -> None:
        """The level was set by a first report: how exact it is will show."""
        self._error = _FIRST_ERROR * capacity

    def distrust(self, capacity: float) -> None:
        """The upstream refused although the level said that it would not."""
        self._error = max(self._error or 0.0, _FIRST_ERROR * capacity)

    def judge(self, at_answer: float, at_admission: float, capacity: float) -> float:
        """Takes in how far the level lies above (positive) or below both readings. Returns how far it is off."""
        self._answer_doubt += _FORGET * (abs(at_answer) - self._answer_doubt)
        self._admission_doubt += _FORGET * (abs(at_admission) - self._admission_doubt)
        off = self._believed(at_answer, at_admission)
        known = _FIRST_ERROR * capacity if self._error is None else self._error
        self._error = known + _FORGET * (abs(off) - known)
        return off

    def margin(self, capacity: float, at_least: float) -> float:
        """What to leave in the bucket: some mean errors, and at least so much, but never more than half of it."""
        if self._error is None:
            return 0.0
        return min(max(_LEAST_MARGIN * capacity, _ERRORS * self._error, at_least), _MOST_MARGIN * capacity)

    def dump(self) -> LevelErrorState:
        """The state now."""
        return LevelErrorState(self._answer_doubt, self._admission_doubt, self._error)

    @classmethod
    def restore(cls, state: LevelErrorState) -> Self:
        """Continues exactly from a dumped state."""
        error = cls()
        error._answer_doubt, error._admission_doubt = state.answer_doubt, state.admission_doubt
        error._error = state.error
        return error

    def _believed(self, at_answer: float, at_admission: float) -> float:
        """While neither reading has fitted better: nothing if the level lies between them, else the smaller step."""
        if self._answer_doubt < _CLEARLY * self._admission_doubt:
            return at_answer
        if self._admission_doubt < _CLEARLY * self._answer_doubt:
            return at_admission
        if at_answer * at_admission <= 0:
            return 0.0
        return min(at_answer, at_admission, key=abs)


def distance(level: float, low: float, high: float) -> float:
    """How far a level lies above (positive) or below (negative) a range."""
    return level - high if level > high else level - low if level < low else 0.0
