"""The figures of the page, and the request for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from urllib.parse import urlencode

from tidegate.core.domain.budget import BudgetSnapshot
from tidegate.core.domain.pause import Pause
from tidegate.core.ports.usage_sink import SessionUsage, UsageGroup, UsageOverview

__all__ = ["FILTERS", "PERIODS", "Asked", "View", "sum_by"]

PERIODS: Final = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days", "400d": "400 days"}
FILTERS: Final = ("team", "caller", "model")


@dataclass(frozen=True, slots=True)
class Asked:
    """The query of the page's address: the period, and the only team, caller and model to count; None: all."""

    period: str = "7d"
    team: str | None = None
    caller: str | None = None
    model: str | None = None

    @property
    def is_filtered(self) -> bool:
        """Whether only a part is counted."""
        return any(getattr(self, name) is not None for name in FILTERS)

    def address(self, **changes: str | None) -> str:
        """The address of the page with other values."""
        values = {"since": self.period, **{name: getattr(self, name) for name in FILTERS}, **changes}
        return "?" + urlencode({name: value for name, value in values.items() if value is not None})


@dataclass(frozen=True, slots=True)
class View:
    """All that the page shows.

    Attributes:
        asked: what was asked for.
        since, until: the period, in seconds since 1970-01-01 UTC.
        overview: the sums by team, caller and model.
        choices: the names to choose from, by team, caller and model.
        sessions: the most expensive sessions.
        pauses: what is paused now.
        budgets: what is left of budgets, the least first.
        prices: where prices are from, and when they were read.
        only_caller: the name of the caller who sees the page, and only its own usage; None: all is shown.
    """

    asked: Asked
    since: int
    until: int
    overview: UsageOverview
    choices: dict[str, Sequence[str]]
    sessions: Sequence[SessionUsage] = ()
    pauses: Sequence[Pause] = ()
    budgets: Sequence[BudgetSnapshot] = ()
    prices: Sequence[tuple[str, date]] = ()
    only_caller: str | None = None


@dataclass(slots=True)
class Sum:
    """The sums of several groups that tables show."""

    calls: int = 0
    refused: int = 0
    cost_micro_usd: int = 0
    output_tokens: int = 0
    all_input_tokens: int = 0
    cache_read_tokens: int = 0

    def add(self, group: UsageGroup) -> None:
        """Adds a group."""
        self.calls += group.calls
        self.refused += group.refused
        self.cost_micro_usd += group.cost_micro_usd
        self.output_tokens += group.output_tokens
        self.all_input_tokens += group.input_tokens + group.cache_read_tokens + group.cache_creation_tokens
        self.cache_read_tokens += group.cache_read_tokens


def sum_by(name: str, groups: Sequence[UsageGroup]) -> list[tuple[str, Sum]]:
    """The sums by one of the names of groups, the most expensive first."""
    sums: dict[str, Sum] = {}
    for group in groups:
        sums.setdefault(str(group.group[name]), Sum()).add(group)
    return sorted(sums.items(), key=lambda each: (-each[1].cost_micro_usd, -each[1].calls, each[0]))
