"""Dump and restore: a restored mechanism gives the results of the original, on another clock, and dumps the same."""

import random
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, msgpack

from support.dumps import START_NS, assert_continues, round_trip
from tidegate.core.acceleration.acceleration_limit import AccelerationLimit, AccelerationLimitState
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.limit_report import DimensionReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings
from tidegate.core.domain.usage import Usage
from tidegate.core.limits.adaptive_factor import AdaptiveFactor
from tidegate.core.limits.charge_log import ChargeLog
from tidegate.core.limits.competing_traffic import CompetingTraffic
from tidegate.core.limits.dimension_limit import DimensionLimit, DimensionLimitState
from tidegate.core.limits.fixed_window import FixedWindowVotes
from tidegate.core.limits.recent_use import RecentUse, RecentUseState
from tidegate.core.limits.reported_limit import ReportedLimit
from tidegate.core.limits.token_bucket import TokenBucket, TokenBucketState
from tidegate.core.pricing.cost_estimator import CostEstimator, CostEstimatorState
from tidegate.core.pricing.message_shape import MessageShape, Prefix
from tidegate.core.pricing.prompt_size import PromptSize
from tidegate.core.rate_search.rate_search import START_PER_SECOND, RateSearch, RateSearchState

_State = TypeVar("_State", bound=Struct)

MERGED_NS = S
"""How far apart the charges of a condensed log may be that count as one."""
SHIFTS_NS = st.integers(-(10**14), 10**14) | st.just(-START_NS)
"""The last is a clock that is younger than the values that are restored."""
STEPS_NS = st.integers(0, 3 * S) | st.integers(0, 200 * S) | st.sampled_from([0, 1, S // 4, 20_000_000])
AGES_NS = st.integers(0, 30 * S) | st.just(0)
TOKENS = st.integers(0, 300_000) | st.integers(0, 20)


class Driven(Generic[_State]):
    """A mechanism with all that its tests have to know about it; `act` takes one step and returns what it shows."""

    def act(self, step: Any, now_ns: int) -> object:
        raise NotImplementedError

    def dump(self, now_ns: int) -> _State:
        raise NotImplementedError

    def restored(self, state: _State, now_ns: int, shift_ns: int) -> "Driven[_State]":
        raise NotImplementedError


class History(NamedTuple):
    """What happens before the dump and after it, each time after a while."""

    before: Sequence[tuple[int, Any]]
    after: Sequence[tuple[int, Any]]
    shift_ns: int


def histories(steps: st.SearchStrategy[Any], most: int = 40) -> st.SearchStrategy[History]:
    timed = st.lists(st.tuples(STEPS_NS, steps), max_size=most)
    return st.builds(History, timed, timed, SHIFTS_NS)


def check(original: Driven[_State], history: History) -> None:
    assert_continues(
        original,
        lambda driven, step, now_ns: driven.act(step, now_ns),
        lambda state, now_ns: original.restored(state, now_ns, history.shift_ns),
        history.before,
        history.after,
        history.shift_ns,
    )


class DrivenBucket(Driven[TokenBucketState]):
    def __init__(self, bucket: TokenBucket) -> None:
        self.bucket = bucket

    def act(self, step: tuple[str, int, int], now_ns: int) -> object:
        verb, micro, rate = step
        calls: dict[str, Callable[[], None]] = {
            "charge": lambda: self.bucket.charge(micro),
            "give": lambda: self.bucket.correct(-micro, now_ns),
            "fill": lambda: self.bucket.fill(now_ns),
            "change": lambda: self.bucket.change(rate, micro + 1, now_ns),
            "empty": lambda: self.bucket.full_in(rate, now_ns),
            "look": lambda: None,
        }
        calls[verb]()
        bucket = self.bucket
        return bucket.level_micro(now_ns), bucket.unbounded_micro(now_ns), bucket.wait_ns(micro, now_ns)

    def dump(self, now_ns: int) -> TokenBucketState:
        return self.bucket.dump(now_ns)

    def restored(self, state: TokenBucketState, now_ns: int, _: int) -> "DrivenBucket":
        return DrivenBucket(TokenBucket.restore(state, now_ns))


BUCKET_STEPS = st.tuples(
    st.sampled_from(["charge", "charge", "give", "fill", "change", "empty", "look"]),
    st.integers(0, 10**9),
    st.integers(1, 10**10),
)


@given(histories(BUCKET_STEPS))
def test_token_bucket(history: History) -> None:
    check(DrivenBucket(TokenBucket(7_000_000, 90_000_000, START_NS)), history)


class DrivenLimit(Driven[DimensionLimitState]):
    def __init__(self, limit: DimensionLimit, votes: FixedWindowVotes, configured: LimitSettings | None) -> None:
        self.limit, self.votes, self.configured = limit, votes, configured

    def act(self, step: tuple[str, tuple[Any, ...]], now_ns: int) -> object:
        verb, values = step
        if verb == "configure":
            (self.configured,) = values
        shown = getattr(self.limit, verb)(*values, **({} if verb == "observe_price" else {"now_ns": now_ns}))
        limit = self.limit
        waits = [limit.wait_ns(units, now_ns) for units in (1, 4_000)]
        unshared_ns = limit.unshared_wait_ns(500, now_ns - S, now_ns)
        figures = limit.margin_micro, limit.per_minute, limit.share, limit.full_ns(3)
        return shown, limit.fits(20, now_ns), waits, unshared_ns, figures, limit.snapshot(now_ns)

    def dump(self, now_ns: int) -> DimensionLimitState:
        return self.limit.dump(now_ns)

    def restored(self, state: DimensionLimitState, now_ns: int, _: int) -> "DrivenLimit":
        votes = FixedWindowVotes.restore(round_trip(self.votes.dump()))
        limit = DimensionLimit.restore(state, now_ns, self.limit.dimension, votes)
        limit.configure(self.configured, now_ns)
        return DrivenLimit(limit, votes, self.configured)


REPORTS = st.builds(
    DimensionReport,
    st.sampled_from([6_000, 6_000, 6_000, 30_000]),
    st.none() | st.integers(0, 6_000),
    st.none() | st.integers(0, 90 * S),
)
LIMIT_STEPS = st.one_of(
    st.tuples(st.just("charge"), st.tuples(st.integers(0, 300))),
    st.tuples(st.just("correct"), st.tuples(st.integers(-300, 300))),
    st.tuples(st.just("observe_price"), st.tuples(st.integers(0, 300), st.integers(0, 300))),
    st.tuples(st.just("observe"), st.tuples(REPORTS, AGES_NS, st.integers(0, 500))),
    st.tuples(st.just("observe"), st.tuples(REPORTS, AGES_NS, st.integers(0, 500))),
    st.tuples(st.just("search"), st.tuples(st.none() | st.floats(0.5, 300))),
    st.tuples(st.just("forget_report"), st.just(())),
    st.tuples(st.just("empty"), st.tuples(AGES_NS)),
    st.tuples(st.just("overrun"), st.just(())),
    st.tuples(st.just("adapt"), st.tuples(st.floats(0.1, 1))),
    st.tuples(st.just("configure"), st.tuples(st.none() | st.builds(LimitSettings, st.just(5_000), st.just(400)))),
)


@given(histories(LIMIT_STEPS), st.sampled_from(Dimension))
def test_dimension_limit(history: History, dimension: Dimension) -> None:
    votes = FixedWindowVotes()
    check(DrivenLimit(DimensionLimit(dimension, votes), votes, None), history)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(-20, 20)), min_size=40, max_size=64), SHIFTS_NS)
def test_dimension_limit_beside_a_competitor(reports: list[tuple[int, int]], shift_ns: int) -> None:
    """Reports each 150 ms of a bucket that somebody else draws on: lines are fitted, and the share is ours."""
    steps = [
        (150_000_000 + wait, ("observe", (DimensionReport(6_000, 4_000 - 10 * n + noise), 0, 0)))
        for n, (wait, noise) in enumerate(reports)
    ]
    votes, half = FixedWindowVotes(), len(steps) // 2
    driven = DrivenLimit(DimensionLimit(Dimension.REQUESTS, votes), votes, None)
    check(driven, History(steps[:half], steps[half:], shift_ns))
    assert driven.limit.share < 1


class DrivenSearch(Driven[RateSearchState]):
    """The order of calls is that of `Quota`."""

    def __init__(self, search: RateSearch, in_flight: list[tuple[int, Cost]], refused_ns: int) -> None:
        self.search, self.in_flight, self.refused_ns = search, in_flight, refused_ns

    def act(self, step: tuple[str, int, Any], now_ns: int) -> object:
        verb, index, value = step
        search = self.search
        if verb == "send":
            for _ in range(index % 30 + 1):
                search.sent(value, now_ns)
                self.in_flight.append((now_ns, value))
        elif verb != "look" and self.in_flight:
            sent_ns, cost = self.in_flight.pop(index % len(self.in_flight))
            search.ended()
            if verb == "settle":
                search.corrected(Cost(0, value - cost.input_tokens, value // 10))
            else:
                search.corrected(Cost().minus(cost), sent_ns)
            if verb == "refuse" and sent_ns >= self.refused_ns:
                self.refused_ns = now_ns
                pause_ns = S if value is None else value
                search.refused(sent_ns, now_ns, retry_after_ns=value, pause_ns=pause_ns, needed=cost)
        return search.per_second(now_ns), search.wait_ns(now_ns), search.share, search.is_sure, search.is_measured

    def dump(self, now_ns: int) -> RateSearchState:
        return self.search.dump(now_ns)

    def restored(self, state: RateSearchState, now_ns: int, shift_ns: int) -> "DrivenSearch":
        in_flight = [(sent_ns + shift_ns, cost) for sent_ns, cost in self.in_flight]
        search = RateSearch.restore(state, now_ns, in_flight=len(in_flight))
        return DrivenSearch(search, in_flight, self.refused_ns + shift_ns)


SEARCH_STEPS = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 99), st.builds(Cost, st.just(1), TOKENS, st.just(0))),
    st.tuples(st.just("settle"), st.integers(0, 99), TOKENS),
    st.tuples(st.just("fail"), st.integers(0, 99), st.none()),
    st.tuples(st.just("refuse"), st.integers(0, 99), st.none() | st.sampled_from([S, 4 * S, 60 * S])),
    st.tuples(st.just("look"), st.just(0), st.none()),
)


@given(histories(SEARCH_STEPS, most=80))
def test_rate_search(history: History) -> None:
    check(DrivenSearch(RateSearch(START_NS, START_PER_SECOND), [], START_NS), history)


class DrivenAcceleration(Driven[AccelerationLimitState]):
    def __init__(self, limit: AccelerationLimit) -> None:
        self.limit = limit

    def act(self, step: tuple[str, int, int, int], now_ns: int) -> object:
        verb, count, age_ns, tokens = step
        limit, then_ns = self.limit, now_ns - age_ns
        calls: dict[str, Callable[[], None]] = {
            "sent": lambda: limit.sent(now_ns, tokens),
            "corrected": lambda: limit.corrected(then_ns, -1, tokens),
            "answered": lambda: limit.answered(then_ns),
            "refused": lambda: limit.refused(then_ns, now_ns, tokens),
        }
        for _ in range(count):
            calls[verb]()
        return limit.wait_ns(now_ns, 10), limit.binds(now_ns), limit.is_known

    def dump(self, now_ns: int) -> AccelerationLimitState:
        return self.limit.dump(now_ns)

    def restored(self, state: AccelerationLimitState, now_ns: int, _: int) -> "DrivenAcceleration":
        return DrivenAcceleration(AccelerationLimit.restore(state, now_ns))


ACCELERATION_STEPS = st.tuples(
    st.sampled_from(["sent", "sent", "sent", "corrected", "answered", "refused"]),
    st.integers(1, 60),
    AGES_NS,
    st.integers(0, 2_000),
)


@given(histories(ACCELERATION_STEPS))
def test_acceleration_limit(history: History) -> None:
    check(DrivenAcceleration(AccelerationLimit()), history)


class DrivenUse(Driven[RecentUseState]):
    def __init__(self, state: RecentUseState | None = None, now_ns: int = START_NS) -> None:
        self.rates: list[float | None] = [60.0, None, 1_000.0]
        self.use = RecentUse(self.now, now_ns) if state is None else RecentUse.restore(state, now_ns, self.now)

    def now(self, _: int) -> list[float | None]:
        return self.rates

    def act(self, step: tuple[int, int, int, float | None], now_ns: int) -> object:
        self.use.add(*step[:3], now_ns)
        self.rates[1] = step[3]
        return self.use.shares(now_ns)

    def dump(self, now_ns: int) -> RecentUseState:
        return self.use.dump(now_ns)

    def restored(self, state: RecentUseState, now_ns: int, _: int) -> "DrivenUse":
        copy = DrivenUse(state, now_ns)
        copy.rates = list(self.rates)
        return copy


@given(histories(st.tuples(st.integers(-1, 5), TOKENS, TOKENS, st.none() | st.floats(1, 1e6))))
def test_recent_use(history: History) -> None:
    check(DrivenUse(), history)


class DrivenEstimator(Driven[CostEstimatorState]):
    def __init__(self, estimator: CostEstimator) -> None:
        self.estimator = estimator

    def act(self, step: tuple[MessageShape, Usage, int, int], now_ns: int) -> object:
        shape, usage, text_bytes, times = step
        for _ in range(times):
            self.estimator.observe(shape, usage, now_ns, text_bytes=text_bytes, written_ns=S)
        given_up = self.estimator.given_up(shape.model, Cost(1, 5, 9_000), 2 * S, streams=False)
        return self.estimator.quote(shape, now_ns), self.estimator.text_tokens(shape.model, 999), given_up

    def dump(self, now_ns: int) -> CostEstimatorState:
        return self.estimator.dump(now_ns)

    def restored(self, state: CostEstimatorState, now_ns: int, _: int) -> "DrivenEstimator":
        return DrivenEstimator(CostEstimator.restore(state, now_ns))


SHAPES = st.builds(
    MessageShape,
    st.sampled_from(["ann", "bob", "cyd"]),
    st.sampled_from(["claude-sonnet-5-5", "claude-haiku-5-5"]),
    st.builds(PromptSize, TOKENS, st.integers(0, 3_000), st.integers(0, 2)),
    st.none() | st.sampled_from([64, 1_024, 64_000]),
)
USAGES = st.builds(Usage, TOKENS, st.integers(0, 5_000))


@given(histories(st.tuples(SHAPES, USAGES, st.integers(0, 9_000), st.sampled_from([1, 1, 7, 250]))))
def test_cost_estimator(history: History) -> None:
    check(DrivenEstimator(CostEstimator()), history)


@given(st.lists(st.integers(1, 20_000)), st.lists(st.none() | st.integers(1, 20_000)))
def test_reported_limit(before: list[int], after: list[int | None]) -> None:
    original = ReportedLimit()
    for per_minute in before:
        original.observe(DimensionReport(per_minute))
    copy = ReportedLimit.restore(round_trip(original.dump()))
    for said in after:
        if said is None:
            assert copy.observe_missing() == original.observe_missing()
        else:
            assert copy.observe(DimensionReport(said)) == original.observe(DimensionReport(said))
    assert copy.dump() == original.dump()


@given(st.lists(st.booleans()), st.lists(st.booleans()))
def test_adaptive_factor(before: list[bool], after: list[bool]) -> None:
    settings = AdaptiveSettings(floor=0.1, learning_rate=0.1, recovery=0.05)
    original = AdaptiveFactor(settings)
    for is_good in before:
        original.grow() if is_good else original.cut()
    copy = AdaptiveFactor.restore(round_trip(original.dump()), settings)
    for is_good in after:
        assert (copy.grow() if is_good else copy.cut()) == (original.grow() if is_good else original.cut())
    assert copy.dump() == original.dump()


def test_other_settings_bound_a_restored_factor() -> None:
    original = AdaptiveFactor(AdaptiveSettings(floor=0.1, learning_rate=0.5, recovery=0.05))
    original.cut()
    settings = AdaptiveSettings(floor=0.7, learning_rate=0.5, recovery=0.05)
    assert AdaptiveFactor.restore(original.dump(), settings).value == 0.7


def size(*states: Struct) -> int:
    return sum(len(msgpack.encode(state)) for state in states)


@given(st.integers(129, 3_000), st.integers(6, 900), st.integers(0, 2**32), SHIFTS_NS)
def test_a_long_log_of_charges_is_condensed_within_bounds(count: int, apart_ms: int, seed: int, shift_ns: int) -> None:
    """Charges move by less than 0.95 s: so levels are higher by less than what that refills, and never lower."""
    rng, log, now_ns = random.Random(seed), ChargeLog(), START_NS  # noqa: S311
    for _ in range(count):
        now_ns += rng.randint(5, 2 * apart_ms) * 1_000_000
        log.add(rng.randint(0, 40), now_ns)
    state = log.dump(now_ns)
    copy = ChargeLog.restore(round_trip(state), now_ns + shift_ns)
    assert len(state.slots) <= 128
    assert copy.total == log.total
    per_minute, capacity = 6_000.0, 900.0
    for _ in range(20):
        since_ns = now_ns - rng.randint(0, 100 * S)
        true = log.replay(400, since_ns, per_minute, capacity, now_ns)
        restored = copy.replay(400, since_ns + shift_ns, per_minute, capacity, now_ns + shift_ns)
        earlier = log.replay(400, since_ns - MERGED_NS, per_minute, capacity, now_ns)
        later = log.replay(400, since_ns + MERGED_NS, per_minute, capacity, now_ns)
        assert later.later <= restored.later <= true.later + 1e-6 <= earlier.later + 1
        shift = true.later - restored.later
        assert -1e-3 <= restored.level - true.level <= per_minute / 60 * MERGED_NS / S + shift + 1e-3


@given(st.integers(65, 500), st.integers(0, 90), SHIFTS_NS)
def test_a_selection_of_reports_shows_the_same_competitor(count: int, taken: int, shift_ns: int) -> None:
    competitor, now_ns = CompetingTraffic(), START_NS
    for n in range(count):
        now_ns += 7 * S // count
        at_s = 7 * n / count
        competitor.observe(round(1e6 + (100 - taken) * at_s), 0, now_ns, charged_then=0.0, sent_ns=now_ns, rate=100.0)
    state = competitor.dump(now_ns)
    assert len(state.at_response.points) <= 64
    copy = CompetingTraffic.restore(round_trip(state), now_ns + shift_ns)
    assert copy.per_second == competitor.per_second
    for each, clock_ns in ((competitor, now_ns), (copy, now_ns + shift_ns)):
        remaining = round(1e6 + (100 - taken) * 7)
        each.observe(remaining, 0, clock_ns + S // 100, charged_then=0.0, sent_ns=clock_ns + S // 100, rate=100.0)
    assert abs(copy.per_second - competitor.per_second) <= 2
    assert abs(copy.per_second - taken) <= 2 or taken < 4


def test_what_a_pool_learns_takes_at_most_32_kilobytes_whatever_the_traffic() -> None:
    """Every table full, and every figure as large as it may be."""
    rng, votes, now_ns = random.Random(1), FixedWindowVotes(), START_NS  # noqa: S311
    limits = [DimensionLimit(dimension, votes) for dimension in Dimension]
    acceleration, search = AccelerationLimit(), RateSearch(now_ns)
    use = RecentUse(lambda _: [rng.random() * 1e9 for _ in Dimension], now_ns)
    for n in range(3_300):  # eleven minutes, of which the last are full of reports
        now_ns += S // 4 if n < 2_500 else S // 100
        tokens = rng.randint(10**6, 10**9)
        for limit in limits:
            limit.charge(tokens, now_ns)
            limit.observe(DimensionReport(10**9, rng.randint(10**8, 5 * 10**8)), S, 0, now_ns)
        acceleration.sent(now_ns, tokens)
        use.add(-tokens, tokens, tokens, now_ns)
        search.sent(Cost(1, tokens), now_ns)
        if n % 200 == 0:
            search.refused(now_ns, now_ns, retry_after_ns=None, pause_ns=300 * S)
    states = [limit.dump(now_ns) for limit in limits]
    bounds = [acceleration.dump(now_ns), search.dump(now_ns), use.dump(now_ns)]
    assert size(*states, *bounds) <= 32 * 1_024


def test_an_estimator_dumps_what_was_used_last_within_64_kilobytes() -> None:
    estimator, now_ns = CostEstimator(), START_NS
    shapes = [MessageShape(f"caller-{n}" * 10, f"claude-{n}" * 10, PromptSize(500), 1_024) for n in range(3_000)]
    for shape in shapes:
        for tokens in (3, 70, 900):
            estimator.observe(shape, Usage(500, tokens), now_ns, text_bytes=900)
    state = round_trip(estimator.dump(now_ns))
    assert 48 * 1_024 < size(state) <= 64 * 1_024
    copy = CostEstimator.restore(state, now_ns)
    assert copy.dump(now_ns) == state
    assert copy.quote(shapes[-1], now_ns) == estimator.quote(shapes[-1], now_ns)


def test_cached_prefixes_are_not_dumped() -> None:
    """Their digests are those of one process."""
    estimator = CostEstimator()
    prefixes = (Prefix(1, 400, PromptSize(), marked=True),)
    shape = MessageShape("ann", "claude-sonnet-5-5", PromptSize(800), prefixes=prefixes)
    estimator.observe(shape, Usage(100, 5, cache_creation_tokens=100), START_NS)
    copy = CostEstimator.restore(estimator.dump(START_NS), START_NS)
    assert estimator.estimate(shape, START_NS).input_tokens == copy.estimate(shape, START_NS).input_tokens / 2
