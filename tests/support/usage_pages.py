"""A ledger with given figures, for the page of usage."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tidegate.core.ports.usage_sink import SessionUsage, SinkStatus, UsageGroup, UsageOverview, UsageQuery, UsageReport

NOW = 1_795_000_000
DAY = 86_400
WAITS = (8, 1, 1, 0, 0, 0)
FIELDS = ("calls", "refused", "failed", "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")


def group(cost_micro_usd: int = 0, *, calls: int = 10, waits: tuple[int, ...] = WAITS, **names: Any) -> UsageGroup:
    """The sums of a group: a tenth of its input is from the cache."""
    refused = names.pop("refused", 0)
    return UsageGroup(names, calls, refused, 1, 900, 50, 100, 0, cost_micro_usd, 0, waits, {})


def total_of(groups: Sequence[UsageGroup], **changes: Any) -> UsageGroup:
    counts = {name: sum(getattr(each, name) for each in groups) for name in (*FIELDS, "cost_micro_usd")}
    waits = tuple(sum(each.waits[index] for each in groups) for index in range(6))
    return UsageGroup({}, unpriced_tokens=0, waits=waits, refusals={}, **{**counts, **changes})


@dataclass
class PageLedger:
    """Answers every query with the same figures, as far as its filters allow, or raises an error."""

    groups: tuple[UsageGroup, ...] = ()
    times: tuple[UsageGroup, ...] = ()
    expensive: tuple[SessionUsage, ...] = ()
    changes: dict[str, Any] = field(default_factory=dict)
    error: Exception | None = None
    queries: list[UsageQuery] = field(default_factory=list)
    handlers = ()

    def status(self) -> SinkStatus:
        return SinkStatus(up=True, unwritten_seconds=0, failures=0, lost=0)

    def check(self) -> None:
        """Nothing is refused."""

    def report(self, query: UsageQuery) -> UsageReport:
        groups = self._asked(query)
        return UsageReport(groups, total_of(groups))

    def overview(self, query: UsageQuery) -> UsageOverview:
        self.queries.append(query)
        groups = self._asked(query)
        step = 3_600 if query.until - query.since <= 2 * DAY else DAY
        total = replace(total_of(groups), **self.changes) if groups else total_of(groups)
        return UsageOverview(groups, self.times, total, step)

    def sessions(self, query: UsageQuery, limit: int) -> Sequence[SessionUsage]:
        return [each for each in self.expensive if query.caller in {None, each.caller}][:limit]

    def _asked(self, query: UsageQuery) -> tuple[UsageGroup, ...]:
        if self.error is not None:
            raise self.error
        wanted = {name: value for name in ("team", "caller", "model") if (value := getattr(query, name)) is not None}
        return tuple(each for each in self.groups if wanted.items() <= each.group.items())
