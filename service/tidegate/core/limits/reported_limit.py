"""Plausibility check of reported limits: one wrong header must not admit a flood of requests."""

from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.limit_report import DimensionReport

__all__ = ["ReportedLimit", "ReportedLimitState"]

_JUMP: Final = 4.0
"""A limit that is this many times higher than any before needs a second report that says the same."""
_ENOUGH_MISSING: Final = 3
"""A limit that is missing from this many reports in a row, although they have other limits, no longer exists."""


class ReportedLimitState(Struct, frozen=True, array_like=True):
    """The dump of a `ReportedLimit`."""

    doubted: int | None
    highest: int
    missing: int


class ReportedLimit:
    """Decides which reports of one dimension to believe.

    A lower limit is believed at once: if it is wrong, the next report corrects it soon.
    """

    __slots__ = ("_doubted", "_highest", "_missing")

    def __init__(self) -> None:
        self._doubted: int | None = None
        self._highest = 0  # none yet
        self._missing = 0

    def dump(self) -> ReportedLimitState:
        """The state, for `restore`."""
        return ReportedLimitState(self._doubted, self._highest, self._missing)

    @classmethod
    def restore(cls, state: ReportedLimitState) -> Self:
        """Continues exactly from `state`."""
        restored = cls()
        restored._doubted, restored._highest, restored._missing = state.doubted, state.highest, state.missing
        return restored

    def observe(self, report: DimensionReport | None) -> tuple[DimensionReport | None, bool]:
        """Returns the report if it is to be believed, and whether a doubted limit has turned out to be wrong."""
        if report is None:
            return None, False
        self._missing = 0
        doubted, self._doubted = self._doubted, None
        was_wrong = doubted is not None and doubted != report.per_minute
        if not self._highest or report.per_minute <= _JUMP * self._highest or doubted == report.per_minute:
            self._highest = max(self._highest, report.per_minute)
            return report, was_wrong
        self._doubted = report.per_minute
        return None, was_wrong

    def observe_missing(self) -> bool:
        """Counts a response that reports other dimensions only. Returns whether the limit no longer exists."""
        self._missing += 1
        return self._missing >= _ENOUGH_MISSING
