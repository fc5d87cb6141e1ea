"""Whatever an upstream tells in between, a pool soon admits normal work at the normal rate again.

A true upstream, which is a bucket, and calls that always wait. Answers pass through the readers of headers and usage as
in the gateway; some of them are absurd.
"""

import heapq
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import count
from math import ceil
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import structs

from support.hypothesis_settings import share_of_examples
from support.invalid_headers import HEADERS, VALUES
from tidegate.core.claude.rate_limit_headers import read_limits, read_retry_after
from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand, Granted, Outcome
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.feedback import Failed, RateLimited, Succeeded
from tidegate.core.domain.nanoseconds import NS_PER_SECOND, to_ns
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.domain.usage import Usage, settled_cost
from tidegate.core.pool.pool import Pool

PER_SECOND = 5.0
CAPACITY = 60.0
COST = Cost(1, 100, 50)
MAX_TOKENS = 1_000
ONE = Demand("p", DEFAULT_CALLER, COST)
USAGE = {"input_tokens": 100, "output_tokens": 50}
WAITING = 20
IN_FLIGHT = 100
"""Callers are no endless many: so many calls are under way at a time, at most."""
ANSWER_NS = 400_000_000
REFUSAL_NS = 100_000_000
PAUSE_NS = 2 * NS_PER_SECOND
EPOCH = 1_795_000_000.0
SETTLED_AFTER_NS = 240 * NS_PER_SECOND
"""After the freeze: time for three requests, where one a minute was told of a limit that there is not."""
MEASURED_NS = 30 * NS_PER_SECOND


class Upstream:
    """A bucket of requests, in its own time in seconds."""

    def __init__(self) -> None:
        self.level = CAPACITY
        self._at = 0.0

    def admits(self, now: float) -> bool:
        self._refill(now)
        if self.level < 1:
            return False
        self.level -= 1
        return True

    def headers(self, now: float) -> dict[str, str]:
        self._refill(now)
        full = datetime.fromtimestamp(ceil(EPOCH + now + (CAPACITY - self.level) / PER_SECOND), UTC)
        return {
            "date": format_datetime(datetime.fromtimestamp(int(EPOCH + now), UTC), usegmt=True),
            "anthropic-ratelimit-requests-limit": str(round(PER_SECOND * 60)),
            "anthropic-ratelimit-requests-remaining": str(int(self.level)),
            "anthropic-ratelimit-requests-reset": full.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def _refill(self, now: float) -> None:
        self.level = min(CAPACITY, self.level + (now - self._at) * PER_SECOND)
        self._at = now


class AbsurdUpstreamMachine(RuleBasedStateMachine):
    """Calls go on all the time; rules spoil the next answers, step clocks, or let time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 1_000 * NS_PER_SECOND
        self.wall_off = 0.0
        self.jumped_ns = self.now_ns  # the upstream's time began here
        self.upstream = Upstream()
        self.numbers = count()
        self.events: list[tuple[int, int, Callable[[], None]]] = []
        self.waiting: set[str] = set()
        self.accepted = self.refused = self.in_flight = 0
        self.absurd_headers: list[dict[str, str]] = []
        self.absurd_usage: list[Any] = []
        self.absurd_refusals: list[dict[str, str]] = []

    @initialize(is_configured=st.booleans())
    def begin(self, *, is_configured: bool) -> None:
        limits = {Dimension.INPUT_TOKENS: LimitSettings(6_000_000, 200_000)} if is_configured else {}
        self.pool = Pool("p", PoolSettings(limits), self.now_ns)
        self.run_for(5 * NS_PER_SECOND)

    # What the gateway does.

    def at(self, in_ns: int, what: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.now_ns + in_ns, next(self.numbers), what))

    def wall_seconds(self) -> float:
        return EPOCH + self.upstream_seconds() + self.wall_off

    def upstream_seconds(self) -> float:
        return (self.now_ns - self.jumped_ns) / NS_PER_SECOND

    def reserve(self, *, front: bool = False) -> None:
        lease_id = f"lease-{next(self.numbers)}"
        self.waiting.add(lease_id)
        if isinstance(self.pool.reserve(lease_id, structs.replace(ONE, front=front), self.now_ns), Granted):
            self.send(lease_id)

    def settle(self) -> None:
        for lease_id in self.pool.advance(self.now_ns):
            self.send(lease_id)
        while len(self.waiting) < WAITING and self.in_flight < IN_FLIGHT:
            self.reserve()

    def send(self, lease_id: str) -> None:
        self.waiting.remove(lease_id)
        self.in_flight += 1
        sent_ns = self.now_ns
        is_refused = bool(self.absurd_refusals) or not self.upstream.admits(self.upstream_seconds())
        self.at(
            REFUSAL_NS if is_refused else ANSWER_NS,
            lambda: (self.refuse if is_refused else self.answer)(lease_id, sent_ns),
        )

    def answer(self, lease_id: str, sent_ns: int) -> None:
        self.accepted += 1
        self.in_flight -= 1
        headers = self.upstream.headers(self.upstream_seconds())
        if self.absurd_headers:
            headers |= self.absurd_headers.pop()
        told = self.absurd_usage.pop() if self.absurd_usage else USAGE
        usage = Usage.from_json(told).possible(MAX_TOKENS)
        sent_ago_ns = self.now_ns - sent_ns
        self.pool.charge(lease_id, usage.cost(), self.now_ns)
        report = read_limits(headers, self.wall_seconds())
        self.pool.learn(structs.replace(report, sent_ago_ns=sent_ago_ns, lease_id=lease_id), self.now_ns)
        self.pool.end(lease_id, Outcome.SETTLED, settled_cost(usage, COST), self.now_ns)
        self.pool.learn(Succeeded(), self.now_ns)

    def refuse(self, lease_id: str, sent_ns: int) -> None:
        self.refused += 1
        self.in_flight -= 1
        headers = {"retry-after": "1", "date": self.upstream.headers(self.upstream_seconds())["date"]}
        if self.absurd_refusals:
            headers |= self.absurd_refusals.pop()
        wait = read_retry_after(headers, self.wall_seconds()).seconds
        asked_ns = None if wait is None else to_ns(wait)
        refusal = RateLimited(asked_ns, self.now_ns - sent_ns, pause_ns=asked_ns or PAUSE_NS, lease_id=lease_id)
        self.pool.learn(refusal, self.now_ns)
        self.reserve(front=True)

    def run_for(self, duration_ns: int) -> None:
        end_ns = self.now_ns + duration_ns
        self.settle()
        while True:
            next_in_ns = self.pool.next_in_ns(self.now_ns)
            wake_ns = end_ns + 1 if next_in_ns is None else self.now_ns + max(1, next_in_ns)
            due_ns = min(wake_ns, self.events[0][0]) if self.events else wake_ns
            if due_ns > end_ns:
                break
            self.now_ns = max(self.now_ns, due_ns)
            while self.events and self.events[0][0] <= self.now_ns:
                heapq.heappop(self.events)[2]()
            self.settle()
        self.now_ns = end_ns

    # What may happen.

    @rule(headers=HEADERS, times=st.integers(1, 20))
    def spoil_headers(self, headers: dict[str, str], times: int) -> None:
        self.absurd_headers += [headers] * times
        self.run_for(NS_PER_SECOND)

    @rule(
        field=st.sampled_from(["limit", "remaining", "reset"]),
        family=st.sampled_from(["requests", "input-tokens", "output-tokens"]),
        value=st.integers(0, 10**10).map(str) | st.sampled_from(["1", "0", "300", "10000000"]),
        times=st.integers(1, 20),
    )
    def spoil_a_figure(self, family: str, field: str, value: str, times: int) -> None:
        names = {f"anthropic-ratelimit-{family}-limit": "1000"} | {f"anthropic-ratelimit-{family}-{field}": value}
        self.absurd_headers += [names] * times
        self.run_for(NS_PER_SECOND)

    @rule(headers=st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "date"]), VALUES))
    def refuse_absurdly(self, headers: dict[str, str]) -> None:
        self.absurd_refusals.append(headers)
        self.run_for(NS_PER_SECOND)

    @rule(
        tokens=st.dictionaries(
            st.sampled_from(["input_tokens", "output_tokens", "cache_creation_input_tokens"]),
            st.integers() | st.sampled_from([None, -1, 10**8, 10**12, "12", 1.5]),
        )
    )
    def spoil_usage(self, tokens: dict[str, Any]) -> None:
        self.absurd_usage.append({**USAGE, **tokens})
        self.run_for(NS_PER_SECOND)

    @rule(hours=st.integers(1, 10_000), really=st.booleans())
    def jump(self, hours: int, *, really: bool) -> None:
        """A clock jumps; or a machine was suspended, and the time has really passed."""
        self.now_ns += hours * 3_600 * NS_PER_SECOND
        if not really:
            self.jumped_ns += hours * 3_600 * NS_PER_SECOND
        self.run_for(NS_PER_SECOND)

    @rule(seconds=st.floats(-1e9, 1e9))
    def set_the_wall_clock(self, seconds: float) -> None:
        self.wall_off = seconds
        self.run_for(NS_PER_SECOND)

    @rule(sent_ago_ns=st.integers(0, 10**13))
    def fail(self, sent_ago_ns: int) -> None:
        self.pool.learn(Failed(sent_ago_ns), self.now_ns)

    @rule(seconds=st.integers(1, 20))
    def let_time_pass(self, seconds: int) -> None:
        self.run_for(seconds * NS_PER_SECOND)

    @invariant()
    def limits_are_possible(self) -> None:
        if not hasattr(self, "pool"):
            return
        snapshot = self.pool.snapshot(self.now_ns)
        assert 0 <= snapshot.frozen_seconds <= 300
        for each in snapshot.dimensions:
            assert each.upstream_per_minute is None or 1 <= each.upstream_per_minute <= 10**10
            assert each.capacity is None or 0 < each.capacity <= (each.upstream_per_minute or 10**10)

    def teardown(self) -> None:
        """Then everything is normal again."""
        if not hasattr(self, "pool"):
            return
        self.absurd_headers.clear()
        self.absurd_refusals.clear()
        self.absurd_usage.clear()
        self.run_for(to_ns(self.pool.snapshot(self.now_ns).frozen_seconds) + SETTLED_AFTER_NS)
        accepted, refused = self.accepted, self.refused
        self.run_for(MEASURED_NS)
        assert self.accepted - accepted >= 0.9 * PER_SECOND * MEASURED_NS / NS_PER_SECOND
        assert self.refused - refused <= 2


AbsurdUpstreamMachine.TestCase.settings = settings(share_of_examples(0.14), stateful_step_count=10)
TestAbsurdUpstream = AbsurdUpstreamMachine.TestCase
