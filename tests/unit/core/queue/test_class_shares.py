"""A class earns credit while it waits, and spends it when it is served."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.domain.caller import Priority
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.queue.class_shares import AGED_NS, GUARANTEED, ClassShares

STANDARD, BATCH = 1, 2


def test_each_class_has_a_share_and_at_full_age_the_highest_keeps_its_own() -> None:
    assert len(GUARANTEED) == len(Priority)
    assert all(share > 0 for share in GUARANTEED)
    assert 1 - 2 * sum(GUARANTEED[1:]) >= GUARANTEED[0]


@pytest.mark.parametrize(
    ("waited_ns", "requests"),
    [(-S, 20), (0, 20), (AGED_NS // 2, 14), (AGED_NS, 10), (100 * AGED_NS, 10)],
    ids=["clock went back", "new", "half aged", "aged", "old"],
)
def test_a_class_is_owed_a_request_once_it_has_earned_its_size(waited_ns: int, requests: int) -> None:
    shares = ClassShares()
    for _ in range(requests - 1):
        shares.earn(BATCH, S, waited_ns)
        assert not shares.is_owed(BATCH, S)
    shares.earn(BATCH, S, waited_ns)
    assert shares.is_owed(BATCH, S - 1)
    assert not shares.is_owed(BATCH, 2 * S)
    assert not shares.is_owed(STANDARD, S - 1)


@given(st.lists(st.integers(1, 10**17), min_size=1, max_size=50))
def test_a_share_is_exact_to_the_nanosecond_also_over_years(sizes: list[int]) -> None:
    shares = ClassShares()
    for service_time_ns in sizes:
        shares.earn(BATCH, service_time_ns, 0)
    assert shares.is_owed(BATCH, sum(sizes) // 20)
    assert not shares.is_owed(BATCH, sum(sizes) // 20 + 1)


def test_going_spends_what_was_earned() -> None:
    shares = ClassShares()
    for _ in range(41):
        shares.earn(BATCH, S, 0)
    shares.spend(BATCH, S)
    assert shares.is_owed(BATCH, S)
    shares.spend(BATCH, S)
    assert not shares.is_owed(BATCH, S)


def test_going_in_turn_leaves_no_debt() -> None:
    shares = ClassShares()
    shares.spend(BATCH, 1_000 * S)
    for _ in range(21):
        shares.earn(BATCH, S, 0)
    assert shares.is_owed(BATCH, S)


def test_a_class_without_waiters_keeps_no_credit() -> None:
    shares = ClassShares()
    for _ in range(100):
        shares.earn(BATCH, S, 0)
    shares.forget(BATCH)
    assert not shares.is_owed(BATCH, 1)


@pytest.mark.parametrize(
    ("admitted_s", "age_s", "earned_s"),
    [
        (10, 30, 10 * 1.5 + 10**2 / 120),
        (20, 40, 20 * (1 + 40 / 60) + 20**2 / 120),
        (40, 40, 20 * (1 + 40 / 60) + 20**2 / 120 + 20 * 2),
        (10, 90, 10 * 2),
    ],
    ids=["ages meanwhile", "becomes of full age", "is of full age halfway", "is of full age"],
)
def test_what_a_class_will_earn_grows_with_the_age_of_its_next_request(
    admitted_s: int, age_s: int, earned_s: float
) -> None:
    shares = ClassShares()
    shares.earn(BATCH, 20 * S, 0)  # a twentieth: one second
    expected_ns = (1 + 0.05 * earned_s) * S
    assert shares.earned_ns(BATCH, admitted_s * S, age_s * S) == pytest.approx(expected_ns)
    assert shares.earned_after_ns(BATCH, round(expected_ns), age_s * S) == pytest.approx(admitted_s * S)


def test_a_class_that_has_earned_enough_waits_for_no_further_work() -> None:
    shares = ClassShares()
    shares.earn(BATCH, 20 * S, 0)
    assert shares.earned_after_ns(BATCH, S, 30 * S) == 0
    assert shares.earned_after_ns(BATCH, S // 2, 60 * S) == 0
