"""Quota, limits and use receive each charge once, and corrections up and down."""

import pytest

from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.leases.open_leases import OpenLease
from tidegate.core.limits.dimension_limit import DimensionLimit
from tidegate.core.limits.fixed_window import FixedWindowVotes
from tidegate.core.limits.recent_use import RecentUse
from tidegate.core.pool.lease_charging import LeaseCharging
from tidegate.core.quota.quota import Quota

ESTIMATE = Cost(1, 900, 300)


class HeardLimit(DimensionLimit):
    """Records its calls."""

    def __init__(self, dimension: Dimension) -> None:
        super().__init__(dimension, FixedWindowVotes())
        self.prices: list[tuple[int, int]] = []
        self.corrections: list[int] = []

    def observe_price(self, estimate: int, truth: int) -> None:
        self.prices.append((estimate, truth))

    def correct(self, units: int, now_ns: int) -> None:
        assert now_ns > S
        self.corrections.append(units)


class HeardQuota(Quota):
    """Records its calls with their times, and the part of the charges that is still an estimate."""

    def __init__(self) -> None:
        super().__init__("p", PoolSettings(), 0)
        self.used: list[tuple[Cost, int]] = []
        self.open_tokens = list(ESTIMATE[1:])

    def correct_use(self, requests: int, input_tokens: int, output_tokens: int, at_ns: int) -> None:
        self.used.append((Cost(requests, input_tokens, output_tokens), at_ns))

    def close_estimates(self, input_tokens: int, output_tokens: int) -> None:
        self.open_tokens[0] -= input_tokens
        self.open_tokens[1] -= output_tokens


class Books:
    """One lease that was granted at 1 s, and everything that it charges."""

    def __init__(self) -> None:
        self.quota = HeardQuota()
        self.use = RecentUse(lambda _now_ns: (60, 60, 60), 0)
        self.use.add(1, 900, 0, S)
        self.ledger = LeaseCharging(self.quota, self.use)
        self.limits = [HeardLimit(dimension) for dimension in Dimension]
        self.lease = OpenLease(Demand("p", DEFAULT_CALLER, ESTIMATE), tuple(enumerate(self.limits)), S)

    def prices(self) -> list[list[tuple[int, int]]]:
        return [limit.prices for limit in self.limits]

    def corrections(self) -> list[list[int]]:
        return [limit.corrections for limit in self.limits]

    def used_units(self) -> list[float]:
        return [(minute or 0.0) * 60 for minute, _ in self.use.shares(60 * S)]


@pytest.fixture
def books() -> Books:
    return Books()


def test_what_is_known_of_an_answer_is_told_as_it_comes(books: Books) -> None:
    books.ledger.charge(books.lease, Cost(1, 1_000, 40), 2 * S)
    assert books.prices() == [[], [(900, 1_000)], []]
    assert books.corrections() == [[], [100], []], "output is charged as estimated until more has come"
    assert books.quota.used == [(Cost(0, 100, 40), 2 * S)]
    assert books.quota.open_tokens == [0, 260]

    books.ledger.charge(books.lease, Cost(1, 0, 350), 3 * S)
    assert books.prices() == [[], [(900, 1_000)], []], "the true input was reported before"
    assert books.corrections() == [[], [100], [50]]
    assert books.quota.used[1:] == [(Cost(0, 0, 310), 3 * S)]
    assert books.quota.open_tokens == [0, 0]

    used = books.ledger.close(books.lease, Outcome.SETTLED, Cost(1, 1_000, 360), 4 * S)
    assert used == Cost(1, 1_000, 360)
    assert books.prices() == [[], [(900, 1_000)], [(300, 360)]]
    assert books.corrections() == [[], [100], [50, 10]]
    assert books.quota.used[2:] == [(Cost(0, 0, 10), 4 * S)]
    assert books.used_units() == pytest.approx([1, 1_000, 360])


def test_output_that_comes_before_the_input_is_known_leaves_that_an_estimate(books: Books) -> None:
    books.ledger.charge(books.lease, Cost(1, 0, 40), 2 * S)
    assert books.prices() == [[], [], []]
    assert books.corrections() == [[], [], []]
    assert books.quota.open_tokens == [900, 260]


def test_an_answer_that_is_settled_at_once_tells_both_truths(books: Books) -> None:
    books.ledger.close(books.lease, Outcome.SETTLED, Cost(1, 700, 100), 2 * S)
    assert books.prices() == [[], [(900, 700)], [(300, 100)]]
    assert books.corrections() == [[], [-200], [-200]]
    assert books.quota.used == [(Cost(0, -200, 100), 2 * S)]
    assert books.quota.open_tokens == [0, 0]


def test_what_broke_off_says_nothing_about_prices(books: Books) -> None:
    assert books.ledger.close(books.lease, Outcome.ABANDONED, Cost(1, 700, 20), 2 * S) == Cost(1, 700, 20)
    assert books.prices() == [[], [], []]
    assert books.quota.used == [(Cost(0, -200, 20), 2 * S)]


@pytest.mark.parametrize("outcome", [Outcome.RELEASED, Outcome.THROTTLED])
def test_what_came_to_nothing_was_never_used(books: Books, outcome: Outcome) -> None:
    assert books.ledger.close(books.lease, outcome, None, 5 * S) == Cost()
    assert books.corrections() == [[-1], [-900], [-300]]
    assert books.quota.used == [(Cost(-1, -900, 0), S)], "at the moment when it was taken"
    assert books.used_units() == [0, 0, 0]
