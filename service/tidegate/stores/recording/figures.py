"""Figures of the calls of a recording or a replay: by pool, and by caller."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Final

from tidegate.core.domain.demand import Outcome
from tidegate.core.domain.dimension import DIMENSIONS, Cost, Dimension
from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.stores.recording.attempts import Attempt, Attempts

__all__ = ["Figures", "Folding", "figures_by"]

_NOTHING: Final = Cost()


@dataclass(frozen=True)
class Folding:
    """The attempts of a stretch, and the time of its beginning in nanoseconds of the log."""

    attempts: Attempts
    since_ns: int


@dataclass
class Figures:
    """The figures of a pool or of a caller.

    Attributes:
        calls: first attempts of calls.
        waits: the waits of all admitted attempts, in seconds.
        refused: calls that were refused, by cause.
        left: calls whose client left while they waited.
        waiting: attempts that wait at the end.
        rate_limited: 429s of the upstream.
        used: charged for attempts that have ended.
        quota: what the limits allowed, in units; empty for a caller.
    """

    calls: int = 0
    waits: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    left: int = 0
    waiting: int = 0
    rate_limited: int = 0
    used: Cost = _NOTHING
    quota: dict[Dimension, float] = field(default_factory=dict)

    def wait_percentiles(self) -> tuple[float, float, float] | None:
        """The waits in seconds that half, 90 % and 99 % of all stay below; None if nothing was admitted."""
        if len(self.waits) < 2:
            return (self.waits[0],) * 3 if self.waits else None
        percentiles = quantiles(self.waits, n=100, method="inclusive")
        return percentiles[49], percentiles[89], percentiles[98]

    def shares(self) -> dict[Dimension, float]:
        """The used share of the quota, by limited dimension."""
        return {
            dimension: units / self.quota[dimension]
            for dimension, units in zip(DIMENSIONS, self.used, strict=True)
            if self.quota.get(dimension)
        }


def figures_by(
    foldings: Iterable[Folding], group: Callable[[str, str], str], *, with_quota: bool = False
) -> dict[str, Figures]:
    """The figures of several stretches together, by name of the group.

    Args:
        foldings: of each stretch.
        group: returns the name of the group of a pool and a caller.
        with_quota: whether groups are pools, which have a quota.
    """
    found: defaultdict[str, Figures] = defaultdict(Figures)
    for folding in foldings:
        attempts = folding.attempts
        for attempt in attempts.all.values():
            _count(found[group(attempt.demand.pool, attempt.demand.caller.name)], attempt, folding.since_ns)
        for (pool, caller), used in attempts.used.items():
            figures = found[group(pool, caller)]
            figures.used = figures.used.plus(used)
        if with_quota:
            for (pool, dimension), units in attempts.granted_quota.items():
                quota = found[group(pool, "")].quota
                quota[dimension] = quota.get(dimension, 0.0) + units
    return dict(sorted(found.items()))


def _count(figures: Figures, attempt: Attempt, since_ns: int) -> None:
    demand = attempt.demand
    if attempt.asked_ns >= since_ns:
        figures.calls += not (demand.front or demand.retry)
    waited_ns = attempt.waited_ns
    if waited_ns is not None and attempt.granted_ns is not None and attempt.granted_ns >= since_ns:
        figures.waits.append(to_seconds(waited_ns))
    if attempt.cause is not None:
        figures.refused[attempt.cause] += 1
    elif attempt.granted_ns is None:
        figures.left += attempt.over_ns is not None
        figures.waiting += attempt.over_ns is None
    figures.rate_limited += attempt.outcome is Outcome.THROTTLED
