"""Budgets: an amount of money or tokens that may be spent in a period, and how much of it was."""

from enum import StrEnum
from typing import Final, NamedTuple

from msgspec import Struct

__all__ = [
    "NOTHING_SPENT",
    "BudgetRule",
    "BudgetSnapshot",
    "BudgetUnit",
    "BudgetWindow",
    "Each",
    "OnExceed",
    "Period",
    "Spender",
    "Spending",
]


class Spending(NamedTuple):
    """An amount in both units: whole micro-dollars, and tokens of all kinds, also those read from the cache."""

    micro_usd: int = 0
    tokens: int = 0


NOTHING_SPENT: Final = Spending()


class Spender(NamedTuple):
    """The label and the team of a caller that spends, and its session, which may be empty."""

    caller: str
    team: str
    session: str = ""


class BudgetUnit(StrEnum):
    """The unit of a budget. Money is counted in micro-dollars."""

    USD = "usd"
    TOKENS = "tokens"


class Period(StrEnum):
    """The period after which a budget begins anew. A budget in total never does."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


class OnExceed(StrEnum):
    """The treatment of calls that a budget has nothing left for."""

    REFUSE = "refuse"
    WARN = "warn"
    BATCH = "batch"
    """They wait in the lowest class."""


class Each(StrEnum):
    """Whether everybody of a kind has the whole amount, instead of sharing it."""

    CALLER = "caller"
    TEAM = "team"
    SESSION = "session"


class BudgetRule(Struct, frozen=True, array_like=True):
    """A budget as it is configured.

    Attributes:
        name: unique.
        unit: of the limit.
        limit: the amount, in micro-dollars or tokens; > 0.
        period: how long it is for.
        time_zone: the IANA name of the zone in which days and months begin.
        on_exceed: what happens beyond the limit.
        caller: the label of the only caller that it is for; None: it is for all.
        team: the only team that it is for; None: it is for all.
        each: who has the whole amount each; None: all whom it is for share one amount.
        contact: who can raise it, in words; may be empty.
    """

    name: str
    unit: BudgetUnit
    limit: int
    period: Period = Period.TOTAL
    time_zone: str = "UTC"
    on_exceed: OnExceed = OnExceed.REFUSE
    caller: str | None = None
    team: str | None = None
    each: Each | None = None
    contact: str = ""

    @property
    def calendar(self) -> str:
        """Names the windows of the budget. Two budgets with the same one begin anew at the same moments."""
        return f"{self.period} {self.time_zone}"

    def counts_as(self, other: "BudgetRule") -> bool:
        """Whether both count the same spending, so that what one has counted holds for the other."""
        mine, its = ((each.unit, each.calendar, each.caller, each.team, each.each) for each in (self, other))
        return mine == its

    def is_for(self, caller: str, team: str) -> bool:
        """Whether calls of a caller count."""
        return self.caller in (None, caller) and self.team in (None, team)

    def subject(self, spender: Spender) -> str | None:
        """The caller, team or session whose amount a spender uses: the key of the amount. None: there is no session."""
        match self.each:
            case Each.CALLER:
                return spender.caller
            case Each.TEAM:
                return spender.team
            case Each.SESSION:
                return f"{spender.caller}/{spender.session}" if spender.session else None
            case _:
                return ""


class BudgetWindow(Struct, frozen=True, array_like=True):
    """A budget in its present period.

    Attributes:
        rule: the budget.
        starts: when the period began, in seconds since 1970-01-01 UTC; 0 for a budget in total.
        ends: when it ends; None: never.
        spent: how much of it each subject has spent in this period until now; None: it is not known yet.
        set_aside: how much of the limit is for other processes, in this and all further periods. It counts as spent by
            each subject that `spent` does not name.
    """

    rule: BudgetRule
    starts: int = 0
    ends: int | None = None
    spent: dict[str, int] | None = None
    set_aside: int = 0


class BudgetSnapshot(Struct, frozen=True, gc=False, array_like=True):
    """The amounts of a budget, in its unit.

    Attributes:
        rule: the budget.
        subject: who has this amount, by `BudgetRule.subject`; empty if all share it.
        spent: by calls that have ended.
        reserved: for calls in progress.
        ends: as in `BudgetWindow`.
        used_up: whether all was spent in this period, or a call was refused after most of it was spent.
    """

    rule: BudgetRule
    subject: str
    spent: int
    reserved: int
    ends: int | None
    used_up: bool = False

    @property
    def remaining(self) -> int:
        """The amount that may still be spent; negative if more was spent than allowed."""
        return self.rule.limit - self.spent - self.reserved

    @property
    def remaining_ratio(self) -> float:
        """The same as a share of the limit."""
        return self.remaining / self.rule.limit

    @property
    def is_low(self) -> bool:
        """Whether a fifth of the limit or less remains."""
        return self.remaining * 5 <= self.rule.limit

    def is_of(self, spender: Spender) -> bool:
        """Whether calls of this spender count."""
        rule = self.rule
        return rule.is_for(spender.caller, spender.team) and rule.subject(spender) == self.subject
