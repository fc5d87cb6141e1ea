"""Callers' own limits by example."""

import pytest

from tidegate.core.accounts.account_waits import AccountWaits, Exceeded
from tidegate.core.accounts.accounts import Account, Accounts
from tidegate.core.domain.budget import BudgetRule, BudgetUnit, BudgetWindow, Spending
from tidegate.core.domain.caller import Caller, CallerLimits
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import ONE_REQUEST, Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S

LIMITS = CallerLimits(requests_per_minute=60, input_tokens_per_minute=6_000, output_tokens_per_minute=600)
"""One request, 100 input tokens and 10 output tokens a second; the buckets hold 10 seconds of them."""


def account_of(limits: CallerLimits = LIMITS) -> Account:
    account = Accounts().get(Caller("a", limits=limits), 0)
    assert account is not None
    return account


def test_a_caller_without_limits_has_no_account() -> None:
    assert Accounts().get(Caller("a"), 0) is None


def test_an_account_is_the_callers_whatever_the_class_of_a_request() -> None:
    accounts = Accounts()
    assert accounts.get(Caller("a", limits=LIMITS), 0) is accounts.get(Caller("a", weight=2.0, limits=LIMITS), S)
    assert accounts.get(Caller("b", limits=LIMITS), 0) is not accounts.get(Caller("a", limits=LIMITS), 0)


@pytest.mark.parametrize(
    ("cost", "exceeded"),
    [
        (Cost(10, 1_000, 100), None),
        (Cost(1, 1_001, 0), Exceeded("input_tokens_per_minute", 2 * S)),
        (Cost(1, 0, 200), Exceeded("output_tokens_per_minute", 2 * S)),
    ],
)
def test_each_dimension_holds_back_until_it_has_refilled(cost: Cost, exceeded: Exceeded | None) -> None:
    account = account_of()
    account.charge(Cost(0, 200, 20), 0)
    assert account.exceeded(cost, 2 * S if exceeded is None else 0) == exceeded


def test_the_limit_that_lasts_longest_is_named() -> None:
    account = account_of()
    account.charge(Cost(10, 1_000, 100), 0)
    assert account.exceeded(Cost(1, 500, 20), 0) == Exceeded("input_tokens_per_minute", 5 * S)
    assert account.exceeded(Cost(1, 50, 70), 0) == Exceeded("output_tokens_per_minute", 7 * S)


def test_a_request_larger_than_a_bucket_goes_when_it_is_full_and_leaves_a_debt() -> None:
    account = account_of()
    assert account.exceeded(Cost(1, 3_000), 0) is None
    account.charge(Cost(1, 3_000), 0)
    assert account.exceeded(Cost(1, 100), 0) == Exceeded("input_tokens_per_minute", 21 * S)


def test_what_others_of_the_caller_will_use_first_is_waited_for_too() -> None:
    account = account_of()
    assert account.exceeded_by_all(Cost(5, 1_000, 100), 0) is None
    assert account.exceeded_by_all(Cost(15, 3_000, 150), 0) == Exceeded("input_tokens_per_minute", 20 * S)
    assert account_of(CallerLimits(max_concurrent=1)).exceeded_by_all(Cost(5, 5), 0) is None


def test_calls_at_a_time_are_bounded() -> None:
    account = account_of(CallerLimits(max_concurrent=2))
    for _ in range(2):
        assert account.exceeded(ONE_REQUEST, 0) is None
        account.call_began()
    assert account.exceeded(ONE_REQUEST, 0) == Exceeded("max_concurrent", None)
    account.call_ended()
    assert account.exceeded(ONE_REQUEST, 0) is None


def test_other_limits_keep_the_levels() -> None:
    accounts = Accounts()
    accounts.get(Caller("a", limits=LIMITS), 0).charge(Cost(10), 0)  # type: ignore[union-attr]
    faster = CallerLimits(requests_per_minute=120, max_concurrent=5)
    account = accounts.get(Caller("a", limits=faster), 0)
    assert account is not None
    assert account.exceeded(ONE_REQUEST, 0) == Exceeded("requests_per_minute", S // 2)
    assert account.exceeded(Cost(0, 10**6), 0) is None


class TestFreed:
    """Pools in which requests may go now."""

    def test_by_a_call_that_ends(self) -> None:
        accounts = Accounts()
        account = accounts.get(Caller("a", limits=CallerLimits(max_concurrent=1)), 0)
        assert account is not None
        account.call_began()
        waits = [AccountWaits(pool) for pool in "pq"]
        for each in waits:
            each.add(Exceeded("requests_per_minute", 5 * S), S)
            account.note_skipped(each)
        assert [each.until_ns for each in waits] == [6 * S, 6 * S]
        assert accounts.freed == {}
        account.call_ended()
        assert list(accounts.freed) == ["p", "q"]
        assert [each.until_ns for each in waits] == [0, 0], "they are to be looked at now"
        accounts.freed = {}
        account.call_began()
        account.call_ended()
        assert accounts.freed == {}, "nobody waits any more"

    def test_by_what_is_given_back_but_not_by_what_is_charged(self) -> None:
        accounts = Accounts()
        account = accounts.get(Caller("a", limits=LIMITS), 0)
        assert account is not None
        account.charge(Cost(10, 1_000, 100), 0)
        account.note_skipped(AccountWaits("p"))
        account.correct(Cost(0, 5), 0)
        assert accounts.freed == {}
        account.correct(Cost(0, -5), 0)
        assert list(accounts.freed) == ["p"]

    def test_by_what_is_charged_where_a_request_of_the_caller_is_the_next(self) -> None:
        accounts = Accounts()
        account = accounts.get(Caller("a", limits=LIMITS), 0)
        assert account is not None
        for cost in (Cost(1), Cost(0, 0, 1)):
            account.note_head("p")
            assert accounts.freed == {}
            account.correct(cost, 0)
            assert list(accounts.freed) == ["p"]
            accounts.freed = {}
        account.note_head("p")
        account.call_began()
        assert list(accounts.freed) == ["p"]
        accounts.freed = {}
        account.correct(Cost(1), 0)
        assert accounts.freed == {}, "it is no longer the next"

    def test_by_other_limits(self) -> None:
        accounts = Accounts()
        account = accounts.get(Caller("a", limits=LIMITS), 0)
        assert account is not None
        account.note_skipped(AccountWaits("p"))
        accounts.get(Caller("a", limits=LIMITS), 0)
        assert accounts.freed == {}
        accounts.get(Caller("a", limits=CallerLimits()), 0)
        assert list(accounts.freed) == ["p"]


def test_requests_that_wait_for_accounts_are_looked_at_when_the_first_may_go() -> None:
    waits = AccountWaits("p")
    waits.add(Exceeded("max_concurrent", None), S)
    assert waits.until_ns is None
    for wait_s in (5, 3, 7):
        waits.add(Exceeded("requests_per_minute", wait_s * S), S)
    assert waits.until_ns == 4 * S


class TestLimitsThatChangeWhileTheServiceRuns:
    def test_hold_for_waiting_requests_of_the_caller(self) -> None:
        accounts = Accounts()
        account = accounts.get(Caller("a", limits=CallerLimits(max_concurrent=1)), 0)
        assert account is not None
        account.call_began()
        waits = AccountWaits("p")
        account.note_skipped(waits)
        assert account.exceeded(ONE_REQUEST, 0) is not None
        accounts.configure({"a": CallerLimits(max_concurrent=2)}, 0)
        assert account.exceeded(ONE_REQUEST, 0) is None
        assert "p" in accounts.freed

    def test_may_be_none(self) -> None:
        accounts = Accounts()
        account = accounts.get(Caller("a", limits=CallerLimits(max_concurrent=1)), 0)
        assert account is not None
        account.call_began()
        accounts.configure({"a": None}, 0)
        assert account.exceeded(ONE_REQUEST, 0) is None
        assert accounts.get(Caller("a", limits=CallerLimits(max_concurrent=1)), 0) is None

    def test_go_before_those_of_a_request_that_came_earlier(self) -> None:
        accounts = Accounts()
        old = Caller("a", limits=CallerLimits(max_concurrent=1))
        account = accounts.get(old, 0)
        assert account is not None
        accounts.configure({"a": CallerLimits(max_concurrent=2), "b": None}, 0)
        account.call_began()
        assert accounts.get(old, 0) is account
        assert account.exceeded(ONE_REQUEST, 0) is None

    def test_leave_callers_alone_that_are_not_named(self) -> None:
        accounts = Accounts()
        account = accounts.get(Caller("gone", limits=CallerLimits(max_concurrent=1)), 0)
        assert account is not None
        account.call_began()
        accounts.configure({}, 0)
        assert account.exceeded(ONE_REQUEST, 0) == Exceeded("max_concurrent", None)


def test_a_restored_account_tells_its_accounts_which_pools_it_frees() -> None:
    original = Accounts()
    original.get(Caller("a", limits=LIMITS), 0)
    accounts = Accounts.restore(original.dump(0), 0)
    account = accounts.get(Caller("a", limits=LIMITS), 0)
    assert account is not None
    account.note_skipped(AccountWaits("p"))
    account.call_ended()
    assert list(accounts.freed) == ["p"]


def test_a_budget_that_is_freed_frees_the_pools_in_which_calls_wait_for_it() -> None:
    accounts, waits = Accounts(), AccountWaits("p")
    accounts.budgets.configure([BudgetWindow(BudgetRule("b", BudgetUnit.USD, 100))])
    first = Demand("p", Caller("a"), ONE_REQUEST, spending=Spending(80))
    accounts.budgets.reserve("l", first)
    blocking = accounts.budgets.blocking(first)
    assert blocking is not None
    blocking.note_skipped(waits)
    accounts.budgets.settle("l", first, Outcome.RELEASED, None)
    assert accounts.freed == {"p": None}
    assert waits.until_ns == 0
