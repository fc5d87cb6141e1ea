"""Predicted waits: their calibration, and refusals that rely on them."""

import pytest
from msgspec import structs

from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Outcome, Refused, Wait
from tidegate.core.domain.dimension import ONE_REQUEST, Cost, Dimension
from tidegate.core.domain.feedback import Failed, RateLimited, Succeeded
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings, QueueCaps
from tidegate.core.pool.pool import Pool

REQUEST = Demand("p", DEFAULT_CALLER, ONE_REQUEST)
PRICED = structs.replace(REQUEST, cost=Cost(1, 1_000))
LIMITS = {Dimension.INPUT_TOKENS: LimitSettings(per_minute=60_000, capacity=1_000)}
"""One of `PRICED` a second, and no burst."""
LONGER = 6 * S // 5


def corrected_ns(times: int) -> int:
    """The prediction for one second after so many waits of a fifth longer, one after the other."""
    ratio = 1 + 0.2 / 21  # the formula itself counts as 20 waits
    for _ in range(times - 1):
        ratio += (1.2 - ratio) * 0.05
    return round(ratio * S)


def pool(adaptive: AdaptiveSettings | None = AdaptiveSettings()) -> Pool:  # noqa: B008 - a frozen value
    """A pool whose burst was just used; nothing is in flight."""
    state = Pool("p", PoolSettings(LIMITS, adaptive), 0)
    state.reserve("burst", PRICED, 0)
    state.end("burst", Outcome.SETTLED, None, 0)
    return state


def wait_longer(state: Pool, times: int) -> int:
    """So many wait a fifth longer than the second that was predicted. Returns the time then; the bucket is empty."""
    now_ns = 0
    for number in range(times):
        state.reserve(f"w{number}", PRICED, now_ns)
        now_ns += LONGER
        assert state.advance(now_ns) == (f"w{number}",)
        state.end(f"w{number}", Outcome.SETTLED, None, now_ns)
    return now_ns


def test_predictions_follow_what_waiting_really_took() -> None:
    state = pool()
    now_ns = wait_longer(state, 1)
    assert state.reserve("a", PRICED, now_ns) == Wait(corrected_ns(1))
    assert state.withdraw("a", now_ns) == Refused(Cause.DEADLINE, corrected_ns(1))


def test_a_freeze_is_certain_and_is_not_corrected() -> None:
    state = pool(AdaptiveSettings(learning_rate=0))
    now_ns = wait_longer(state, 1)
    state.learn(RateLimited(10 * S), now_ns)
    assert state.reserve("a", PRICED, now_ns) == Wait(10 * S)
    assert state.reserve("b", PRICED, now_ns) == Wait(10 * S + corrected_ns(1)), (
        "a second after the thaw, longer by experience"
    )


@pytest.mark.parametrize(
    ("per_minute", "waited_ns", "then_ns"),
    [
        (15_000, 4 * S, 4 * S),
        (240_000, S // 2, S // 4),
        (41_000, 2 * S, S * 60 / 41),
        (42_000, 2 * S, corrected_ns(1) * 60 / 42),
    ],
    ids=["a quarter", "four times", "31 % less", "30 % less: about the same"],
)
def test_a_wait_that_was_predicted_at_another_rate_teaches_nothing(
    per_minute: float, waited_ns: int, then_ns: float
) -> None:
    state = pool()
    state.reserve("a", PRICED, 0)
    limits = {Dimension.INPUT_TOKENS: LimitSettings(per_minute, capacity=1_000)}
    state.configure(PoolSettings(limits, AdaptiveSettings()), 0)
    assert state.advance(waited_ns) == ("a",)
    state.end("a", Outcome.SETTLED, None, waited_ns)
    while state.try_admit("b", PRICED, waited_ns):
        pass
    answer = state.reserve("c", PRICED, waited_ns)
    assert isinstance(answer, Wait)
    assert answer.predicted_ns == pytest.approx(then_ns, abs=2)


def test_a_wait_through_an_outage_teaches_nothing() -> None:
    state = pool()
    state.reserve("before", PRICED, 0)
    for _ in range(5):
        state.learn(Failed(0), S // 10)
    state.reserve("within", PRICED, S // 10)
    state.learn(Succeeded(sent_ago_ns=S // 10), 30 * S)
    for name, now_ns in (("before", 30 * S), ("within", 31 * S)):
        assert state.advance(now_ns) == (name,)
        state.end(name, Outcome.SETTLED, None, now_ns)
    assert state.reserve("a", PRICED, 31 * S) == Wait(S)
    assert state.advance(31 * S + LONGER) == ("a",)
    state.end("a", Outcome.SETTLED, None, 31 * S + LONGER)
    assert state.reserve("b", PRICED, 31 * S + LONGER) == Wait(corrected_ns(1)), "what comes after it does"


def test_a_wait_before_the_limits_were_known_teaches_nothing() -> None:
    state = Pool("p", PoolSettings(), 0)
    state.reserve("probe", REQUEST, 0)
    assert state.reserve("a", PRICED, 0) == Wait(S // 4)
    state.learn(LimitReport(requests=DimensionReport(60, 1)), S // 10)
    assert state.advance(S // 10) == ("a",)
    assert state.reserve("b", PRICED, S // 10) == Wait(S)


class TestRefusal:
    def test_a_price_in_requests_is_exact(self) -> None:
        state = Pool("p", PoolSettings({Dimension.REQUESTS: LimitSettings(60, 1)}), 0)
        state.reserve("burst", REQUEST, 0)
        assert state.reserve("a", structs.replace(REQUEST, patience_ns=S - 1), 0) == Refused(
            Cause.DEADLINE, retry_after_ns=1
        )

    @pytest.mark.parametrize("cost", [Cost(1, 1_000), Cost(1, 0, 1_000)])
    def test_a_price_in_tokens_is_an_estimate_and_waits_all_the_same(self, cost: Cost) -> None:
        limits = dict.fromkeys((Dimension.INPUT_TOKENS, Dimension.OUTPUT_TOKENS), LIMITS[Dimension.INPUT_TOKENS])
        state = Pool("p", PoolSettings(limits), 0)
        state.reserve("burst", structs.replace(REQUEST, cost=cost), 0)
        assert state.reserve("a", structs.replace(REQUEST, cost=cost, patience_ns=0), 0) == Wait(S)

    def test_an_estimate_that_ten_waits_have_tested_counts(self) -> None:
        state = pool()
        impatient = structs.replace(PRICED, patience_ns=corrected_ns(10) - 1)
        now_ns = wait_longer(state, 9)
        assert isinstance(state.reserve("too early to say", impatient, now_ns), Wait)
        state.withdraw("too early to say", now_ns)
        state = pool()
        now_ns = wait_longer(state, 10)
        assert state.reserve("a", impatient, now_ns) == Refused(Cause.DEADLINE, retry_after_ns=1)
        assert state.reserve("b", structs.replace(impatient, patience_ns=corrected_ns(10)), now_ns) == Wait(
            corrected_ns(10)
        )

    def test_a_freeze_beyond_the_patience_counts_at_once(self) -> None:
        state = pool()
        state.learn(RateLimited(10 * S), 0)
        refused = state.reserve("a", structs.replace(PRICED, patience_ns=10 * S - 1), 0)
        assert refused == Refused(Cause.DEADLINE, retry_after_ns=1)
        assert state.reserve("b", structs.replace(PRICED, patience_ns=10 * S), 0) == Wait(10 * S)

    def test_a_full_queue_tells_the_corrected_wait(self) -> None:
        state = pool()
        now_ns = wait_longer(state, 1)
        state.configure(PoolSettings(LIMITS, AdaptiveSettings(), caps=QueueCaps(0)), now_ns)
        assert state.reserve("a", PRICED, now_ns) == Refused(
            Cause.QUEUE_FULL, retry_after_ns=corrected_ns(1), full="0 requests"
        )


class TestOthers:
    """Somebody else takes three quarters of an upstream's 60,000 tokens a minute, or seems to."""

    @staticmethod
    def learn(state: Pool, taken_per_second: int, since_s: int, until_s: int) -> None:
        for second in range(since_s, until_s):
            remaining = 20_000 + (1_000 - taken_per_second) * (second - since_s)
            state.learn(LimitReport(input_tokens=DimensionReport(60_000, remaining, 40 * S)), second * S)

    @classmethod
    def shared(cls) -> Pool:
        """Ten seconds old."""
        state = Pool("p", PoolSettings(), 0)
        cls.learn(state, 750, 0, 10)
        return state

    @staticmethod
    def wait_one_by_one(state: Pool, each_ns: int) -> int:
        """Ten wait, each for so long. Returns when the last was admitted."""
        now_ns = 10 * S
        state.reserve("burst", PRICED, now_ns)
        for number in range(10):
            assert isinstance(state.reserve(f"w{number}", PRICED, now_ns), Wait)
            now_ns += each_ns
            assert state.advance(now_ns) == (f"w{number}",)
        return now_ns

    @staticmethod
    def predicted_ns(state: Pool, now_ns: int) -> int:
        answer = state.reserve("asks", PRICED, now_ns)
        assert isinstance(answer, Wait)
        state.withdraw("asks", now_ns)
        return answer.predicted_ns

    def test_make_nobody_wait_longer_on_a_suspicion(self) -> None:
        state = self.shared()
        state.reserve("burst", PRICED, 10 * S)
        assert self.predicted_ns(state, 10 * S) == pytest.approx(S, rel=0.2), "four by the share that they leave"

    def test_count_once_waiting_has_shown_them(self) -> None:
        state = self.shared()
        now_ns = self.wait_one_by_one(state, 4 * S)
        assert self.predicted_ns(state, now_ns) == pytest.approx(4 * S, rel=0.2)
        refused = state.reserve("a", structs.replace(PRICED, patience_ns=2 * S), now_ns)
        assert isinstance(refused, Refused)
        assert refused.cause is Cause.DEADLINE

    def test_count_no_longer_than_they_are_there(self) -> None:
        state = self.shared()
        now_ns = self.wait_one_by_one(state, 4 * S)
        self.learn(state, 0, now_ns // S, now_ns // S + 10)
        now_ns += 10 * S
        while state.try_admit("burst", PRICED, now_ns):
            pass
        assert S // 2 < self.predicted_ns(state, now_ns) <= S

    def test_leave_nothing_that_is_surely_available(self) -> None:
        alone = Pool("p", PoolSettings(), 0)
        self.learn(alone, 0, 0, 10)
        for state, has_spare in ((self.shared(), False), (alone, True)):
            limit = tuple(state._quota.limits)[1]
            assert (limit.spare_ns(1, 10 * S) > 0) is has_spare


def crowd(per_second: int, capacity: int, waiters: int) -> Pool:
    """An empty bucket of requests, and so many who wait."""
    limits = {Dimension.REQUESTS: LimitSettings(60 * per_second, capacity)}
    state = Pool("p", PoolSettings(limits, AdaptiveSettings()), 0)
    for number in range(capacity + waiters):
        state.reserve(f"w{number}", REQUEST, 0)
    return state


MS = S // 1_000


@pytest.mark.parametrize(
    ("per_second", "capacity", "waiters", "next_in_ns"),
    [
        (10_000, 100, 2, 4 * MS),
        (10_000, 100, 1, MS // 10),
        (10_000, 21, 2, MS // 10 + MS),
        (10_000, 1, 2, MS // 10),
        (250, 100, 2, 4 * MS),
        (200, 100, 2, 5 * MS),
    ],
    ids=["4 ms", "alone", "half a bucket", "no burst", "at 4 ms anyway", "later anyway"],
)
def test_a_waiter_for_a_moment_is_admitted_together_with_others(
    per_second: int, capacity: int, waiters: int, next_in_ns: int
) -> None:
    found = crowd(per_second, capacity, waiters).next_in_ns(0)
    assert (found, type(found)) == (next_in_ns, int)


def test_nothing_of_the_rate_is_lost_by_admitting_several_together() -> None:
    state = crowd(1_000, 4, 1_000)
    now_ns, admitted = 0, 0
    while (next_in_ns := state.next_in_ns(now_ns)) is not None:
        now_ns += next_in_ns
        admitted += len(state.advance(now_ns))
    assert admitted == 1_000
    assert S <= now_ns < S + 4 * MS, "only the last may be late"
