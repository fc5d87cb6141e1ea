"""Budgets across all pools: what was spent and what is reserved, decided in the same step as the quota of a pool."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import nsmallest
from operator import add, sub
from typing import Final

from msgspec import Struct, structs

from tidegate.core.accounts.account_waits import AccountWaits
from tidegate.core.accounts.budget_meter import LOW, LOW_PERCENT, REFUSED, USED_UP, Budget, Meter, MeterState
from tidegate.core.domain.budget import (
    NOTHING_SPENT,
    BudgetSnapshot,
    BudgetWindow,
    OnExceed,
    Spender,
    Spending,
)
from tidegate.core.domain.caller import Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import FREE_OUTCOMES, Demand, Outcome, Refused
from tidegate.core.domain.events import BudgetReached

__all__ = ["Budgets", "BudgetsState"]

_MOST_SHOWN: Final = 100
"""Subjects of one budget in a snapshot: those with the least left."""
_MOST_SPENDERS: Final = 1_000
_LEAST: Final = Spending(1, 1)
"""A call that is priced later costs at least this."""


class BudgetsState(Struct, frozen=True, array_like=True):
    """The dump of `Budgets`. `reservations`: by lease id."""

    meters: tuple[MeterState, ...] = ()
    reservations: dict[str, tuple[Spender, Spending]] = {}


_SpenderKey = tuple[str, str, str]
"""The fields of a `Spender`. A plain tuple costs a fifth of that, and each call needs some."""


class _Reservation(Struct, gc=False):
    """The reservation of a call in progress: in each of these budgets, the amount in the unit of that."""

    spender: _SpenderKey
    spending: Spending
    budgets: tuple[Budget, ...] = ()


class Budgets:
    """The budgets of all callers.

    A call reserves what it will probably cost, and settles what it has cost. It is admitted if everything that was
    spent and reserved, and its own cost, stay within the limit. So what is spent beyond a limit is at most the sum,
    over the calls in progress when it was reached, of what they cost more than they had reserved. If only the
    reservations of others leave too little, a call waits for their end.

    Nothing here knows the time. Whoever does says which period it is (`configure`, `begin`).

    Args:
        freed: pools in which waiting calls may go now, or have to be refused. Such pools are added.

    Attributes:
        events: thresholds that were reached, since somebody last cleared them.
        some_low: whether a fifth or less is left of some budget; it may stay true until a period begins.
    """

    __slots__ = (
        *("_by_spender", "_freed", "_latest", "_latest_budgets", "_latest_spender", "_meters", "_open"),
        *("events", "some_low"),
    )

    def __init__(self, freed: dict[str, None]) -> None:
        self.events: list[BudgetReached] = []
        self.some_low = False
        self._freed = freed
        self._meters: dict[str, Meter] = {}  # by name
        self._by_spender: dict[_SpenderKey, tuple[Budget, ...]] = {}  # a cache
        self._latest: Demand | None = None  # the demand that was asked for last, with its spender and budgets
        self._latest_spender: _SpenderKey = ("", "", "")
        self._latest_budgets: tuple[Budget, ...] = ()
        self._open: dict[str, _Reservation] = {}  # by lease id

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._meters)

    def dump(self) -> BudgetsState:
        """The state with all reservations, for `restore`."""
        reservations = {lease_id: (Spender(*each.spender), each.spending) for lease_id, each in self._open.items()}
        return BudgetsState(tuple(meter.dump() for meter in self._meters.values()), reservations)

    def restore(self, state: BudgetsState, waits_in: Callable[[str], AccountWaits]) -> None:
        """Continues from `state`, once the pools are restored. `waits_in` returns the waits in a pool by name."""
        self._meters = {each.window.rule.name: Meter.restore(each, waits_in) for each in state.meters}
        self._open = {lease_id: _Reservation(*each) for lease_id, each in state.reservations.items()}
        self._reserve_again()

    # What an operator and the calendar say.

    def configure(self, windows: Iterable[BudgetWindow]) -> None:
        """Replaces all budgets. What was spent and reserved stays, if a budget of the name counts the same as before.

        Whatever a window says was spent before is taken in once per period. After a period of the future, which a wrong
        clock has begun, a budget goes back to an earlier one only if it is known what was spent in that.
        """
        meters = {}
        for window in windows:
            rule = window.rule
            meter = self._meters.get(rule.name)
            if meter is None or not meter.rule.counts_as(rule) or meter.is_of_far_future(window):
                meter = Meter(window)
            else:
                meter.replace(rule)
                if meter.begin(window.starts, window.ends):
                    meter.is_known = False
            if window.spent is not None and window.starts == meter.starts:
                meter.learn_spent(window.spent)
            meters[rule.name] = meter
        for budget in self._all():
            self._free(budget)
        self._meters = meters
        self._reserve_again()

    def begin(self, periods: Mapping[str, tuple[int, int | None]]) -> None:
        """Begins new periods, each once. By `BudgetRule.calendar`: when a period began, and when it ends."""
        for meter in self._meters.values():
            period = periods.get(meter.rule.calendar)
            if period is not None and meter.begin(*period):
                for budget in meter.budgets.values():
                    self._free(budget)
                self.some_low = any(budget.is_low for budget in self._all())

    # What calls do.

    def has_room(self, demand: Demand) -> bool:
        """Whether nothing holds a demand back: everything stays within each limit, which is so nearly always.

        Then `judge` returns the demand as it is, and it fits. If there is no room, both may still be so.
        """
        if not self._meters:
            return True
        spending = demand.spending
        for budget in self._budgets_of(demand):
            meter = budget.meter
            if budget.spent + budget.reserved + spending[meter.unit] > meter.rule.limit:
                return False
        return not demand.is_priced_later

    def judge(self, demand: Demand) -> Demand | Refused:
        """Refuses a demand that a budget has too little left for, whatever the calls in progress turn out to cost.

        Of several such budgets, the one that opens last is the reason: until then, each attempt would be refused.
        Otherwise returns it, in the lowest class if a budget says so. One that is priced later reserves nothing, but is
        refused as well once nothing is left.
        """
        if self.has_room(demand):
            return demand
        spending = _LEAST if demand.is_priced_later else demand.spending
        refusing = []
        for budget in self._budgets_of(demand):
            on_exceed = budget.meter.rule.on_exceed
            if on_exceed is OnExceed.REFUSE and not budget.has(spending):
                self._tell(budget, 100, REFUSED | USED_UP if _percent(budget) >= LOW_PERCENT else REFUSED)
                refusing.append(budget)
            elif on_exceed is OnExceed.BATCH and not budget.has(spending, beside_reserved=True):
                demand = structs.replace(demand, caller=demand.caller.lowered(Priority.BATCH))
        return Refused(Cause.BUDGET, budget=max(refusing, key=_opens).snapshot()) if refusing else demand

    def blocking(self, demand: Demand) -> Budget | None:
        """The budget that a demand has to wait for, because calls in progress have reserved the rest; None: it may go.

        None also for a demand that `judge` refuses.
        """
        if self.has_room(demand):
            return None
        blocking = None
        for budget in self._budgets_of(demand):
            if budget.meter.refuses:
                if not budget.has(demand.spending):
                    return None
                if not budget.has(demand.spending, beside_reserved=True):
                    blocking = budget
        return blocking

    def fits(self, demand: Demand) -> bool:
        """Whether a demand is neither refused nor has to wait for calls in progress."""
        return self.has_room(demand) or all(
            not budget.meter.refuses or budget.has(demand.spending, beside_reserved=True)
            for budget in self._budgets_of(demand)
        )

    def reserve(self, lease_id: str, demand: Demand) -> None:
        """Reserves what a call will probably cost, as it begins."""
        if not self._meters or demand.spending == NOTHING_SPENT:
            return
        budgets = self._latest_budgets if demand is self._latest else self._budgets_of(demand)
        self._open[lease_id] = _Reservation(self._latest_spender, demand.spending, budgets)
        self._reserve(budgets, demand.spending)

    def grow(self, lease_id: str, spending: Spending) -> None:
        """A call in progress has spent this so far. What it has reserved grows to that, if it is less."""
        reservation = self._open.get(lease_id)
        if reservation is None:
            return
        before = reservation.spending
        most = Spending(max(before.micro_usd, spending.micro_usd), max(before.tokens, spending.tokens))
        if most != before:
            reservation.spending = most
            self._reserve(reservation.budgets, Spending(*map(sub, most, before)))

    def settle(self, lease_id: str, demand: Demand, outcome: Outcome, spending: Spending | None) -> Spending:
        """Ends a reservation and counts what the call has spent; returns that.

        `spending` None: it is unknown. Then nothing was spent, or what was reserved, as the outcome says.
        """
        reservation = self._open.pop(lease_id, None)
        if outcome in FREE_OUTCOMES:
            spending = NOTHING_SPENT
        elif spending is None:
            spending = demand.spending if reservation is None else reservation.spending
        if reservation is None:
            if self._meters and spending != NOTHING_SPENT:
                self.spend(demand.spender, spending)
            return spending
        for budget in reservation.budgets:
            budget.reserved -= reservation.spending[budget.meter.unit]
            if budget.skipped_in:
                self._free(budget)
            self._count(budget, spending)
        return spending

    def spend(self, spender: Spender, spending: Spending) -> None:
        """Counts what was spent, beside any reservation."""
        for budget in self._of(spender):
            self._count(budget, spending)

    # What others read.

    def reserved(self) -> dict[Spender, Spending]:
        """The reservations of calls in progress."""
        sums: dict[Spender, Spending] = {}
        for each in self._open.values():
            spender = Spender(*each.spender)
            sums[spender] = Spending(*map(add, sums.get(spender, NOTHING_SPENT), each.spending))
        return sums

    def snapshot(self, spender: Spender | None = None) -> tuple[BudgetSnapshot, ...]:
        """The rest of all budgets, or of those of one spender.

        Of all those with many subjects, only the 100 subjects that have the least left are shown.
        """
        if spender is not None:
            return tuple(budget.snapshot() for budget in self._of(spender))
        return tuple(
            snapshot
            for meter in self._meters.values()
            for snapshot in nsmallest(
                _MOST_SHOWN, (each.snapshot() for each in meter.budgets.values()), key=_remaining_ratio
            )
        )

    def _budgets_of(self, demand: Demand) -> tuple[Budget, ...]:
        """The budgets that count a demand. The steps of an admission ask for those of the same one in turn.

        `reserve` looks itself whether it is the same: nearly always, and each call takes this step.
        """
        if demand is not self._latest:
            caller = demand.caller
            spender = self._latest_spender = (caller.label, caller.team, demand.session)
            found = self._by_spender.get(spender)
            self._latest_budgets = self._find(Spender(*spender)) if found is None else found
            self._latest = demand
        return self._latest_budgets

    def _of(self, spender: _SpenderKey) -> tuple[Budget, ...]:
        """The budgets that count the calls of a spender."""
        found = self._by_spender.get(spender)
        return self._find(Spender(*spender)) if found is None else found

    def _find(self, spender: Spender) -> tuple[Budget, ...]:
        found = []
        for meter in self._meters.values():
            subject = meter.rule.subject(spender) if meter.rule.is_for(spender.caller, spender.team) else None
            if subject is not None:
                is_new = subject not in meter.budgets
                found.append(meter.of(subject))
                if is_new:
                    self._forget_found()  # another subject may have been forgotten
        if len(self._by_spender) >= _MOST_SPENDERS:
            self._forget_found()
        budgets = self._by_spender[spender] = tuple(found)
        return budgets

    def _forget_found(self) -> None:
        self._by_spender.clear()
        self._latest = None

    def _all(self) -> Iterator[Budget]:
        for meter in self._meters.values():
            yield from meter.budgets.values()

    def _reserve_again(self) -> None:
        """Finds the budgets of all calls in progress, once the budgets have changed."""
        self._forget_found()
        for budget in self._all():
            budget.reserved = 0
        self.some_low = any(budget.is_low for budget in self._all())
        for reservation in self._open.values():
            reservation.budgets = self._of(reservation.spender)
            self._reserve(reservation.budgets, reservation.spending)

    def _reserve(self, budgets: Iterable[Budget], spending: Spending) -> None:
        for budget in budgets:
            meter = budget.meter
            budget.reserved += spending[meter.unit]
            if budget.spent + budget.reserved >= meter.low_from:
                self.some_low = True

    def _count(self, budget: Budget, spending: Spending) -> None:
        meter = budget.meter
        budget.spent += spending[meter.unit]
        if meter.rule.each is not None:
            meter.touch(budget)
        if budget.spent + budget.reserved < meter.low_from:
            return
        self.some_low = True
        if budget.spent >= meter.rule.limit:
            self._tell(budget, 100, LOW | REFUSED | USED_UP)
        elif _percent(budget) >= LOW_PERCENT:
            self._tell(budget, LOW_PERCENT, LOW)

    def _tell(self, budget: Budget, percent: int, bits: int) -> None:
        """Reports a threshold, unless all of its bits were told before in this period."""
        if budget.told & bits != bits:
            budget.told |= bits
            self.events.append(BudgetReached(percent, budget.snapshot()))

    def _free(self, budget: Budget) -> None:
        """Looks again at the calls that wait for this budget."""
        for pool, waits in budget.skipped_in.items():
            waits.until_ns = 0
            self._freed[pool] = None
        budget.skipped_in.clear()


def _opens(budget: Budget) -> float:
    """When a budget begins anew, in seconds since 1970-01-01 UTC."""
    return math.inf if budget.meter.ends is None else budget.meter.ends


def _percent(budget: Budget) -> int:
    """The share of the limit that is spent, in whole percent, rounded down."""
    return budget.spent * 100 // budget.meter.rule.limit


def _remaining_ratio(budget: BudgetSnapshot) -> float:
    return budget.remaining_ratio
