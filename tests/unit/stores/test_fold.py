"""The fold of steps that replicas send: order, repetition, gaps, answers, and replicas that leave."""

import pytest
from msgspec import structs

from support.virtual_time import VirtualClock
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.budget import BudgetRule, BudgetUnit, BudgetWindow, Spending
from tidegate.core.domain.caller import Caller, CallerLimits
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import GRANTED, Demand, Outcome, Refused, Wait
from tidegate.core.domain.dimension import ONE_REQUEST, Cost, Dimension
from tidegate.core.domain.events import Anomaly
from tidegate.core.domain.feedback import RateLimited, Succeeded
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.core.ports.store import Change
from tidegate.stores.fold import Fold
from tidegate.stores.memory import MemoryStore
from tidegate.stores.pools import Pools
from tidegate.stores.runtime_settings import SetAtRuntime
from tidegate.stores.steps import (
    Advance,
    Answer,
    Batch,
    Charge,
    Configure,
    End,
    Folded,
    Held,
    Learn,
    Leave,
    LimitCallers,
    Rejoin,
    Release,
    Reload,
    Reprice,
    Reserve,
    Withdraw,
)

ONE = Demand("p", Caller("ann"), ONE_REQUEST)
ONE_PER_SECOND = PoolSettings({Dimension.REQUESTS: LimitSettings(60, 1)}, AdaptiveSettings())
TEN_PER_SECOND = PoolSettings({Dimension.REQUESTS: LimitSettings(600, 1)}, AdaptiveSettings())


@pytest.fixture
def pools() -> Pools:
    return Pools({"p": ONE_PER_SECOND})


@pytest.fixture
def fold(pools: Pools) -> Fold:
    return Fold(pools)


@pytest.mark.parametrize("is_known", [True, False])
def test_the_end_of_a_lease_with_its_spender_is_spent_once_whether_the_lease_is_known_or_not(
    fold: Fold, pools: Pools, *, is_known: bool
) -> None:
    pools.set_budgets((BudgetWindow(BudgetRule("b", BudgetUnit.USD, 900), spent={}),), 0)
    demand = structs.replace(ONE, spending=Spending(60, 6))
    end = End("p", "a-1", Outcome.SETTLED, spent=Spending(7, 7), spender=demand.spender)
    fold.fold(Batch("a", 1, (Reserve("a-1" if is_known else "a-0", demand), end)), 0)
    (left,) = pools.budgets.snapshot()
    assert (left.spent, left.reserved) == (7, 0 if is_known else 60)


def test_a_reservation_is_answered_and_a_waiter_is_granted_later(fold: Fold) -> None:
    first = fold.fold(Batch("a", 1, (Reserve("a-1", ONE), Reserve("a-2", ONE))), 0)
    assert first == Folded(2, (Answer(1, GRANTED), Answer(2, Wait(S))), (Change("p", next_in_ns=S),))
    second = fold.fold(Batch("a", 3, (End("p", "a-1", Outcome.SETTLED), Advance("p"))), S)
    assert second.answers == (Answer(3, result=True),)
    assert [change.granted for change in second.changes] == [("a-2",)]


def test_a_step_that_comes_again_changes_nothing(fold: Fold, pools: Pools) -> None:
    batch = Batch("a", 1, (Reserve("a-1", ONE), Reserve("a-2", ONE)))
    fold.fold(batch, 0)
    before = pools.snapshot(None, 0)
    again = fold.fold(batch, 0)
    assert again == Folded(2, (Answer(1, GRANTED), Answer(2, Wait(S))))
    assert pools.snapshot(None, 0) == before


def test_the_new_steps_of_a_repeated_batch_are_applied(fold: Fold, pools: Pools) -> None:
    fold.fold(Batch("a", 1, (Reserve("a-1", ONE),)), 0)
    folded = fold.fold(Batch("a", 1, (Reserve("a-1", ONE), Reserve("a-2", ONE))), 0)
    assert folded.number == 2
    assert [pool.waiting for pool in pools.snapshot(None, 0)] == [1]


def test_repeated_steps_are_answered_by_what_is_true_now(fold: Fold) -> None:
    steps = (Reserve("a-1", ONE), Reserve("a-2", ONE), Withdraw("p", "a-2"), End("p", "a-1", Outcome.RELEASED))
    fold.fold(Batch("a", 1, steps), 0)
    gone = Refused(Cause.STORE_UNAVAILABLE)
    results = [answer.result for answer in fold.fold(Batch("a", 1, steps), 0).answers]
    assert results == [gone, gone, gone, False]


def test_a_repeated_withdrawal_of_what_was_granted_says_so(fold: Fold) -> None:
    steps = (Reserve("a-1", ONE), Withdraw("p", "a-1"))
    assert fold.fold(Batch("a", 1, steps), 0).answers[1] == Answer(2, None)
    assert fold.fold(Batch("a", 2, steps[1:]), 0).answers == (Answer(2, None),)


def test_steps_after_a_gap_wait_for_those_before(fold: Fold, pools: Pools) -> None:
    assert fold.fold(Batch("a", 2, (Reserve("a-2", ONE),)), 0) == Folded(0)
    fold.fold(Batch("a", 1, (Reserve("a-1", ONE),)), 0)
    assert fold.fold(Batch("a", 3, (Reserve("a-3", ONE),)), 0) == Folded(1)
    assert [pool.waiting + pool.in_flight for pool in pools.snapshot(None, 0)] == [1]


def test_replicas_are_numbered_on_their_own_and_share_the_pools(fold: Fold) -> None:
    fold.fold(Batch("a", 1, (Reserve("a-1", ONE),)), 0)
    assert fold.fold(Batch("b", 1, (Reserve("b-1", ONE),)), 0).answers == (Answer(1, Wait(S)),)
    folded = fold.fold(Batch("a", 2, (Release("p", "a-1"),)), 0)
    assert [change.granted for change in folded.changes] == [("b-1",)]


def test_a_replica_that_leaves_takes_its_waiters_and_leases_along(fold: Fold, pools: Pools) -> None:
    fold.fold(Batch("a", 1, (Reserve("a-1", ONE), Reserve("a-2", ONE))), 0)
    fold.fold(Batch("b", 1, (Reserve("b-1", ONE),)), 0)
    folded = fold.fold(Batch("b", 2, (Leave("a"),)), 0)
    assert [change.refused for change in folded.changes] == [(("a-2", Refused(Cause.STORE_UNAVAILABLE)),)]
    (snapshot,) = pools.snapshot(None, 0)
    assert (snapshot.in_flight, snapshot.waiting, snapshot.dimensions[0].available) == (0, 1, 0)


def test_every_other_step_reaches_its_pool(fold: Fold, pools: Pools) -> None:
    limits = CallerLimits(requests_per_minute=1)
    fold.fold(
        Batch(
            "a",
            1,
            (
                Reserve("a-1", structs.replace(ONE, pool="q")),
                Charge("q", "a-1", Cost(1, 100)),
                Learn("q", Succeeded(0, "a-1")),
                Configure("q", TEN_PER_SECOND, SetAtRuntime("admin", 5.0)),
                Reload({"p": TEN_PER_SECOND}, PoolSettings()),
                LimitCallers({"ann": limits}),
            ),
        ),
        0,
    )
    (q,) = pools.snapshot("q", 0)
    assert (q.unanswered, q.succeeded, q.dimensions[0].configured_per_minute) == (0, 1, 600)
    assert pools.settings.of("p") == TEN_PER_SECOND
    assert pools.settings.origins("q") == {Dimension.REQUESTS: SetAtRuntime("admin", 5.0)}
    limited = Caller("ann", limits=CallerLimits(max_concurrent=9))
    demand = structs.replace(ONE, caller=limited, patience_ns=0)
    fold.fold(Batch("b", 1, (Reserve("b-1", demand),)), 0)
    refused = fold.fold(Batch("b", 2, (Reserve("b-2", demand),)), S).answers[0].result
    assert refused == Refused(Cause.CALLER_LIMIT, 59 * S, limit="requests_per_minute")


def test_a_new_cost_counts_for_its_waiter_only(fold: Fold, pools: Pools) -> None:
    tokens = PoolSettings({Dimension.INPUT_TOKENS: LimitSettings(600, 10)}, AdaptiveSettings())
    ten, five = (structs.replace(ONE, cost=Cost(1, units)) for units in (10, 5))
    fold.fold(Batch("a", 1, (Configure("p", tokens), Reserve("a-1", ten), Reserve("a-2", ten))), 0)
    folded = fold.fold(Batch("a", 4, (Reprice("p", "a-1", Cost(1, 1)), Reprice("p", "a-2", five.cost))), 0)
    assert [change.next_in_ns for change in folded.changes] == [S, S // 2]
    assert fold.fold(Batch("a", 6, (Advance("p"),)), S // 2).changes[0].granted == ("a-2",)
    assert pools.snapshot("p", S // 2)[0].classes["standard"].tokens == 0


def test_a_lease_of_the_overflow_pool_is_found_under_its_own_name(fold: Fold, pools: Pools) -> None:
    for number in range(200):
        pools.reserve(f"{number}", structs.replace(ONE, pool=f"claude-{number}"), 0)
    demand = structs.replace(ONE, pool="claude-more")
    assert fold.fold(Batch("a", 1, (Reserve("a-1", demand), Reserve("a-2", demand))), 0).answers[0].result == GRANTED
    pools.end("claude-0", "0", Outcome.RELEASED, None, (), None, 0)
    pools.pool_for("claude-more", 0)
    folded = fold.fold(Batch("a", 3, (End("claude-more", "a-1", Outcome.RELEASED),)), 0)
    assert folded.answers == (Answer(3, result=True),)


def test_the_number_of_remembered_replicas_is_bounded(fold: Fold) -> None:
    for number in range(1_001):
        fold.fold(Batch(f"r{number}", 1, (Advance("p"),)), 0)
    assert fold.fold(Batch("r0", 2, ()), 0).number == 0, "forgotten"
    assert fold.fold(Batch("r1", 2, ()), 0).number == 1


def test_a_store_folds_at_its_own_time_and_reports_to_its_listeners() -> None:
    clock = VirtualClock()
    store, changes = MemoryStore(clock, {"p": ONE_PER_SECOND}), list[Change]()
    store.watch(changes.append)
    assert store.reserve_now("own-1", ONE) == GRANTED
    folded = store.fold(Batch("a", 1, (Reserve("a-1", ONE),)))
    assert folded.answers == (Answer(1, Wait(S)),)
    clock.advance(1)
    store.learn_now("p", RateLimited(lease_id="own-1"))
    assert [change.granted for change in changes] == [(), ("a-1",)]
    assert changes[0] == folded.changes[0]


def test_a_replica_that_rejoins_has_what_it_says_and_nothing_else(fold: Fold, pools: Pools) -> None:
    fold.fold(Batch("a", 1, tuple(Reserve(f"a-{number}", ONE) for number in range(4))), 0)
    fold.fold(Batch("b", 1, (Reserve("b-1", ONE),)), 0)
    waiting = (2, Reserve("a-1", ONE)), (9, Reserve("a-8", ONE))
    rejoin = Rejoin(waiting, (Held("a-7", ONE), Held("a-2", ONE)), (End("p", "a-0", Outcome.RELEASED),))
    folded = fold.fold(Batch("a", 11, (rejoin,)), 0)
    assert folded.number == 11
    assert [answer.number for answer in folded.answers] == [2, 9]
    assert folded.answers[0].result == GRANTED  # what the ended lease had reserved is free again
    assert isinstance(folded.answers[1].result, Wait)
    (pool,) = pools.snapshot(None, 0)
    assert (pool.in_flight, pool.waiting) == (3, 2)
    assert [pools.holds("p", f"a-{number}") for number in (0, 1, 2, 3, 7, 8)] == [False, True, True, False, True, True]


def test_a_lease_that_rejoins_is_not_charged_again_until_more_is_known(fold: Fold, pools: Pools) -> None:
    demand = structs.replace(ONE, cost=Cost(1, 100, 50))
    fold.fold(Batch("a", 9, (Rejoin(leases=(Held("a-1", demand, Cost(0, 90, 60)),)),)), 0)
    (pool,) = pools.snapshot(None, 0)
    assert (pool.in_flight, pool.dimensions[0].available) == (1, 1)
    assert fold.fold(Batch("a", 10, (End("p", "a-1", Outcome.RELEASED),)), 0).answers == (Answer(10, result=True),)


def test_a_rejoin_that_comes_again_changes_nothing(fold: Fold, pools: Pools) -> None:
    batch = Batch("a", 5, (Rejoin(((2, Reserve("a-1", ONE)), (3, Reserve("a-2", ONE))), (Held("a-3", ONE),)),))
    fold.fold(batch, 0)
    fold.fold(Batch("a", 6, (End("p", "a-3", Outcome.SETTLED), Withdraw("p", "a-2"))), 0)
    before = pools.snapshot(None, 0)
    again = fold.fold(batch, 0)
    assert again == Folded(7, (Answer(2, GRANTED), Answer(3, Refused(Cause.STORE_UNAVAILABLE))))
    assert pools.snapshot(None, 0) == before


def test_a_replica_that_was_forgotten_is_unknown_until_it_rejoins(fold: Fold, pools: Pools) -> None:
    fold.fold(Batch("a", 1, (Reserve("a-1", ONE), Reserve("a-2", ONE))), 0)
    fold.forget("a", 0)
    assert [(pool.in_flight, pool.waiting) for pool in pools.snapshot(None, 0)] == [(0, 0)]
    assert fold.fold(Batch("a", 3, (Reserve("a-3", ONE),)), 0).number == 0
    assert fold.fold(Batch("a", 4, (Rejoin(leases=(Held("a-1", ONE),)), Reserve("a-3", ONE))), S).number == 5
    assert [(pool.in_flight, pool.waiting) for pool in pools.snapshot(None, S)] == [(2, 0)]


def test_a_step_that_cannot_be_applied_is_skipped(fold: Fold, pools: Pools, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(pools, "learn", fail)
    monkeypatch.setattr(pools, "withdraw", fail)
    folded = fold.fold(Batch("a", 1, (Learn("p", Succeeded()), Withdraw("p", "a-9"), Reserve("a-1", ONE))), 0)
    assert folded.number == 3
    assert folded.answers == (Answer(2, Refused(Cause.STORE_UNAVAILABLE)), Answer(3, GRANTED))
    assert [change.events for change in folded.changes] == [(Anomaly("", AnomalyKind.STEP),)] * 2


def test_drained_pools_have_nothing_but_what_was_refilled_since(fold: Fold, pools: Pools) -> None:
    def available(now_ns: int) -> list[float | None]:
        return [pool.dimensions[0].available for pool in fold.pools.snapshot(None, now_ns)]

    fold.fold(Batch("a", 1, (Advance("p"),)), 0)
    assert available(0) == [1]
    pools.drain(0)
    assert available(S // 4) == [0.25]
    fold = Fold.restore(fold.dump(S // 2), S // 2)
    fold.pools.reload({"p": ONE_PER_SECOND, "q": ONE_PER_SECOND}, PoolSettings(), S // 2)
    fold.fold(Batch("a", 2, (Advance("q"),)), S // 2)
    assert available(S // 2) == [0.5, 0.5]
