"""Rate-limited log lines for anomalies. `tidegate_anomalies_total` counts every one."""

import logging
from collections.abc import Mapping
from typing import Final

from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.events import Anomaly
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE
from tidegate.core.ports.clock import Clock

__all__ = ["AnomalyLog"]

logger = logging.getLogger("tidegate.anomalies")

_INTERVAL_NS: Final = 10 * NS_PER_MINUTE
_MAX_ENTRIES: Final = 1_000
"""Bounds memory: pools are named after models, and clients choose those names."""
_TEXTS: Final[Mapping[str, str]] = {
    AnomalyKind.LIMITS: "implausible rate-limit headers ignored",
    AnomalyKind.LIMITS_MISSING: "response without rate-limit headers: keeping known limits, or searching for the rate",
    AnomalyKind.RETRY_AFTER: "implausible retry-after shortened",
    AnomalyKind.USAGE: "usage missing or implausible: charged the estimate",
    AnomalyKind.CLOCK: "clock stepped, or differs from the upstream's: reading upstream dates by the upstream's clock",
    AnomalyKind.LEASE: "lease open for an hour: charged its estimate",
    AnomalyKind.STEP: "defect: a step in the shared log could not be applied, and was skipped",
}
_OTHER_TEXT: Final = "implausible value ignored"


class AnomalyLog:
    """Logs one line at WARNING per kind and pool, at most every ten minutes.

    The line never quotes the received value, which may be anything.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._logged: dict[Anomaly, tuple[int, int]] = {}  # time of the last line, and how many were suppressed since

    def log(self, event: Anomaly) -> None:
        """Writes the line, or counts the event as suppressed."""
        now_ns = self._clock.monotonic_ns()
        logged_ns, suppressed = self._logged.get(event, (now_ns - _INTERVAL_NS, 0))
        if now_ns - logged_ns < _INTERVAL_NS:
            self._logged[event] = logged_ns, suppressed + 1
            return
        if len(self._logged) >= _MAX_ENTRIES:
            self._logged.clear()
        self._logged[event] = now_ns, 0
        text = _TEXTS.get(event.kind, _OTHER_TEXT)
        logger.warning("%s (pool %s; %d more suppressed)", text, event.pool or "none", suppressed)
