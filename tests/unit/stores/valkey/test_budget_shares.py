"""What a replica may spend of each budget while it decides alone, and what it tells the shared log of it."""

import asyncio
from typing import Any

import pytest
from msgspec import structs

from support.replicas import replicas
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.budget import BudgetRule, BudgetSnapshot, BudgetUnit, BudgetWindow, Each, Period, Spending
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.errors import Refusal
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.stores.steps import End, Held, Rejoin, Release, Reserve, SetBudgets, TurnBudgets
from tidegate.stores.valkey.budget_shares import BudgetShares, as_reported, in_period

ANN = Caller("ann", label="ann", team="search")
ALL = BudgetRule("all", BudgetUnit.USD, 900)
SESSION = BudgetRule("session", BudgetUnit.TOKENS, 90, each=Each.SESSION)
OTHER = BudgetRule("other", BudgetUnit.USD, 10, caller="bob")
WINDOWS = (BudgetWindow(ALL), BudgetWindow(SESSION), BudgetWindow(OTHER))
LEFT = (
    BudgetSnapshot(ALL, "", 300, 120, None),
    BudgetSnapshot(SESSION, "ann/s", 30, 9, None),
    BudgetSnapshot(SESSION, "ann/t", 95, 0, None),
    BudgetSnapshot(OTHER, "", 0, 0, 7),  # of another period
)


def demand(micro_usd: int = 60, tokens: int = 6, session: str = "s") -> Demand:
    return Demand("p", ANN, Cost(1), session=session, spending=Spending(micro_usd, tokens))


def shares() -> BudgetShares:
    return BudgetShares(WINDOWS, LEFT, 3)


def test_a_replica_has_its_share_of_what_is_left_and_what_its_own_calls_have_reserved() -> None:
    held = (Held("a-1", demand()), Held("a-2", demand(session="")))
    step = shares().in_step(Rejoin(leases=held, steps=(Release("p", "a-0"), SetBudgets(WINDOWS[:1]))))
    assert isinstance(step, Rejoin)
    known, released, replaced = step.steps
    assert isinstance(known, SetBudgets)
    assert [(each.spent, each.set_aside) for each in known.windows] == [
        # 480 are left, of which 160 are the share; own calls have reserved 120.
        ({"": 900 - 160 - 120}, 600),
        # 51 tokens are left of session s, so 17; own calls have reserved 6. Nothing is left of session t.
        ({"ann/s": 90 - 17 - 6, "ann/t": 90}, 60),
        ({}, 7),
    ]
    assert released == Release("p", "a-0")
    assert replaced == SetBudgets((structs.replace(WINDOWS[0], set_aside=600),))


def test_a_replica_that_starts_alone_has_its_share_of_what_the_ledger_says_is_left() -> None:
    window = BudgetWindow(ALL, spent={"": 300})
    step = BudgetShares((window,), (), 3).in_step(Rejoin())
    assert isinstance(step, Rejoin)
    (known,) = step.steps
    assert isinstance(known, SetBudgets)
    assert known.windows[0].spent == {"": 700}


def test_other_steps_stay_as_they_are() -> None:
    assert shares().in_step(TurnBudgets({})) == TurnBudgets({})
    assert shares().in_step(SetBudgets(())) == SetBudgets(())


def test_what_was_spent_alone_is_for_the_shared_log() -> None:
    own = shares()
    for lease_id in ("a-1", "a-2", "a-3"):
        own.reserve(Reserve(lease_id, demand()))
    settled = End("p", "a-1", Outcome.SETTLED, None, (), Spending(7, 7))
    assert own.end(settled) == structs.replace(settled, spender=demand().spender)
    abandoned = End("p", "a-2", Outcome.ABANDONED)
    assert own.end(abandoned) == structs.replace(abandoned, spent=Spending(60, 6), spender=demand().spender)
    for other in (End("p", "a-3", Outcome.RELEASED), End("p", "a-0", Outcome.SETTLED)):  # the log knows the second
        assert own.end(other) is other


def test_of_too_many_calls_the_oldest_are_forgotten(monkeypatch: Any) -> None:
    monkeypatch.setattr("tidegate.stores.valkey.budget_shares._MOST_CALLS", 2)
    own = shares()
    for number in range(3):
        own.reserve(Reserve(f"a-{number}", demand()))
    spenders = [own.end(End("p", f"a-{number}", Outcome.SETTLED)).spender for number in range(3)]
    assert spenders == [None, demand().spender, demand().spender]


def test_a_budget_enters_its_next_period_only() -> None:
    day = BudgetWindow(structs.replace(ALL, period=Period.DAY), 100, 200, {"": 5})
    assert in_period(day, {"day UTC": (200, 300)}) == structs.replace(day, starts=200, ends=300, spent=None)
    assert in_period(day, {"day UTC": (100, 200)}) is day
    assert in_period(day, {"hour UTC": (200, 300)}) is day


def test_budgets_of_a_lost_log_begin_with_what_was_reported() -> None:
    found = as_reported((*WINDOWS[:2], structs.replace(WINDOWS[2], spent={"": 3})), LEFT)
    assert [each.spent for each in found] == [{"": 300}, {"ann/s": 30, "ann/t": 95}, {"": 3}]


def test_replicas_share_a_budget_alone_and_together() -> None:
    clock = VirtualClock()
    budget = BudgetWindow(BudgetRule("b", BudgetUnit.USD, 900), 0, None, {})

    async def spend(admission: Any, times: int) -> int:
        done = 0
        for _ in range(times):
            try:
                lease = await admission.acquire(structs.replace(demand(100, 0), patience_ns=10**9))
            except Refusal as refusal:
                assert refusal.cause is Cause.BUDGET  # noqa: PT017 - the loop goes on
                continue
            await lease.end(Outcome.SETTLED, Cost(1), spent=Spending(100, 0))
            done += 1
        return done

    async def main() -> None:
        async with replicas(clock, {"p": PoolSettings()}, 3) as (_, running):
            for each in running:
                each.store.set_budgets((budget,))
            await asyncio.sleep(2)
            assert await spend(running[0].admission, 3) == 3
            await asyncio.sleep(2)  # so that all have a report
            for each in running:
                each.connection.is_cut = True
            await asyncio.sleep(3)
            alone = [await spend(each.admission, 5) for each in running]
            assert alone == [2, 2, 2]
            for each in running:
                each.connection.is_cut = False
            await asyncio.sleep(10)
            assert await spend(running[1].admission, 3) == 0
            await asyncio.sleep(2)
            assert {each.store.budgets_now()[0].spent for each in running} == {900}
            assert {each.store.budgets_now(demand().spender)[0].spent for each in running} == {900}

    run_virtual(main(), clock)


def test_a_budget_turns_and_is_spent_by_any_replica() -> None:
    clock = VirtualClock()
    budget = BudgetWindow(BudgetRule("b", BudgetUnit.USD, 900, Period.DAY), 100, 200, {})

    async def main() -> None:
        async with replicas(clock, {"p": PoolSettings()}, 2) as (_, running):
            first, second = (each.store for each in running)
            first.set_budgets((budget,))
            second.set_budgets((budget,))
            first.spend(demand().spender, Spending(40, 0))
            await asyncio.sleep(2.5)
            assert [each.budgets_now()[0].spent for each in (first, second)] == [40, 40]
            for each in (first, second):
                each.turn_budgets({"day UTC": (200, 300)})
            second.spend(demand().spender, Spending(5, 0))
            await asyncio.sleep(2.5)
            assert [(each.budgets_now()[0].spent, each.budgets_now()[0].ends) for each in (first, second)] == [
                (5, 300)
            ] * 2

    run_virtual(main(), clock)


@pytest.mark.parametrize("ends", ["alone", "together", "in the turn of the return"])
def test_a_call_that_waits_when_the_server_is_lost_is_spent_once(ends: str) -> None:
    clock = VirtualClock()
    budget = BudgetWindow(BudgetRule("b", BudgetUnit.USD, 900), 0, None, {})
    one_per_second = {"p": PoolSettings({Dimension.REQUESTS: LimitSettings(60, 1)})}

    async def main() -> int:
        async with replicas(clock, one_per_second, 1) as (server, (only,)):
            only.store.set_budgets((budget,))
            await asyncio.sleep(2)
            first = await only.admission.acquire(demand(100, 0))
            await first.end(Outcome.SETTLED, Cost(1), spent=Spending(100, 0))
            await asyncio.sleep(0)
            waiting = asyncio.create_task(only.admission.acquire(demand(100, 0)))
            await asyncio.sleep(0.1)
            server.is_down = True
            lease = await waiting
            assert only.store.status().is_degraded
            if ends == "together":
                server.is_down = False
                await asyncio.sleep(5)
            await lease.end(Outcome.SETTLED, Cost(1), spent=Spending(100, 0))
            only.store.spend(demand().spender, Spending(7, 0))
            server.is_down = False
            if ends == "in the turn of the return":
                only.store._come_back()
            await asyncio.sleep(5)
            return only.store.budgets_now()[0].spent

    assert run_virtual(main(), clock) == 207
