"""Class shares, wait calibrations and callers' accounts continue from their dumps."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import given
from msgspec import Struct

from support.dumps import assert_continues, round_trip
from tidegate.core.accounts.account_waits import Exceeded
from tidegate.core.accounts.accounts import Accounts, AccountsState
from tidegate.core.domain.caller import Caller, CallerLimits
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.forecast.wait_calibration import WaitCalibration
from tidegate.core.queue.class_shares import ClassShares

RANKS = st.sampled_from([0, 1, 2])
SIZES_NS = st.sampled_from([0, 1, S // 10, S, 7 * S])
SHIFTS_NS = st.integers(-(10**15), 10**15)
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, S]),
        st.tuples(st.sampled_from(["earn", "earn", "spend", "forget"]), RANKS, SIZES_NS, SIZES_NS),
    ),
    max_size=30,
)


def share(shares: ClassShares, step: tuple[str, int, int, int], _now_ns: int) -> object:
    name, rank, size_ns, waited_ns = step
    if name == "earn":
        shares.earn(rank, size_ns, waited_ns)
    elif name == "spend":
        shares.spend(rank, size_ns)
    else:
        shares.forget(rank)
    return [(shares.is_owed(each, S), shares.earned_ns(each, S, S)) for each in range(3)]


@given(STEPS, STEPS, SHIFTS_NS)
def test_class_shares(history: list[Any], continuation: list[Any], shift_ns: int) -> None:
    assert_continues(ClassShares(), share, ClassShares.restore, history, continuation, shift_ns)


def test_what_a_class_has_earned_is_bounded_in_a_dump() -> None:
    shares = ClassShares()
    shares.earn(2, 10**30, 0)
    assert round_trip(shares.dump(0)).earned == (0, 0, 2**63 - 1)


WAITS = st.lists(st.tuples(st.sampled_from([0, S, 60 * S]), st.tuples(SIZES_NS, SIZES_NS)), max_size=30)


def calibrate(calibration: WaitCalibration, step: tuple[int, int], now_ns: int) -> object:
    calibration.observe(*step, now_ns)
    return calibration.corrected_ns(7 * S), calibration.is_tested


@given(WAITS, WAITS, SHIFTS_NS, st.sampled_from([1.4, 5.0]))
def test_a_wait_calibration(history: list[Any], continuation: list[Any], shift_ns: int, most: float) -> None:
    def restore(state: Any, now_ns: int) -> WaitCalibration:
        return WaitCalibration.restore(state, now_ns, most)

    assert_continues(WaitCalibration(most), calibrate, restore, history, continuation, shift_ns)


LIMITS = st.sampled_from([None, CallerLimits(60, 6_000), CallerLimits(requests_per_minute=600, max_concurrent=2)])
CALLS = st.lists(
    st.tuples(
        st.sampled_from([0, S // 3, 9 * S]),
        st.tuples(st.sampled_from("ab"), LIMITS, st.integers(-3, 5), st.integers(-500, 3_000)),
    ),
    max_size=30,
)


class DumpedAccounts(Struct, frozen=True, array_like=True):
    accounts: AccountsState


class CallsOfAccounts:
    """Calls end in the step in which they begin."""

    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts

    def dump(self, now_ns: int) -> DumpedAccounts:
        return DumpedAccounts(self.accounts.dump(now_ns))

    def step(self, step: tuple[str, CallerLimits | None, int, int], now_ns: int) -> object:
        name, limits, requests, input_tokens = step
        account = self.accounts.get(Caller(name, limits=limits), now_ns)
        if account is None:
            return None
        account.call_began()
        account.correct(Cost(requests, input_tokens), now_ns)
        account.call_ended()
        return account.exceeded(Cost(1, 100, 5), now_ns), account.exceeded_by_all(Cost(9, 5_000, 5), now_ns)


@given(CALLS, CALLS, SHIFTS_NS)
def test_accounts(history: list[Any], continuation: list[Any], shift_ns: int) -> None:
    def restore(state: DumpedAccounts, now_ns: int) -> CallsOfAccounts:
        return CallsOfAccounts(Accounts.restore(state.accounts, now_ns))

    assert_continues(CallsOfAccounts(Accounts()), CallsOfAccounts.step, restore, history, continuation, shift_ns)


def test_calls_in_flight_are_not_part_of_a_dumped_account_but_their_charges_are() -> None:
    accounts, caller = Accounts(), Caller("a", limits=CallerLimits(60, max_concurrent=1))
    account = accounts.get(caller, 0)
    assert account is not None
    account.charge(Cost(10), 0)
    account.call_began()
    restored = Accounts.restore(accounts.dump(0), 0).get(caller, 0)
    assert restored is not None
    assert restored.in_flight == 0
    assert restored.exceeded(Cost(1), 0) == Exceeded("requests_per_minute", S)
