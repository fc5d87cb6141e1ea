"""Updates the limits of a pool from the limits that responses report."""

from typing import Self

from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.events import Anomaly, Event, LimitLearned
from tidegate.core.domain.limit_report import LimitReport
from tidegate.core.limits.reported_limit import ReportedLimit, ReportedLimitState
from tidegate.core.quota.pool_limits import PoolLimits

__all__ = ["LimitReports"]


class LimitReports:
    """Checks each report and passes it to the limits. `events` collects new limits and anomalies.

    Attributes:
        open_input_tokens, open_output_tokens: the part of all charges in flight that is still an estimate. The upstream
            may not have charged it yet.
    """

    __slots__ = ("_events", "_limits", "_pool", "_reported", "open_input_tokens", "open_output_tokens")

    def __init__(self, pool: str, events: list[Event], limits: PoolLimits) -> None:
        self.open_input_tokens = self.open_output_tokens = 0
        self._pool = pool
        self._events = events
        self._limits = limits
        self._reported = tuple(ReportedLimit() for _ in limits)

    def dump(self) -> tuple[ReportedLimitState, ReportedLimitState, ReportedLimitState]:
        """The state of each dimension, for `restore`. Requests in flight are not part of it."""
        requests, input_tokens, output_tokens = (each.dump() for each in self._reported)
        return requests, input_tokens, output_tokens

    @classmethod
    def restore(cls, state: tuple[ReportedLimitState, ...], pool: str, events: list[Event], limits: PoolLimits) -> Self:
        """Continues from `state`, with no request in flight."""
        reports = cls(pool, events, limits)
        reports._reported = tuple(ReportedLimit.restore(each) for each in state)
        return reports

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
