"""A pool continues from its dump, which is small whatever happened; data that is none is refused."""

import random
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from support.dumps import START_NS, assert_continues, without_times_that_are_not_set
from tidegate.core.domain.caller import DEFAULT_CALLER, Caller, Priority
from tidegate.core.domain.demand import Demand, Granted, Outcome
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.errors import UnreadableState
from tidegate.core.domain.feedback import Failed, Feedback, RateLimited, SpendCapped, Succeeded
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.core.domain.state_encoding import decode_state, encode_state
from tidegate.core.pool.pool import Pool
from tidegate.core.pool.pool_state import POOL_STATE_VERSION, PoolState

MOST_BYTES = 64 * 1024
FULL = DimensionReport(10**7, 10**7, S)

CONFIGURED = PoolSettings({Dimension.REQUESTS: LimitSettings(600, 5)})
ADAPTIVE = PoolSettings({Dimension.REQUESTS: LimitSettings(600, 5)}, AdaptiveSettings())
SETTINGS = st.sampled_from([PoolSettings(), CONFIGURED, ADAPTIVE])
PASSED_NS = st.sampled_from([0, S // 100, S // 4, S, 5 * S, 31 * S, 400 * S])
AGES_NS = st.sampled_from([0, S // 10, S, 20 * S])
REQUESTS = st.none() | st.builds(DimensionReport, st.sampled_from([50, 4_000]), st.integers(0, 50))
TOKENS = st.none() | st.builds(
    DimensionReport, st.sampled_from([8_000, 400_000]), st.integers(0, 400_000), st.none() | st.integers(0, 60 * S)
)
FEEDBACK = st.one_of(
    st.builds(LimitReport, REQUESTS, TOKENS, TOKENS, AGES_NS),
    st.builds(LimitReport, REQUESTS, TOKENS, TOKENS, AGES_NS),
    st.builds(LimitReport, sent_ago_ns=AGES_NS),
    st.builds(Succeeded, AGES_NS),
    st.builds(RateLimited, st.sampled_from([None, S, 40 * S]), AGES_NS, st.booleans()),
    st.builds(Failed, AGES_NS),
    st.builds(SpendCapped, st.sampled_from([None, 100 * S])),
)
CALLERS = st.sampled_from([Caller("ann"), Caller("ben", priority=Priority.BATCH)])
COSTS = st.builds(Cost, st.just(1), st.sampled_from([0, 10, 30_000]), st.sampled_from([0, 800]))
CALLS = st.tuples(st.just("call"), CALLERS, COSTS, FEEDBACK, st.booleans())
STEPS = st.lists(
    st.tuples(PASSED_NS, CALLS | CALLS | CALLS | st.tuples(st.just("configure"), SETTINGS) | st.just(("look",))),
    max_size=25,
)
SHIFTS_NS = st.integers(-(10**14), 10**14) | st.just(-START_NS)
"""The last is a clock that is younger than the values that are restored."""


class Driven:
    """A pool whose calls end in the step in which they begin: nothing is in flight at a dump."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def dump(self, now_ns: int) -> PoolState:
        return self.pool.dump(now_ns)

    def step(self, step: tuple[Any, ...], now_ns: int) -> object:
        pool = self.pool
        result: object = None
        match step:
            case ("call", caller, cost, feedback, retry):
                result = pool.reserve("call", Demand("p", caller, cost, retry=retry), now_ns)
                if isinstance(result, Granted):
                    pool.end("call", Outcome.SETTLED, cost.plus(Cost(0, 3, 5)), now_ns, (feedback,))
                else:
                    result = result, pool.withdraw("call", now_ns)
                    pool.learn(feedback, now_ns)
            case ("configure", settings):
                pool.configure(settings, now_ns)
        return result, pool.advance_and_collect(now_ns), pool.snapshot(now_ns)


@given(SETTINGS, STEPS, STEPS, SHIFTS_NS)
def test_a_pool_continues_from_its_dump(
    settings: PoolSettings, history: list[Any], continuation: list[Any], shift_ns: int
) -> None:
    original = Driven(Pool("p", settings, START_NS))

    def restore(state: PoolState, now_ns: int) -> Driven:
        pool = Pool.restore(
            decode_state(encode_state(state), PoolState, POOL_STATE_VERSION), now_ns, original.pool.settings
        )
        assert pool.take_changes() is None, "nothing has happened"
        return Driven(pool)

    assert_continues(original, Driven.step, restore, history, continuation, shift_ns, without_times_that_are_not_set)


def hostile_report(rng: random.Random) -> DimensionReport | None:
    per_minute = rng.choice([0, 1, 50, 10**9, 10**12])
    return DimensionReport(per_minute, rng.randrange(10**12), rng.randrange(60 * S)) if per_minute else None


def hostile_feedback(rng: random.Random, *, reports: bool) -> tuple[Feedback, ...]:
    sent_ago_ns = rng.randrange(30 * S)
    draw = rng.random()
    if draw < 0.1:
        retry_after_ns = rng.choice([None, 0, S // 10, 300 * S])
        return (RateLimited(retry_after_ns, sent_ago_ns, acceleration=rng.random() < 0.5),)
    if draw < 0.2:
        return (Failed(sent_ago_ns),)
    if draw < 0.21:
        return (SpendCapped(rng.choice([None, 1, 10**17])),)
    if not reports:
        return (LimitReport(sent_ago_ns=sent_ago_ns), Succeeded(sent_ago_ns))
    requests, input_tokens, output_tokens = (hostile_report(rng) for _ in Dimension)
    return (LimitReport(requests, input_tokens, output_tokens, sent_ago_ns),)


@pytest.mark.parametrize("reports", [True, False])
@pytest.mark.parametrize(("seed", "steps"), [(1, 4_000), pytest.param(2, 20_000, marks=pytest.mark.clients)])
def test_a_dump_is_small_whatever_the_traffic(*, reports: bool, seed: int, steps: int) -> None:
    """Steps of many callers, absurd figures, bursts and pauses, with thousands of calls in flight."""
    rng, now_ns, sizes = random.Random(seed), START_NS, []  # noqa: S311
    pool, flying = Pool("p", PoolSettings(), now_ns), dict[str, Cost]()
    callers = [Caller(f"caller {number}", priority=rng.choice(list(Priority))) for number in range(300)]
    for number in range(steps):
        now_ns += rng.choice([0, 0, 10**6, 6 * 10**6, 6 * 10**6, S // 10]) if number % 500 else 70 * S
        cost = Cost(1, rng.choice([0, 1, 10**3, 10**6]), rng.choice([0, 1, 10**4]))
        demand = Demand("p", rng.choice(callers), cost, 0, retry=rng.random() < 0.1, front=rng.random() < 0.1)
        if isinstance(pool.reserve(f"{number}", demand, now_ns), Granted):
            flying[f"{number}"] = cost
        else:
            pool.withdraw(f"{number}", now_ns)
        if flying and rng.random() < 0.6:
            lease_id = rng.choice(list(flying)[:50])
            flying.pop(lease_id)
            used = Cost(1, rng.randrange(10**6), rng.randrange(10**6))
            pool.end(lease_id, rng.choice(list(Outcome)), used, now_ns, hostile_feedback(rng, reports=reports))
        else:
            for feedback in hostile_feedback(rng, reports=reports):
                pool.learn(feedback, now_ns)
        pool.advance_and_collect(now_ns)
        if number % 100 == 0:
            sizes.append(len(encode_state(pool.dump(now_ns))))
    assert max(sizes) <= MOST_BYTES


def some_data() -> bytes:
    pool = Pool("p", CONFIGURED, START_NS)
    pool.learn(RateLimited(S, 0), START_NS)
    return encode_state(pool.dump(START_NS))


@given(st.data())
def test_damaged_data_is_unreadable(data: st.DataObject) -> None:
    damaged = bytearray(some_data())
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UnreadableState, match="checksum"):
        decode_state(bytes(damaged), PoolState, POOL_STATE_VERSION)


@given(st.binary())
def test_other_data_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableState):
        decode_state(data, PoolState, POOL_STATE_VERSION)


@pytest.mark.parametrize("calls", [4_000, pytest.param(12_000, marks=pytest.mark.clients)])
def test_a_dump_of_a_busy_pool_is_small(calls: int) -> None:
    """90 requests a second, all answered after a while beside a competitor. After two minutes every log is full."""
    rng, now_ns = random.Random(1), START_NS  # noqa: S311
    pool = Pool("p", PoolSettings(), now_ns)
    pool.learn(LimitReport(FULL, FULL, FULL), now_ns)
    flying, sizes = dict[str, int](), list[int]()
    for number in range(calls):
        now_ns += rng.randrange(5, 18) * 10**6
        demand = Demand("p", DEFAULT_CALLER, Cost(1, rng.randrange(2_000), rng.randrange(900)), 0)
        if isinstance(pool.reserve(f"{number}", demand, now_ns), Granted):
            flying[f"{number}"] = now_ns
        if len(flying) > 100:
            lease_id = next(iter(flying))
            sent_ago_ns, left = now_ns - flying.pop(lease_id), 10**7 - rng.randrange(10**6)
            shown = DimensionReport(10**7, left, S)
            report = LimitReport(shown, shown, shown, sent_ago_ns, lease_id=lease_id)
            used = Cost(1, rng.randrange(2_000), rng.randrange(900))
            pool.end(lease_id, Outcome.SETTLED, used, now_ns, (report, Succeeded()))
        pool.advance_and_collect(now_ns)
        if number % 500 == 499:
            sizes.append(len(encode_state(pool.dump(now_ns))))
    assert pool.snapshot(now_ns).granted > calls * 2 / 3, "the pool is busy"
    assert 5_000 < max(sizes) <= MOST_BYTES
