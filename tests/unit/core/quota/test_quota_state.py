"""A quota continues from its dump as if it had never stopped, under a clock that starts elsewhere."""

from collections.abc import Callable

import pytest

from support.dumps import round_trip
from tidegate.core.domain.dimension import ONE_REQUEST, Cost, Dimension
from tidegate.core.domain.feedback import RateLimited
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.core.quota.quota import Quota

SHIFT_NS = 10_000 * S
LEARNING = PoolSettings()
ADAPTIVE = PoolSettings({Dimension.REQUESTS: LimitSettings(600, 5)}, AdaptiveSettings())
COST = Cost(1, 500, 20)
Step = Callable[[Quota, int], object]


def report(per_minute: int, remaining: int) -> Step:
    given = LimitReport(DimensionReport(per_minute, remaining), sent_ago_ns=S // 2)
    return lambda quota, now_ns: quota.learn_limits(given, now_ns)


def refuse(refusal: RateLimited) -> Step:
    return lambda quota, now_ns: quota.learn_429(refusal, now_ns)


def charge(quota: Quota, now_ns: int) -> None:
    quota.charge(COST, now_ns)


def ask(quota: Quota, now_ns: int) -> tuple[object, ...]:
    quota.demand_seen(now_ns)
    waits = quota.wait_ns(COST, now_ns), quota.idle_wait_ns(COST, now_ns), quota.frozen_ns(now_ns)
    return quota.fits(COST, now_ns), *waits, quota.binding(COST, now_ns), quota.factor, quota.is_probing, quota.is_known


def headerless(quota: Quota, now_ns: int) -> None:
    quota.learn_limits(LimitReport(), now_ns)


def use(quota: Quota, now_ns: int) -> None:
    charge(quota, now_ns)
    quota.demand_seen(now_ns)


RISE: list[tuple[int, Step]] = [(0, headerless), *((S // 200, use) for _ in range(50))]
"""The rate has grown by less than a tenth since it was last reported."""
SEARCH: list[tuple[int, Step]] = [
    (0, headerless),
    *((S // 10, charge) for _ in range(30)),
    (S, refuse(RateLimited(2 * S, sent_ago_ns=S // 10))),
    *((S // 10, charge) for _ in range(30)),
    (S, refuse(RateLimited(2 * S, sent_ago_ns=S // 10))),
    (S, ask),
]
REPORTED: list[tuple[int, Step]] = [(0, report(6_000, 3_000)), (S, charge), (S, report(600, 200)), (S, report(60, 2))]
CUT: list[tuple[int, Step]] = [(S, charge), (S, refuse(RateLimited(sent_ago_ns=S // 2)))]
GROWTH: list[tuple[int, Step]] = [
    (0, report(6_000, 3_000)),
    (S, charge),
    (S, refuse(RateLimited(acceleration=True, sent_ago_ns=S))),
]


@pytest.mark.parametrize(
    ("settings", "before", "after"),
    [
        (LEARNING, SEARCH, [(S, ask), (S, refuse(RateLimited(S, sent_ago_ns=S // 2))), (5 * S, ask)]),
        (LEARNING, RISE, [(S, ask), (S, ask)]),
        (LEARNING, REPORTED, [(S, ask), (S, report(700, 300)), (S, report(700, 300)), (S, ask)]),
        (LEARNING, GROWTH, [(S, ask), (S, charge), (70 * S, ask)]),
        (ADAPTIVE, CUT, [(0, ask), (S, refuse(RateLimited(S, sent_ago_ns=3 * S // 2))), (0, ask)]),
        (LEARNING, [], [(S, ask), (S, charge), (S, ask), (S, report(600, 300)), (S, ask)]),
    ],
    ids=["searches its rate", "raises its rate", "follows reports", "grows slowly", "has cut its rate", "probes"],
)
def test_a_quota_goes_on(settings: PoolSettings, before: list[tuple[int, Step]], after: list[tuple[int, Step]]) -> None:
    original, now_ns = Quota("p", settings, 0), 7 * S
    for passed_ns, step in before:
        now_ns += passed_ns
        step(original, now_ns)
    now_ns += S // 2
    state = original.dump(now_ns)
    restored = Quota.restore(round_trip(state), now_ns + SHIFT_NS, "p", settings)
    restored.restore_work(round_trip(original.dump_work(now_ns)), now_ns + SHIFT_NS)
    assert restored.dump(now_ns + SHIFT_NS) == state
    original.events.clear()
    assert restored.events == []
    for passed_ns, step in after:
        now_ns += passed_ns
        assert step(restored, now_ns + SHIFT_NS) == step(original, now_ns)
        assert restored.events == original.events
    assert restored.dump(now_ns + SHIFT_NS) == original.dump(now_ns)


def test_a_factor_is_of_use_only_where_settings_let_it_change() -> None:
    cut = Quota("p", ADAPTIVE, 0)
    cut.learn_429(RateLimited(), S, ONE_REQUEST)
    assert Quota.restore(cut.dump(S), S, "p", ADAPTIVE).factor == cut.factor < 1
    assert Quota.restore(cut.dump(S), S, "p", LEARNING).factor == 1
    assert Quota.restore(Quota("p", LEARNING, 0).dump(S), S, "p", ADAPTIVE).factor == 1


def test_the_use_in_flight_is_given_back_where_it_was_counted() -> None:
    original = Quota("p", LEARNING, 0)
    original.learn_limits(LimitReport(), 0)
    original.charge(COST, S)
    work = original.dump_work(2 * S)
    assert (work.open_input_tokens, work.open_output_tokens, work.searched_in_flight) == (500, 20, 1)
    restored = Quota.restore(original.dump(2 * S), 2 * S, "p", LEARNING)
    restored.restore_work(work, 2 * S)
    restored.close_estimates(500, 20)
    restored.request_ended(S)
    assert restored.dump_work(2 * S).open_input_tokens == restored.dump_work(2 * S).open_output_tokens == 0
    assert restored.dump_work(2 * S).searched_in_flight == 0
    assert Quota("p", LEARNING, 0).dump_work(0).searched_in_flight == 0


def test_leases_that_were_charged_elsewhere_are_in_flight_each() -> None:
    made = Quota("p", LEARNING, 0)
    made.learn_limits(LimitReport(), 0)
    for _ in range(2):
        made.hold(500, 20)
    work = made.dump_work(S)
    assert (work.open_input_tokens, work.open_output_tokens, work.searched_in_flight) == (1_000, 40, 2)
