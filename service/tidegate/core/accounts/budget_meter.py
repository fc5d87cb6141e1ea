"""One budget: how much each of its subjects has spent and reserved in the present period."""

from collections.abc import Callable, Mapping
from typing import Final, Self

from msgspec import Struct, structs

from tidegate.core.accounts.account_waits import AccountWaits
from tidegate.core.domain.budget import BudgetRule, BudgetSnapshot, BudgetUnit, BudgetWindow, OnExceed, Spending

__all__ = ["LOW", "LOW_PERCENT", "REFUSED", "USED_UP", "Budget", "Meter", "MeterState"]

LOW: Final = 1
"""A bit of `Budget.told`: most of the limit was spent."""
REFUSED: Final = 2
"""A bit of `Budget.told`: the limit was reached, or a call was refused."""
USED_UP: Final = 4
"""A bit of `Budget.told`: the limit was reached, or a call was refused after most of it was spent."""

LOW_PERCENT: Final = 80
"""The share of the limit from which on a budget is low. It is reported before all of it."""

_UNITS: Final = (BudgetUnit.USD, BudgetUnit.TOKENS)
"""In the order of the fields of `Spending`."""
_MOST_SUBJECTS: Final = 10_000
"""So many sessions, callers or teams of one budget are remembered. Beyond that, the one that has spent nothing for
longest is forgotten, unless it has a call in progress. Those that have reached a threshold are forgotten last: they
would begin anew."""


class BudgetState(Struct, frozen=True, array_like=True):
    """The dump of a `Budget`: its subject, what that has spent, thresholds told, and pools in which calls wait."""

    subject: str
    spent: int
    told: int
    skipped_in: tuple[str, ...]


class MeterState(Struct, frozen=True, array_like=True):
    """The dump of a `Meter`. `spent` of the window is None if it was not known."""

    window: BudgetWindow
    budgets: tuple[BudgetState, ...]

    def known_window(self) -> BudgetWindow:
        """The budget with what was spent, as a configuration."""
        spent = {each.subject: each.spent for each in self.budgets}
        return self.window if self.window.spent is None else structs.replace(self.window, spent=spent)


class Budget:
    """The amount of one subject of a budget.

    Attributes:
        spent: by calls that have ended in this period.
        reserved: for calls in progress.
        told: what was reported in this period, as bits.
        skipped_in: the waits of each pool in which calls wait for the end of others that have reserved the rest.
    """

    __slots__ = ("meter", "reserved", "skipped_in", "spent", "subject", "told")

    def __init__(self, meter: "Meter", subject: str) -> None:
        self.meter = meter
        self.subject = subject
        self.spent = meter.set_aside
        self.reserved = 0
        self.told = 0
        self.skipped_in: dict[str, AccountWaits] = {}

    @property
    def is_low(self) -> bool:
        """Whether a fifth or less is left."""
        return self.spent + self.reserved >= self.meter.low_from

    def has(self, spending: Spending, *, beside_reserved: bool = False) -> bool:
        """Whether the amount suffices; `beside_reserved`: also if calls in progress spend what they have reserved."""
        meter = self.meter
        amount = spending[meter.unit]
        taken = self.spent + self.reserved if beside_reserved else self.spent
        return not amount or taken + amount <= meter.rule.limit

    def note_skipped(self, waits: AccountWaits) -> None:
        """Calls are skipped in this pool until calls in progress end."""
        self.skipped_in[waits.pool] = waits

    def snapshot(self) -> BudgetSnapshot:
        """The amount now."""
        used_up = bool(self.told & USED_UP)
        return BudgetSnapshot(self.meter.rule, self.subject, self.spent, self.reserved, self.meter.ends, used_up)


class Meter:
    """A budget in its present period, with the amounts of its subjects: those that spent last are last.

    Attributes:
        rule: the budget.
        unit: the index of its unit in `Spending`.
        refuses: whether it refuses calls.
        low_from: an amount from which on it is low.
        is_known: whether it is known what was spent before.
    """

    __slots__ = ("budgets", "ends", "is_known", "low_from", "refuses", "rule", "set_aside", "starts", "unit")

    def __init__(self, window: BudgetWindow) -> None:
        self._adopt(window.rule)
        self.unit = _UNITS.index(window.rule.unit)
        self.starts = window.starts
        self.ends = window.ends
        self.set_aside = window.set_aside
        self.is_known = False
        self.budgets: dict[str, Budget] = {}
        if self.rule.each is None:
            self.of("")

    def of(self, subject: str) -> Budget:
        """The amount of a subject. For a new one, another may be forgotten."""
        budget = self.budgets.get(subject)
        if budget is None:
            if len(self.budgets) >= _MOST_SUBJECTS:
                idle = next((name for name, each in self.budgets.items() if not each.reserved and not each.told), None)
                if idle is None:
                    idle = next((name for name, each in self.budgets.items() if not each.reserved), None)
                if idle is not None:
                    del self.budgets[idle]
            budget = self.budgets[subject] = Budget(self, subject)
        return budget

    def replace(self, rule: BudgetRule) -> None:
        """Replaces the rule by one that counts the same. Thresholds of another limit are reported anew."""
        if rule.limit != self.rule.limit:
            for budget in self.budgets.values():
                budget.told = 0
        self._adopt(rule)

    def touch(self, budget: Budget) -> None:
        """Moves a subject that has just spent something behind all others: the first ones are forgotten first."""
        self.budgets[budget.subject] = self.budgets.pop(budget.subject)

    def begin(self, starts: int, ends: int | None) -> bool:
        """Begins another period, unless it has begun already. What is reserved stays reserved."""
        if starts <= self.starts:
            return False
        self.starts, self.ends, self.is_known = starts, ends, True
        for budget in self.budgets.values():
            budget.spent, budget.told = self.set_aside, 0
        return True

    def is_of_far_future(self, window: BudgetWindow) -> bool:
        """Whether a window, with what was spent in it, ends before this period begins.

        A window that ends when this period begins may only be late.
        """
        return window.spent is not None and window.ends is not None and window.ends < self.starts

    def learn_spent(self, spent: Mapping[str, int]) -> None:
        """Takes in what was spent before, once per period. It may include what was counted since then.

        Not so of a share: what is for other processes is part of it.
        """
        if self.is_known:
            return
        self.is_known = True
        for subject, amount in sorted(spent.items()):
            budget = self.of(subject)
            counted = budget.spent - self.set_aside
            budget.spent = amount + counted if self.set_aside else max(counted, amount)

    def dump(self) -> MeterState:
        """The state without reservations, for `restore`."""
        window = BudgetWindow(self.rule, self.starts, self.ends, {} if self.is_known else None, self.set_aside)
        budgets = (
            BudgetState(each.subject, each.spent, each.told, tuple(each.skipped_in)) for each in self.budgets.values()
        )
        return MeterState(window, tuple(budgets))

    @classmethod
    def restore(cls, state: MeterState, waits_in: Callable[[str], AccountWaits]) -> Self:
        """Continues from `state`. `waits_in` returns the waits in a pool by name."""
        meter = cls(state.window)
        meter.is_known = state.window.spent is not None
        for known in state.budgets:
            budget = meter.of(known.subject)
            budget.spent, budget.told = known.spent, known.told
            budget.skipped_in = {pool: waits_in(pool) for pool in known.skipped_in}
        return meter

    def _adopt(self, rule: BudgetRule) -> None:
        self.rule = rule
        self.refuses = rule.on_exceed is OnExceed.REFUSE
        self.low_from = -(-rule.limit * LOW_PERCENT // 100)  # rounded up
