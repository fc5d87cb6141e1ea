"""Budgets follow the calendar, the configuration and the ledger."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from support.virtual_time import VirtualClock, run_virtual
from tidegate.cli.budgets import BudgetKeeper, running_budgets
from tidegate.core.domain.budget import BudgetRule, BudgetUnit, Each, Period, Spender, Spending
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import ONE_REQUEST
from tidegate.core.domain.errors import LedgerUnavailable
from tidegate.core.domain.events import BatchResultsRead
from tidegate.core.domain.usage import Usage
from tidegate.core.pricing.call_prices import CallPrices
from tidegate.core.pricing.price_list import PriceList
from tidegate.settings import Settings
from tidegate.stores.memory import MemoryStore
from tidegate.stores.switchable import SwitchableStore

ANN, BOB = Spender("ann", "search"), Spender("bob", "search")
HOUR = BudgetRule("hour", BudgetUnit.USD, 1_000, Period.HOUR)
TOTAL = BudgetRule("total", BudgetUnit.TOKENS, 500, caller="ann")
SESSION = BudgetRule("session", BudgetUnit.USD, 100, each=Each.SESSION)


@dataclass
class FakeLedger:
    """Implements `SpendingStore` over given sums."""

    clock: VirtualClock
    spent: dict[tuple[bool, Spender], Spending] = field(default_factory=dict)
    dead: list[tuple[Spender, Spending]] = field(default_factory=list)
    failures: int = 0
    ahead_seconds: float = 0.0
    recorded: list[tuple[Spender, Spending]] = field(default_factory=list)
    kept: tuple[Any, bool] = (None, False)
    settled: list[bool] = field(default_factory=list)
    on_read: Callable[[], None] = lambda: None
    rows: list[tuple[float, Spending]] = field(default_factory=list)

    def now(self) -> float:
        return self.clock.wall_seconds() + self.ahead_seconds

    def record(self, spender: Spender, spending: Spending) -> None:
        self.recorded.append((spender, spending))

    def keep(self, reserved: Callable[[], Mapping[Spender, Spending]] | None, *, sessions: bool) -> None:
        self.kept = reserved, sessions

    def spent_since(self, starts: int, *, by_session: bool) -> Sequence[tuple[Spender, Spending]]:
        self._fail()
        self.on_read()
        assert starts <= self.now()
        rows = [(BOB, amount) for at, amount in self.rows if at >= starts]
        return rows + [(spender, amount) for (session, spender), amount in self.spent.items() if session == by_session]

    def settle_dead(self, *, sole: bool) -> Sequence[tuple[Spender, Spending]]:
        self._fail()
        self.settled.append(sole)
        found, self.dead = self.dead, []
        return found

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise LedgerUnavailable("it is away")


class Rig:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.memory = MemoryStore(self.clock)
        self.store = SwitchableStore(self.memory)
        self.ledger = FakeLedger(self.clock)
        prices = CallPrices(PriceList.bundled(), self.clock.wall_seconds)
        self.keeper = BudgetKeeper(self.store, self.memory, self.ledger, prices)

    def run(self, *steps: Callable[[], Any] | float, rules: tuple[BudgetRule, ...], is_sole: bool = False) -> None:
        """Keeps budgets, and makes the steps; a number is a wait."""

        async def main() -> None:
            async with self.keeper.keeping(rules, is_sole=is_sole):
                for step in steps:
                    await asyncio.sleep(step) if isinstance(step, float) else step()

        run_virtual(main(), self.clock)

    def spent(self) -> dict[str, int]:
        return {each.rule.name + each.subject: each.spent for each in self.store.budgets_now()}


def test_budgets_begin_with_what_was_spent_in_their_period() -> None:
    rig, seen = Rig(), list[dict[str, int]]()
    rig.ledger.spent = {
        (False, ANN): Spending(30, 7),
        (False, BOB): Spending(5, 70),
        (True, Spender("ann", "search", "s")): Spending(20, 1),
    }
    rig.run(lambda: seen.append(rig.spent()), rules=(HOUR, TOTAL, SESSION))
    assert seen == [{"hour": 35, "total": 7, "sessionann/s": 20}]
    assert rig.ledger.kept[1] is True


def test_a_new_hour_begins_by_the_clock_of_the_database() -> None:
    rig, seen = Rig(), list[dict[str, int]]()
    rig.ledger.ahead_seconds = 3_000 - rig.clock.wall_seconds() % 3_600
    rig.run(
        lambda: rig.store.spend(ANN, Spending(50, 50)),
        599.9,
        lambda: seen.append(rig.spent()),
        0.2,
        lambda: seen.append(rig.spent()),
        rules=(HOUR, TOTAL),
    )
    assert seen == [{"hour": 50, "total": 50}, {"hour": 0, "total": 50}]


def test_a_period_that_a_wrong_clock_had_begun_does_not_begin_anew_after_a_restart() -> None:
    rig, seen = Rig(), list[dict[str, int]]()

    def look() -> None:
        seen.append(rig.spent())

    left = 3_600 - rig.clock.wall_seconds() % 3_600
    rig.ledger.rows = [(rig.clock.wall_seconds() + left + 60, Spending(900))]  # by the wrong clock
    rig.run(look, lambda: rig.store.spend(BOB, Spending(70)), left + 20.0, look, 100.0, look, rules=(HOUR,))
    assert seen == [{"hour": 900}, {"hour": 900}, {"hour": 900}]


@pytest.mark.parametrize(("hours", "after"), [(1, 30), (2, 930), (1_000, 930)])
def test_a_clock_that_is_set_forward_and_back_grants_nothing_twice(hours: int, after: int) -> None:
    rig, seen = Rig(), list[dict[str, int]]()

    def look() -> None:
        seen.append(rig.spent())

    rig.ledger.rows = [(rig.clock.wall_seconds(), Spending(900))]

    def set_forward() -> None:
        rig.ledger.ahead_seconds = 3_600.0 * hours

    def spend() -> None:
        rig.store.spend(BOB, Spending(30))
        rig.ledger.rows.append((rig.ledger.now(), Spending(30)))

    def set_back() -> None:
        rig.ledger.ahead_seconds = 0.0

    rig.run(look, set_forward, 11.0, look, spend, look, set_back, 11.0, look, rules=(HOUR,))
    assert seen == [{"hour": 900}, {"hour": 0}, {"hour": 30}, {"hour": after}]


def test_a_period_begins_in_time_if_the_ledger_does_not_answer() -> None:
    rig, seen = Rig(), list[dict[str, int]]()

    def look() -> None:
        seen.append(rig.spent())

    left = 3_600 - rig.clock.wall_seconds() % 3_600

    def fail() -> None:
        rig.ledger.failures = 1_000

    rig.run(lambda: rig.store.spend(BOB, Spending(70)), fail, left - 1.0, look, 2.0, look, rules=(HOUR,))
    assert seen == [{"hour": 70}, {"hour": 0}]


def test_what_was_spent_is_read_again_until_the_ledger_answers(caplog: pytest.LogCaptureFixture) -> None:
    rig, seen = Rig(), list[dict[str, int]]()
    rig.ledger.failures, rig.ledger.spent = 2, {(False, ANN): Spending(30, 7)}
    steps = (lambda: rig.store.spend(ANN, Spending(1, 1)), lambda: seen.append(rig.spent()))
    rig.run(*steps, 10.0, lambda: seen.append(rig.spent()), rules=(HOUR,))
    assert seen == [{"hour": 1}, {"hour": 30}]
    assert "the budgets begin without what was spent before, until it can be read: it is away" in caplog.text


def test_without_budgets_a_silent_ledger_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.ledger.failures = 5
    rig.run(30.0, rules=(), is_sole=True)
    assert not caplog.records
    assert rig.ledger.kept == (None, False)


def test_budgets_of_a_reload_begin_with_what_was_spent_and_others_keep_it() -> None:
    rig, seen = Rig(), list[dict[str, int]]()
    rig.run(
        lambda: rig.store.spend(ANN, Spending(50, 50)),
        lambda: rig.ledger.spent.update({(False, ANN): Spending(40, 40)}),
        lambda: rig.keeper.replace((HOUR, TOTAL)),
        0.1,
        lambda: seen.append(rig.spent()),
        lambda: rig.keeper.replace(()),
        lambda: seen.append(rig.spent()),
        rules=(HOUR,),
    )
    assert seen == [{"hour": 50, "total": 40}, {}]


def test_budgets_that_are_replaced_while_the_ledger_reads_are_not_mixed_up() -> None:
    rig, seen = Rig(), list[dict[str, int]]()
    replaced = list[bool]()

    def replace() -> None:
        if not replaced:
            replaced.append(True)
            rig.keeper._rules = (TOTAL,)

    rig.ledger.spent = {(False, ANN): Spending(40, 7)}
    rig.ledger.on_read = replace
    rig.run(5.0, lambda: seen.append(rig.spent()), rules=(HOUR,))
    assert seen == [{"total": 7}]


def test_what_dead_processes_had_reserved_is_counted() -> None:
    rig, seen = Rig(), list[dict[str, int]]()
    rig.ledger.dead = [(ANN, Spending(9, 9))]
    rig.run(lambda: seen.append(rig.spent()), rules=(HOUR,), is_sole=True)
    assert rig.ledger.settled[0] is True
    assert seen == [{"hour": 0}]  # by then the ledger has it

    rig = Rig()
    rig.run(
        1.0,
        lambda: rig.ledger.dead.append((ANN, Spending(9, 9))),
        20.0,
        lambda: seen.append(rig.spent()),
        rules=(HOUR,),
    )
    assert set(rig.ledger.settled) == {False}
    assert seen[-1] == {"hour": 9}


def test_what_is_reserved_is_written_while_this_process_decides() -> None:
    rig, seen = Rig(), list[Mapping[Spender, Spending]]()
    demand = Demand("p", Caller("ann", label="ann", team="search"), ONE_REQUEST, spending=Spending(5, 6))

    def look() -> None:
        seen.append(rig.ledger.kept[0]())

    def hand_over() -> None:
        rig.store.present = MemoryStore(rig.clock)

    rig.run(lambda: rig.memory.try_admit("r-1", demand), look, hand_over, look, rules=(HOUR,))
    assert seen == [{ANN: Spending(5, 6)}, {}]


def test_results_of_a_batch_are_spent_and_recorded() -> None:
    rig, seen = Rig(), list[dict[str, int]]()
    ((_, handler),) = rig.keeper.handlers
    caller = Caller("ann", label="ann", team="search")
    used = (("claude-haiku-5-5", Usage(1_000, 100, batch=True)), ("claude-haiku-5-5", Usage(10, 1, batch=True)))
    rig.run(
        lambda: handler(BatchResultsRead(caller, used)),
        lambda: handler(BatchResultsRead(caller, ())),
        lambda: seen.append(rig.spent()),
        rules=(TOTAL,),
    )
    assert seen == [{"total": 1_111}]
    assert rig.ledger.recorded[0][1].tokens == 1_111


def test_a_service_without_a_ledger_keeps_none() -> None:
    async def main() -> None:
        async with running_budgets(None, Settings(), takes_over=False):
            pass

    asyncio.run(main())
