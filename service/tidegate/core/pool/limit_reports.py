"""Updates the limits of a pool from the limits that responses report."""

from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.events import Anomaly, Event, LimitLearned
from tidegate.core.domain.limit_report import LimitReport
from tidegate.core.limits.dimension_limit import DimensionLimit
from tidegate.core.limits.reported_limit import ReportedLimit

__all__ = ["LimitReports"]


class LimitReports:
    """Checks each report and passes it to the limits. `events` collects new limits and anomalies.

    Attributes:
        open_input_tokens, open_output_tokens: the part of all charges in flight that is still an estimate. The upstream
            may not have charged it yet.
    """

    __slots__ = ("_events", "_limits", "_pool", "_reported", "open_input_tokens", "open_output_tokens")

    def __init__(self, pool: str, events: list[Event], limits: tuple[DimensionLimit, ...]) -> None:
        self.open_input_tokens = self.open_output_tokens = 0
        self._pool = pool
        self._events = events
        self._limits = limits
        self._reported = tuple(ReportedLimit() for _ in limits)

    @property
    def has_limit(self) -> bool:
        """Whether a limit is known from reports."""
        return any(limit.reported_per_minute is not None for limit in self._limits)

    def observe(self, report: LimitReport, now_ns: int) -> bool:
        """Takes in a report that is not empty. Returns whether a limit itself has changed."""
        has_changed = False
        estimated = (0, max(0, self.open_input_tokens), max(0, self.open_output_tokens))
        for limit, reported, given, outstanding in zip(
            self._limits, self._reported, report.dimensions, estimated, strict=True
        ):
            believed, was_wrong = reported.observe(given)
            if was_wrong:
                self._events.append(Anomaly(self._pool, AnomalyKind.LIMITS))
            if believed is not None and limit.observe(believed, report.sent_ago_ns, outstanding, now_ns):
                has_changed = True
                self._events.append(LimitLearned(self._pool, limit.dimension, float(believed.per_minute)))
            is_readable = AnomalyKind.LIMITS not in report.faults
            if given is None and is_readable and limit.reported_per_minute is not None and reported.observe_missing():
                has_changed = True
                limit.forget_report(now_ns)
        return has_changed
