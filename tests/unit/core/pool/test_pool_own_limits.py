"""Callers' own limits in a pool: such a caller waits, is passed over, and holds up nobody."""

import pytest
from msgspec import structs

from tidegate.core.accounts.accounts import Account, Accounts
from tidegate.core.domain.caller import Caller, CallerLimits, Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import GRANTED, Demand, Outcome, Refused, Wait
from tidegate.core.domain.dimension import ONE_REQUEST, Cost, Dimension
from tidegate.core.domain.feedback import Failed, RateLimited
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.core.pool.pool import Pool

SLOW = Caller("slow", priority=Priority.INTERACTIVE, limits=CallerLimits(requests_per_minute=6))
ONE_AT_A_TIME = Caller("one", limits=CallerLimits(max_concurrent=1))
ONE = Demand("p", SLOW, ONE_REQUEST)
OTHER = Demand("p", Caller("other"), ONE_REQUEST)
SINGLE = Demand("p", ONE_AT_A_TIME, ONE_REQUEST)


def pool(per_minute: float = 600, accounts: Accounts | None = None) -> Pool:
    limits = {Dimension.REQUESTS: LimitSettings(per_minute, 10)}
    return Pool("p", PoolSettings(limits, AdaptiveSettings()), 0, accounts)


def test_a_caller_over_its_own_rate_waits_for_that() -> None:
    state = pool()
    assert state.reserve("a", ONE, 0) == GRANTED
    wait = state.reserve("b", ONE, 0)
    assert isinstance(wait, Wait)
    assert (wait.predicted_ns, wait.binding) == (10 * S, "caller_limit")
    assert [state.next_in_ns(now_ns) for now_ns in (0, 4 * S)] == [10 * S, 6 * S]
    assert state.advance(9 * S) == ()
    assert state.advance(10 * S) == ("b",)


def test_a_waiter_for_its_own_limit_delays_no_other_caller() -> None:
    state = pool()
    for name in "abc":
        state.reserve(name, ONE, 0)
    assert state.reserve("other", OTHER, 0) == GRANTED
    assert not state.try_admit("d", ONE, 10 * S), "its own elder waits"
    assert state.advance(10 * S) == ("b",)


def test_a_head_that_was_held_is_passed_over_once_its_callers_limit_is_reached() -> None:
    accounts = Accounts()
    state, elsewhere = pool(60, accounts), Pool("q", PoolSettings(), 0, accounts)
    state.reserve("all", structs.replace(OTHER, cost=Cost(10)), 0)
    state.reserve("single", SINGLE, 0)
    state.reserve("other", OTHER, 0)
    assert state.advance(S // 2) == ()
    assert elsewhere.reserve("elsewhere", structs.replace(SINGLE, pool="q"), S // 2) == GRANTED
    assert state.advance(S) == ("other",)
    assert state.next_in_ns(S) is None, "its own call has to end before"
    elsewhere.end("elsewhere", Outcome.SETTLED, None, 2 * S)
    assert list(accounts.freed) == ["p"]
    assert state.advance(2 * S) == ("single",)


def test_others_may_go_at_once_when_the_next_uses_up_its_limit_elsewhere() -> None:
    accounts = Accounts()
    state, elsewhere = pool(60, accounts), Pool("q", PoolSettings(), 0, accounts)
    state.reserve("all", structs.replace(OTHER, cost=Cost(5)), 0)
    state.reserve("single", structs.replace(SINGLE, cost=Cost(8)), 0)
    state.reserve("other", OTHER, 0)
    assert state.advance(0) == ()
    assert state.next_in_ns(0) == 3 * S
    assert elsewhere.reserve("elsewhere", structs.replace(SINGLE, pool="q"), 0) == GRANTED
    assert list(accounts.freed) == ["p"]
    assert state.advance(0) == ("other",)
    assert accounts.freed == {}


def test_a_caller_within_its_limit_goes_at_once_though_others_wait_for_theirs() -> None:
    state = pool()
    for name in "ab":
        state.reserve(name, ONE, 0)
    assert state.reserve("single", SINGLE, 0) == GRANTED
    assert not state.try_admit("second", SINGLE, 0), "it is over its limit itself"


def test_it_is_refused_only_where_its_limit_outlasts_its_patience() -> None:
    state = pool()
    for name in "ab":
        state.reserve(name, ONE, 0)
    late = structs.replace(ONE, patience_ns=15 * S)
    assert state.reserve("c", late, 0) == Refused(Cause.CALLER_LIMIT, 5 * S, limit="requests_per_minute")
    assert isinstance(state.reserve("d", structs.replace(late, patience_ns=20 * S), 0), Wait)


def test_a_caller_within_its_rate_waits_for_the_pool() -> None:
    state = pool(60)
    state.reserve("all", structs.replace(OTHER, cost=Cost(10)), 0)
    wait = state.reserve("a", ONE, 0)
    assert isinstance(wait, Wait)
    assert (wait.predicted_ns, wait.binding) == (S, "requests")


def test_limits_that_are_configured_count_also_for_a_request_that_brings_none() -> None:
    accounts = Accounts()
    state, unlimited = pool(accounts=accounts), structs.replace(ONE, caller=Caller("slow"))
    accounts.configure({"slow": CallerLimits(max_concurrent=1)}, 0)
    assert state.reserve("a", unlimited, 0) == GRANTED
    wait = state.reserve("b", unlimited, 0)
    assert isinstance(wait, Wait)
    assert wait.binding == "caller_limit"


def test_there_is_nothing_to_wait_for_once_all_who_were_passed_over_have_left() -> None:
    state = pool()
    for name in "ab":
        state.reserve(name, ONE, 0)
    assert state.next_in_ns(0) == 10 * S
    state.withdraw("b", 0)
    assert state.next_in_ns(0) is None


def test_it_is_not_refused_for_its_own_limit_where_the_pool_outlasts_its_patience() -> None:
    state = pool()
    assert state.reserve("a", ONE, 0) == GRANTED
    state.learn(RateLimited(20 * S), 0)
    late = structs.replace(ONE, patience_ns=10 * S)
    assert state.reserve("b", late, 0) == Refused(Cause.DEADLINE, 10 * S)


@pytest.mark.parametrize("settle_at_once", [False, True])
def test_what_is_admitted_at_once_counts_for_its_caller(*, settle_at_once: bool) -> None:
    state = pool()
    assert state.try_admit("a", structs.replace(ONE, settle_at_once=settle_at_once), 0)
    assert state.reserve("b", ONE, 4 * S) == Wait(6 * S, "caller_limit")
    assert state.withdraw("b", 5 * S) == Refused(Cause.CALLER_LIMIT, 5 * S, limit="requests_per_minute")


def test_a_waiter_that_gave_up_is_told_the_limit() -> None:
    state = pool()
    for name in ("single", "waits"):
        state.reserve(name, SINGLE, 0)
    assert state.withdraw("waits", 9 * S) == Refused(Cause.CALLER_LIMIT, None, limit="max_concurrent")
    assert state.reserve("other", OTHER, 9 * S) == GRANTED


def test_what_came_back_is_passed_over_too() -> None:
    state = pool()
    state.reserve("single", SINGLE, 0)
    state.reserve("retry", structs.replace(SINGLE, retry=True), 0)
    state.reserve("front", structs.replace(SINGLE, front=True), 0)
    assert state.reserve("other", OTHER, 0) == GRANTED
    assert state.advance(0) == ()
    for ends, goes in (("single", "front"), ("front", "retry")):
        state.end(ends, Outcome.SETTLED, None, S)
        assert state.advance(S) == (goes,)


def test_requests_that_wait_keep_the_limits_under_which_they_came() -> None:
    state = pool()
    for name in "ab":
        state.reserve(name, ONE, 0)
    faster = structs.replace(ONE, caller=Caller("slow", priority=Priority.BATCH, limits=CallerLimits(60)))
    assert isinstance(state.reserve("c", faster, 0), Wait)
    assert state.advance(0) == ()
    assert state.next_in_ns(0) == S, "there is one account, and its rate is the newest"
    assert state.advance(S) == ("b",)
    assert state.advance(2 * S) == ("c",)


def test_a_look_at_the_queue_does_not_look_at_each_caller_over_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    state = pool()
    for number in range(100):
        caller = Caller(f"caller-{number}", limits=CallerLimits(max_concurrent=1))
        for turn in range(2):
            state.reserve(f"{number}-{turn}", structs.replace(SINGLE, caller=caller), number * S)
    now_ns = 100 * S
    state.advance(now_ns)
    assert len(state._queue.skipped) == 100
    looks: list[Cost] = []
    monkeypatch.setattr(Account, "exceeded", lambda _self, cost, _now_ns: looks.append(cost))
    assert state.reserve("other", OTHER, now_ns) == GRANTED
    assert looks == []


def test_a_caller_whose_first_waiter_left_is_looked_at_again() -> None:
    state = pool()
    for name in "abc":
        state.reserve(name, ONE, 0)
    state.withdraw("b", 0)
    assert state.next_in_ns(0) == 10 * S
    assert state.advance(10 * S) == ("c",)


def test_what_a_call_has_used_is_settled_in_the_account() -> None:
    caller = Caller("a", limits=CallerLimits(input_tokens_per_minute=600))
    state = pool()
    demand = Demand("p", caller, Cost(1, 100))
    state.reserve("a", demand, 0)
    assert isinstance(state.reserve("b", demand, 0), Wait)
    state.end("a", Outcome.SETTLED, Cost(1, 20), 2 * S)
    assert state.advance(2 * S) == ("b",), "20 of 100 were used, and have come back"


@pytest.mark.parametrize("over", [SINGLE, ONE], ids=["concurrency", "rate"])
def test_an_outage_is_not_probed_by_a_caller_over_its_own_limit(over: Demand) -> None:
    state = Pool("p", PoolSettings(), 0)
    state.reserve("first", over, 0)
    for _ in range(5):
        state.learn(Failed(0), S)
    state.reserve("over", structs.replace(over, patience_ns=600 * S), S)
    state.reserve("front", structs.replace(OTHER, patience_ns=4 * S), S)
    state.reserve("second", structs.replace(OTHER, patience_ns=60 * S), S)
    assert state.advance(3 * S) == ("second",)


def test_a_probe_of_an_outage_counts_for_its_caller() -> None:
    state = Pool("p", PoolSettings(), 0)
    for _ in range(5):
        state.learn(Failed(0), S)
    state.reserve("front", structs.replace(OTHER, patience_ns=4 * S), S)
    state.reserve("single", structs.replace(SINGLE, patience_ns=60 * S), S)
    assert state.advance(3 * S) == ("single",)
    again = state.reserve("again", SINGLE, 3 * S)
    assert isinstance(again, Wait)
    assert again.binding == "caller_limit"


def test_a_lease_that_was_charged_elsewhere_takes_nothing_from_its_callers_rate() -> None:
    state = pool()
    state.hold("a", ONE, Cost(), 0)
    assert state.reserve("b", ONE, S) == GRANTED
    assert isinstance(state.reserve("c", ONE, S), Wait)


def test_a_moment_of_waiting_for_ones_own_limit_is_not_prolonged_to_admit_others_together() -> None:
    state, caller = pool(), Caller("fast", limits=CallerLimits(input_tokens_per_minute=60_000))
    state.reserve("all", Demand("p", caller, Cost(1, 10_000)), 0)
    for name in "ab":
        state.reserve(name, Demand("p", caller, Cost(1, 2)), 0)
    assert state.next_in_ns(0) == S // 500
