"""Whether to believe what an answer says of a limit: one answer that is wrong must not let everybody go."""

from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.limit_report import DimensionReport

__all__ = ["ReportedLimit", "ReportedLimitState"]

_JUMP: Final = 4.0
"""A limit so many times higher than any before is believed when a second answer says so: a moment later."""
_ENOUGH_SILENT: Final = 3
"""A limit that so many answers in a row do not tell, though they tell others, is none any more."""


class ReportedLimitState(Struct, frozen=True, array_like=True):
    """A dumped `ReportedLimit`."""

    doubted: int | None
    highest: int
    silent: int


class ReportedLimit:
    """What answers say of one dimension. A limit that falls is believed at once: the next answer puts it right."""

    __slots__ = ("_doubted", "_highest", "_silent")

    def __init__(self) -> None:
        self._doubted: int | None = None
        self._highest = 0  # none yet
        self._silent = 0

    def checked(self, said: DimensionReport | None) -> tuple[DimensionReport | None, bool]:
        """What to believe of it. The second value tells that what was doubted the last time was wrong."""
        if said is None:
            return None, False
        self._silent = 0
        doubted, self._doubted = self._doubted, None
        was_wrong = doubted is not None and doubted != said.per_minute
        if not self._highest or said.per_minute <= _JUMP * self._highest or doubted == said.per_minute:
            self._highest = max(self._highest, said.per_minute)
            return said, was_wrong
        self._doubted = said.per_minute
        return None, was_wrong

    def is_silent(self) -> bool:
        """An answer tells of other dimensions only. Returns whether there is no such limit any more."""
        self._silent += 1
        return self._silent >= _ENOUGH_SILENT

    def dump(self) -> ReportedLimitState:
        """The state now."""
        return ReportedLimitState(self._doubted, self._highest, self._silent)

    @classmethod
    def restore(cls, state: ReportedLimitState) -> Self:
        """Continues exactly from a dumped state."""
        limit = cls()
        limit._doubted, limit._highest, limit._silent = state.doubted, state.highest, state.silent
        return limit
