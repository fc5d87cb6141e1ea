"""Says in the log what cannot be, once in a while: the counter tells how often."""

import logging
from collections.abc import Mapping
from typing import Final

from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.events import Anomaly
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE
from tidegate.core.ports.clock import Clock

__all__ = ["AnomalyLog"]

logger = logging.getLogger("tidegate.anomalies")

_EVERY_NS: Final = 10 * NS_PER_MINUTE
_MOST_SUBJECTS: Final = 1_000
"""Pools have the names of models, which clients choose."""
_TEXTS: Final[Mapping[str, str]] = {
    AnomalyKind.LIMITS: "limit headers that cannot be were left out",
    AnomalyKind.LIMITS_MISSING: "an answer had no limit headers: what is known stays, or the rate is searched",
    AnomalyKind.RETRY_AFTER: "a retry-after that no rate limit asks for was not kept to the letter",
    AnomalyKind.USAGE: "usage that was missing or cannot be was charged by the estimate",
    AnomalyKind.CLOCK: "our clock stepped, or is not the upstream's: its dates are read by its own clock",
    AnomalyKind.LEASE: "an answer that nobody ended for an hour was charged its estimate",
}


_OTHER: Final = "something that cannot be was left out"


class AnomalyLog:
    """Listens to `Observers`: one line at WARNING for each kind and pool, at most every ten minutes.

    Nothing of what was received is quoted: it may be anything.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said: dict[Anomaly, tuple[int, int]] = {}  # when, and how many have been passed over since

    def hear(self, event: Anomaly) -> None:
        """Writes a line, if it is time for one."""
        now_ns = self._clock.monotonic_ns()
        said_ns, unsaid = self._said.get(event, (now_ns - _EVERY_NS, 0))
        if now_ns - said_ns < _EVERY_NS:
            self._said[event] = said_ns, unsaid + 1
            return
        if len(self._said) >= _MOST_SUBJECTS:
            self._said.clear()
        self._said[event] = now_ns, 0
        text = _TEXTS.get(event.kind, _OTHER)
        logger.warning("%s (pool %s; %d more since this was last said)", text, event.pool or "none", unsaid)
