"""How budgets decide together with the quota and the queue of a pool."""

import pytest
from msgspec import structs

from tidegate.core.accounts.accounts import Accounts
from tidegate.core.domain.budget import NOTHING_SPENT, BudgetRule, BudgetUnit, BudgetWindow, OnExceed, Spending
from tidegate.core.domain.caller import Caller, CallerLimits, Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import GRANTED, Demand, Outcome, Refused, Wait
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.events import LeaseEnded
from tidegate.core.domain.feedback import Failed, Succeeded
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.pool.pool import Pool

ANN, BOB = (Caller(name, label=name) for name in ("ann", "bob"))
SETTINGS = PoolSettings({Dimension.REQUESTS: LimitSettings(60, 3)}, None)
RULE = BudgetRule("b", BudgetUnit.USD, 1_000)


@pytest.fixture
def accounts() -> Accounts:
    accounts = Accounts()
    accounts.budgets.configure([BudgetWindow(RULE, 0, None, {})])
    return accounts


@pytest.fixture
def pool(accounts: Accounts) -> Pool:
    pool = Pool("p", SETTINGS, 0, accounts)
    pool.learn(Succeeded(0), 0)  # it need not be probed
    return pool


def demand(micro_usd: int, caller: Caller = ANN) -> Demand:
    return Demand("p", caller, Cost(1), spending=Spending(micro_usd, 1))


def end(pool: Pool, lease_id: str, micro_usd: int | None, now_ns: int = 0) -> None:
    spent = None if micro_usd is None else Spending(micro_usd, 1)
    assert pool.end(lease_id, Outcome.SETTLED, Cost(1), now_ns, (), spent)


def test_a_demand_is_refused_at_once_if_no_end_of_other_calls_can_help(pool: Pool) -> None:
    assert not pool.try_admit("r-1", demand(1_001), 0)
    refused = pool.reserve("r-1", demand(1_001), 0)
    assert isinstance(refused, Refused)
    assert refused.cause is Cause.BUDGET
    assert not pool.holds("r-1")


def test_a_failed_request_that_returns_is_refused_as_well(pool: Pool) -> None:
    refused = pool.reserve("r-1", structs.replace(demand(1_001), retry=True), 0)
    assert isinstance(refused, Refused)


def test_an_outage_is_not_probed_by_a_caller_that_waits_for_its_budget(accounts: Accounts) -> None:
    accounts.budgets.configure([BudgetWindow(structs.replace(RULE, caller="ann"), 0, None, {})])
    pool = Pool("p", PoolSettings(), 0, accounts)
    assert pool.reserve("first", demand(700), 0) is GRANTED
    for _ in range(5):
        pool.learn(Failed(0), S)
    pool.reserve("over", structs.replace(demand(400), patience_ns=600 * S), S)
    pool.reserve("front", structs.replace(demand(400, BOB), patience_ns=4 * S), S)
    pool.reserve("second", structs.replace(demand(400, BOB), patience_ns=60 * S), S)
    assert pool.advance(3 * S) == ("second",)


def test_a_call_waits_for_the_reservations_of_others_while_another_caller_goes(pool: Pool, accounts: Accounts) -> None:
    assert pool.reserve("r-1", demand(700), 0) is GRANTED
    waits = pool.reserve("r-2", demand(400), 0)
    assert isinstance(waits, Wait)
    assert (waits.predicted_ns, waits.binding) == (0, "budget")
    assert pool.queue.left("r-2", 0).binding == "budget"  # type: ignore[union-attr]
    assert pool.snapshot(0).binding == "budget"
    assert pool.reserve("r-3", demand(200, BOB), 0) is GRANTED
    end(pool, "r-1", 100)
    assert list(accounts.freed) == ["p"]
    assert pool.snapshot(0).binding == "queue", "it will be granted"
    assert pool.advance(0) == ("r-2",)


def test_the_time_left_of_a_call_that_waits_for_reservations_is_that_of_the_quota(
    pool: Pool, accounts: Accounts
) -> None:
    unlimited = Pool("q", PoolSettings(), 0, accounts)
    assert pool.reserve("r-1", demand(700), 0) is GRANTED
    seconds = []
    for each in (pool, unlimited):
        each.reserve("r-2", demand(400), 0)
        left = each.queue.left("r-2", 0)
        assert left is not None
        assert left.binding == "budget"
        seconds.append(left.seconds)
    assert seconds == [0.0, None], "no limit of the second pool is known"


@pytest.mark.parametrize(
    ("outcome", "counted"), [(Outcome.RELEASED, NOTHING_SPENT), (Outcome.ABANDONED, Spending(400, 1))]
)
def test_the_end_of_a_lease_says_what_budgets_count_of_it(
    pool: Pool, accounts: Accounts, outcome: Outcome, counted: Spending
) -> None:
    assert pool.reserve("r-1", demand(400), 0) is GRANTED
    assert pool.end("r-1", outcome, None, 0)
    (ended,) = (event for event in pool.drain_events() if isinstance(event, LeaseEnded))
    assert ended.spending == counted
    (budget,) = accounts.budgets.snapshot()
    assert (budget.spent, budget.reserved) == (counted.micro_usd, 0)


def test_a_waiting_call_is_refused_when_others_have_spent_the_rest(pool: Pool) -> None:
    assert pool.reserve("r-1", demand(700), 0) is GRANTED
    assert isinstance(pool.reserve("r-2", demand(400), 0), Wait)
    end(pool, "r-1", 900)
    change = pool.advance_and_collect(0)
    assert change is not None
    assert [(lease_id, refused.cause) for lease_id, refused in change.refused] == [("r-2", Cause.BUDGET)]
    assert pool.queue.snapshot(0).waiting == 0


def test_a_call_that_waits_for_quota_is_refused_when_its_turn_comes(pool: Pool) -> None:
    for number in range(3):
        assert pool.reserve(f"r-{number}", demand(10), 0) is GRANTED
    assert isinstance(pool.reserve("r-3", demand(600), 0), Wait)
    end(pool, "r-0", 500)
    assert pool.advance(0) == ()
    change = pool.advance_and_collect(S)
    assert change is not None
    assert [lease_id for lease_id, _ in change.refused] == ["r-3"]


def test_patience_that_ends_while_a_budget_is_reserved_is_a_refusal_by_the_budget(pool: Pool) -> None:
    assert pool.reserve("r-1", demand(700), 0) is GRANTED
    assert isinstance(pool.reserve("r-2", demand(400), 0), Wait)
    refused = pool.withdraw("r-2", S)
    assert refused is not None
    assert (refused.cause, refused.limit) == (Cause.BUDGET, None)
    assert refused.budget is not None
    assert refused.budget.reserved == 700


def test_a_limit_of_the_callers_own_is_named_before_its_budget(pool: Pool) -> None:
    limited = Caller("eve", label="eve", limits=CallerLimits(max_concurrent=1))
    assert pool.reserve("r-1", demand(700, limited), 0) is GRANTED
    assert isinstance(pool.reserve("r-2", demand(400, limited), 0), Wait)
    refused = pool.withdraw("r-2", S)
    assert refused is not None
    assert refused.cause is Cause.CALLER_LIMIT


def test_beyond_a_budget_calls_may_wait_in_the_lowest_class(accounts: Accounts, pool: Pool) -> None:
    accounts.budgets.configure([BudgetWindow(structs.replace(RULE, on_exceed=OnExceed.BATCH))])
    for number in range(3):
        assert pool.reserve(f"r-{number}", demand(500), 0) is GRANTED
    assert isinstance(pool.reserve("r-3", demand(1), 0), Wait)
    assert pool.snapshot(0).classes[Priority.BATCH].waiting == 1


def test_while_a_response_comes_its_reservation_grows(accounts: Accounts, pool: Pool) -> None:
    assert pool.reserve("r-1", demand(100), 0) is GRANTED
    pool.charge("r-1", Cost(1), 0, Spending(300, 1))
    pool.charge("r-1", Cost(1), 0)
    assert accounts.budgets.snapshot()[0].reserved == 300
    end(pool, "r-1", None)
    assert accounts.budgets.snapshot()[0].spent == 300


def test_a_lease_that_another_pool_granted_is_reserved_here(accounts: Accounts, pool: Pool) -> None:
    pool.hold("r-1", demand(100), Cost(), 0)
    assert accounts.budgets.snapshot()[0].reserved == 100
    end(pool, "r-1", 60)
    assert (accounts.budgets.snapshot()[0].spent, accounts.budgets.snapshot()[0].reserved) == (60, 0)
