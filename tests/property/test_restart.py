"""A pool that is restored under load, in front of an upstream with an exact bucket that nobody sees.

There is no burst beyond the limit, no probing from nothing, and hardly a 429.
"""

import heapq
import random
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from support.hypothesis_settings import share_of_examples
from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand, Granted, Outcome
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.feedback import Feedback, RateLimited, Succeeded
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.domain.state_encoding import decode_state, encode_state
from tidegate.core.pool.pool import Pool
from tidegate.core.pool.pool_state import POOL_STATE_VERSION, PoolState

TICK_NS = S // 100
ANSWER_NS = S
REFUSAL_NS = S // 20
WAITING = 20
"""More than one second's worth never waits, so that the queue always has a head."""


class Upstream:
    """A bucket of requests with continuous refill, in exact integers. It reports its figures, or nothing at all."""

    def __init__(self, per_minute: int, capacity: int, *, reports: bool) -> None:
        self.per_minute, self.capacity, self.reports = per_minute, capacity, reports
        self.level = capacity * NS_PER_MINUTE  # in units of a request ÷ NS_PER_MINUTE
        self.at_ns = 0
        self.accepted: list[int] = []
        self.refused: list[int] = []

    def receive(self, now_ns: int) -> tuple[LimitReport, int | None]:
        """The report of its answer, and after what time to come back if it refused."""
        self.level = min(self.capacity * NS_PER_MINUTE, self.level + (now_ns - self.at_ns) * self.per_minute)
        self.at_ns, retry_after_ns = now_ns, None
        if self.level >= NS_PER_MINUTE:
            self.level -= NS_PER_MINUTE
            self.accepted.append(now_ns)
        else:
            self.refused.append(now_ns)
            retry_after_ns = -(-(NS_PER_MINUTE - self.level) // self.per_minute // S) * S or S
        remaining = self.level // NS_PER_MINUTE
        full_in_ns = -(-(self.capacity * NS_PER_MINUTE - self.level) // self.per_minute // S) * S
        shown = DimensionReport(self.per_minute, remaining, full_in_ns) if self.reports else None
        return LimitReport(shown, answered=retry_after_ns is None), retry_after_ns


class Service:
    """Sends as fast as its pool admits. `kill` loses everything in flight."""

    def __init__(self, pool: Pool, upstream: Upstream) -> None:
        self.pool, self.upstream = pool, upstream
        self.flying: list[tuple[int, int, str, int, LimitReport, int | None]] = []
        self.waiting: set[str] = set()
        self.numbers = count()

    def run(self, now_ns: int, until_ns: int) -> None:
        while now_ns < until_ns:
            while self.flying and self.flying[0][0] <= now_ns:
                _, _, lease_id, sent_ns, report, retry_after_ns = heapq.heappop(self.flying)
                self.take_in(lease_id, now_ns - sent_ns, report, retry_after_ns, now_ns)
            while len(self.waiting) < WAITING:
                lease_id = f"{next(self.numbers)}"
                if isinstance(self.pool.reserve(lease_id, Demand("p", DEFAULT_CALLER, Cost(1)), now_ns), Granted):
                    self.send(lease_id, now_ns)
                else:
                    self.waiting.add(lease_id)
            for lease_id in self.pool.advance(now_ns):
                self.waiting.discard(lease_id)
                self.send(lease_id, now_ns)
            now_ns += TICK_NS

    def send(self, lease_id: str, now_ns: int) -> None:
        report, retry_after_ns = self.upstream.receive(now_ns)
        comes_ns = now_ns + (ANSWER_NS if retry_after_ns is None else REFUSAL_NS)
        heapq.heappush(self.flying, (comes_ns, next(self.numbers), lease_id, now_ns, report, retry_after_ns))

    def take_in(
        self, lease_id: str, sent_ago_ns: int, report: LimitReport, retry_after_ns: int | None, now_ns: int
    ) -> None:
        shown = LimitReport(report.requests, sent_ago_ns=sent_ago_ns, answered=report.answered, lease_id=lease_id)
        if retry_after_ns is None:
            feedback: tuple[Feedback, ...] = (shown, Succeeded())
            self.pool.end(lease_id, Outcome.SETTLED, Cost(1), now_ns, feedback)
        else:
            refusal = RateLimited(retry_after_ns, sent_ago_ns, lease_id=lease_id)
            self.pool.end(lease_id, Outcome.THROTTLED, None, now_ns, (*((shown,) * self.upstream.reports), refusal))


def most_in_windows(times_ns: list[int], window_ns: int) -> int:
    """The most that came within any window of this length."""
    most, first = 0, 0
    for last, time_ns in enumerate(times_ns):
        while times_ns[first] <= time_ns - window_ns:
            first += 1
        most = max(most, last - first + 1)
    return most


@share_of_examples(0.14)
@given(
    per_minute=st.sampled_from([300, 1_200]),
    capacity_seconds=st.sampled_from([1, 5, 60]),
    reports=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_after_a_restart_under_load(per_minute: int, capacity_seconds: int, *, reports: bool, seed: int) -> None:
    capacity = per_minute * capacity_seconds // 60
    upstream = Upstream(per_minute, capacity, reports=reports)
    killed_ns = 100 * S + random.Random(seed).randrange(20 * S)  # noqa: S311
    killed_ns -= killed_ns % TICK_NS
    before = Service(Pool("p", PoolSettings(), 0), upstream)
    before.run(0, killed_ns)
    data = encode_state(before.pool.dump(killed_ns))
    refused_before = len([at_ns for at_ns in upstream.refused if at_ns >= killed_ns - 60 * S])
    shift_ns = 10**15
    restored = Pool.restore(decode_state(data, PoolState, POOL_STATE_VERSION), killed_ns + shift_ns, PoolSettings())
    state = before.pool.snapshot(killed_ns)
    assert restored.snapshot(killed_ns + shift_ns).probing == state.probing, "it never probes from nothing"

    upstream.at_ns += shift_ns
    pauses = [at_ns + shift_ns for at_ns in upstream.refused]
    upstream.accepted.clear()
    upstream.refused.clear()
    Service(restored, upstream).run(killed_ns + shift_ns, killed_ns + 60 * S + shift_ns)
    sent = sorted(upstream.accepted + upstream.refused)
    for window_s in (1, 5, 60):
        assert most_in_windows(sent, window_s * S) <= per_minute * window_s / 60 + capacity + 1 + len(upstream.refused)
    first_second = [at_ns for at_ns in upstream.accepted if at_ns < killed_ns + shift_ns + S]
    begin_ns = killed_ns + shift_ns
    # A 429 pauses a search at any time, with a restart or without.
    if not any(begin_ns - 5 * S < at_ns < begin_ns + S for at_ns in pauses + upstream.refused):
        assert len(first_second) >= 0.8 * per_minute / 60, "it goes on at the rate that was known"
    assert len(upstream.accepted) >= 0.9 * per_minute
    # A limit that is not reported is searched: a 429 comes about once in 20 seconds, with a restart or without.
    assert len(upstream.refused) <= (0 if reports else refused_before + 3)


def test_without_its_dump_a_pool_would_probe() -> None:
    """The counter-check: what the test above measures is not there by itself."""
    assert Pool("p", PoolSettings(), 0).snapshot(0).probing
