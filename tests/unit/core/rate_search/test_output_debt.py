"""Output that comes after a 429 is paid off before the next request."""

import pytest

from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.rate_search.output_debt import OutputDebt


def test_nothing_is_owed_at_first() -> None:
    assert OutputDebt(0).wait_ns(10.0, 0) == 0


def test_it_is_paid_off_at_the_rate_until_one_token_is_there() -> None:
    debt = OutputDebt(0)
    debt.owe(99.0, 0)
    assert debt.wait_ns(10.0, 0) == 10 * S
    assert debt.wait_ns(10.0, 4 * S) == 6 * S
    assert debt.wait_ns(20.0, 4 * S) == 3 * S
    assert debt.wait_ns(10.0, 7 * S) == 3 * S
    assert debt.wait_ns(10.0, 10 * S) == 0


def test_what_is_paid_off_long_ago_is_no_credit() -> None:
    debt = OutputDebt(0)
    debt.owe(9.0, 0)
    assert debt.wait_ns(10.0, 100 * S) == 0


def test_not_before_the_moment_from_which_it_is() -> None:
    debt = OutputDebt(0)
    debt.owe(99.0, 5 * S)
    assert debt.wait_ns(10.0, 2 * S) == debt.wait_ns(10.0, 5 * S) == 10 * S


@pytest.mark.parametrize("later_s", [0, 1_000])
def test_once_paid_off_nothing_is_owed_though_the_clock_goes_back(later_s: int) -> None:
    debt = OutputDebt(0)
    debt.owe(9.0, 0)
    assert debt.wait_ns(10.0, S) == 0
    assert debt.wait_ns(10.0, later_s * S) == 0


def test_a_minute_at_most_is_believed() -> None:
    debt = OutputDebt(0)
    debt.owe(1e9, 0)
    assert debt.wait_ns(10.0, 0) == 60 * S
