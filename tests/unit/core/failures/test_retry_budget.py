"""The budget of retries."""

import pytest

from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.failures.retry_budget import RetryBudget

WINDOW = 300 * S


def retry(budget: RetryBudget, now_ns: int, times: int) -> None:
    for _ in range(times):
        budget.retried(now_ns)


def test_a_few_may_go_whatever_succeeds() -> None:
    budget = RetryBudget()
    assert (budget.left(0), budget.wait_ns(0)) == (10, 0)
    retry(budget, 0, 10)
    assert (budget.left(0), budget.wait_ns(0)) == (0, WINDOW)
    assert (budget.left(WINDOW), budget.wait_ns(WINDOW)) == (10, 0)


def test_ten_successes_pay_for_one_more() -> None:
    budget = RetryBudget()
    retry(budget, 0, 10)
    for _ in range(10):
        budget.succeeded(S)
    assert budget.left(S) == pytest.approx(1)
    assert budget.wait_ns(S) == 0


def test_successes_are_forgotten_from_the_first_moment_on() -> None:
    budget = RetryBudget()
    for now_ns in (0, 10 * S):
        for _ in range(100):
            budget.succeeded(now_ns)
    assert [budget.left(now_ns) for now_ns in (WINDOW - 1, WINDOW, WINDOW + 10 * S)] == [30, 20, 10]


def test_both_are_forgotten_after_five_minutes_by_slices_of_ten_seconds() -> None:
    budget = RetryBudget()
    retry(budget, 0, 12)
    retry(budget, 15 * S, 5)
    for _ in range(20):
        budget.succeeded(15 * S)
    assert budget.left(20 * S) == pytest.approx(-5)
    assert budget.wait_ns(20 * S) == WINDOW - 20 * S
    assert budget.left(WINDOW) == pytest.approx(7)
    assert budget.left(WINDOW + 10 * S) == 10


def test_the_wait_lasts_until_enough_slices_are_forgotten() -> None:
    budget = RetryBudget()
    retry(budget, 0, 3)
    retry(budget, 10 * S, 17)
    assert budget.left(20 * S) == -10
    assert budget.wait_ns(20 * S) == WINDOW - 10 * S, "the three of the first slice are not enough"


def test_successes_that_will_be_forgotten_pay_for_nothing() -> None:
    budget = RetryBudget()
    for _ in range(20):
        budget.succeeded(0)
    retry(budget, 10 * S, 12)
    assert budget.wait_ns(20 * S) == WINDOW - 10 * S


def test_it_is_bounded_however_much_is_counted() -> None:
    budget = RetryBudget()
    for tenth in range(10_000):
        budget.succeeded(tenth * S // 10)
    assert len(budget._slices) <= 31
    assert budget.left(1_000 * S) == pytest.approx(10 + 0.1 * 2_900)


def test_time_that_stands_still_or_goes_back_breaks_nothing() -> None:
    budget = RetryBudget()
    budget.succeeded(100 * S)
    budget.succeeded(50 * S)
    assert budget.left(50 * S) == pytest.approx(10.2)
